//! Who is followed, and what is known of them. Nobody is shown as anything that was not read while the server that holds
//! the record answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use last_seen::{Change, Error, Presence, Result, Roster, RosterServer, Status, Tracker};

use crate::words;

/// Users who were named on the command line are never removed.
const FOR_GOOD: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Clone)]
pub(super) struct Followed {
    tracker: Tracker,
    /// These alone; everyone if there are none.
    named: BTreeSet<String>,
    roster: Roster,
    /// Those of them of whom the watch has nothing to tell: offline from the start.
    absent: BTreeMap<String, Absent>,
    /// All servers, as errors name them.
    servers: Vec<String>,
    is_ready: bool,
    has_answered: bool,
    /// How many were online when everything was known the last time, and when that was.
    last_complete: Option<(usize, DateTime<Utc>)>,
}

/// A user who was offline when the watch began.
#[derive(Clone)]
struct Absent {
    server: String,
    presence: Result<Presence>,
}

/// A user as a screen shows one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) user: &'a str,
    pub(super) last_seen: Option<DateTime<Utc>>,
    pub(super) status: Status,
    pub(super) last_known: Status,
    pub(super) since: DateTime<Utc>,
    /// Why the user is unknown, if that is the user's own fault.
    pub(super) error: Option<&'a Error>,
}

impl Followed {
    pub(super) fn new(tracker: &Tracker, named: Vec<String>, keep: Duration) -> Self {
        Self {
            tracker: tracker.clone(),
            roster: Roster::keeping(if named.is_empty() { keep } else { FOR_GOOD }),
            named: named.into_iter().collect(),
            absent: BTreeMap::new(),
            servers: words::servers(tracker.settings()),
            is_ready: false,
            has_answered: false,
            last_complete: None,
        }
    }

    /// Takes in a change; returns whether it is about somebody who is followed, or about a server.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        let user = match change {
            Change::Online { user, .. }
            | Change::Seen { user, .. }
            | Change::Offline { user, .. }
            | Change::Unreadable { user, .. } => Some(user),
            _ => None,
        };
        self.has_answered |= user.is_some();
        if let Some(user) = user {
            if !self.named.is_empty() && !self.named.contains(&**user) {
                return false;
            }
            self.absent.remove(&**user);
        }
        let complete = self.roster.is_complete().then(|| self.roster.online());
        self.roster.apply(change);
        if let Some(online) = complete.filter(|_| !self.roster.is_complete()) {
            self.last_complete = Some((online, Utc::now()));
        }
        if let Change::Ready { .. } = change {
            self.is_ready = true;
            self.has_answered |= self.down().count() < self.servers.len();
        }
        true
    }

    /// Reads those who were named and of whom the watch has told nothing, since it tells only of those who were online.
    /// Returns those of whom something is known now.
    pub(super) fn read_absent(&mut self) -> Vec<(String, Result<Presence>)> {
        let known = |user: &&String| self.roster.get(user).is_some() || self.absent.contains_key(*user);
        let users: Vec<String> = self.named.iter().filter(|user| !known(user)).cloned().collect();
        let mut read = Vec::new();
        for (user, presence) in users.iter().zip(self.tracker.presences(&users)) {
            // The watch says so, or will.
            if matches!(presence, Err(Error::Unavailable { .. } | Error::Server { .. })) {
                continue;
            }
            // Came in between: the watch will tell.
            if presence.as_ref().is_ok_and(|presence| presence.online) {
                continue;
            }
            let server =
                self.tracker.preview(user, Utc::now()).map(|record| record.server).unwrap_or_default();
            self.absent.insert(user.clone(), Absent { server, presence: presence.clone() });
            read.push((user.clone(), presence));
        }
        read
    }

    /// Whether who is online was listed, as far as the servers are up.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether any server ever has.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    pub(super) fn is_complete(&self) -> bool {
        self.roster.is_complete()
    }

    pub(super) fn servers(&self) -> &[String] {
        &self.servers
    }

    pub(super) fn down(&self) -> impl Iterator<Item = RosterServer<'_>> {
        self.roster.servers().filter(|server| server.error.is_some())
    }

    pub(super) fn is_down(&self, server: &str) -> Option<RosterServer<'_>> {
        self.down().find(|down| down.name == server)
    }

    pub(super) fn all_are_down(&self) -> bool {
        self.down().count() >= self.servers.len()
    }

    pub(super) fn online(&self) -> usize {
        self.roster.online()
    }

    /// Also those who were named and whom nobody could tell of so far.
    pub(super) fn unknown(&self) -> usize {
        match self.named.is_empty() {
            true => self.roster.unknown(),
            false => self.rows().filter(|row| row.status == Status::Unknown).count(),
        }
    }

    pub(super) fn last_complete(&self) -> Option<(usize, DateTime<Utc>)> {
        self.last_complete
    }

    /// Everyone who is on the screen, in no order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let listed = self.roster.iter().map(|user| Row {
            user: user.user,
            last_seen: user.last_seen,
            status: user.status,
            last_known: user.last_known,
            since: user.since,
            error: None,
        });
        let absent = self.absent.iter().map(|(user, absent)| self.absent_row(user, absent));
        let untold = |user: &&String| self.roster.get(user).is_none() && !self.absent.contains_key(*user);
        let untold = self.named.iter().filter(untold).map(|user| Row {
            user,
            last_seen: None,
            status: Status::Unknown,
            last_known: Status::Unknown,
            since: DateTime::UNIX_EPOCH,
            error: None,
        });
        listed.chain(absent).chain(untold)
    }

    fn absent_row<'a>(&'a self, user: &'a str, absent: &'a Absent) -> Row<'a> {
        let (last_seen, known, error) = match &absent.presence {
            Ok(presence) => (presence.last_seen, Status::Offline, None),
            Err(error) => (None, Status::Unknown, Some(error)),
        };
        let down = self.is_down(&absent.server);
        let status = if down.is_some() { Status::Unknown } else { known };
        let since = down.map_or(DateTime::UNIX_EPOCH, |server| server.since);
        Row { user, last_seen, status, last_known: known, since, error }
    }
}
