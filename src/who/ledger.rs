//! What is known of one server's users, and who is to be read next. Knows no network: it is given what was heard and what
//! was read, and the time. What is heard says only that somebody is to be read; reading alone changes what is known.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{
    change::{Change, OfflineReason},
    dump::Candidates,
};
use crate::{
    error::{Error, Result},
    presence::Presence,
};

/// Who was heard of is read after `BATCH_DELAY`, or as soon as there are `BATCH_MIN`.
pub(super) const BATCH_DELAY: Duration = Duration::from_millis(50);
const BATCH_MIN: usize = 100;

/// Users that wait to be read; beyond, updates are missed.
const CAPACITY: usize = 100_000;

/// Never.
pub(super) const NEVER: i64 = i64::MAX;

/// When the user was last seen; `None` if there is no record.
pub(super) type Seen = Result<Option<DateTime<Utc>>>;

pub(super) struct Ledger {
    server: Arc<str>,
    window: Duration,
    users: HashMap<Arc<str>, Known>,
    online: usize,
    /// The first second in which one of them is to be looked at by the clock, or earlier.
    next_look: i64,
    /// To be read next, each once, and what was heard of them.
    queue: VecDeque<Arc<str>>,
    queued: HashMap<Arc<str>, Hint>,
    /// When the first batch of them is to be read.
    due: Option<Instant>,
    /// To be read because the server was listed: those who were known then, and those of the list.
    sweep: Option<(Vec<Arc<str>>, Candidates)>,
    changes: Vec<Change>,
}

/// A user who is online, or whose record cannot be read.
#[derive(Debug, Clone, Copy)]
struct Known {
    seen: Option<DateTime<Utc>>,
    /// The second in which to look again.
    look: i64,
}

/// What a log or list tells of a record beside its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hint {
    /// The value may be large, and is not to be read before its size is known.
    pub(super) large: bool,
    /// When the record expires, in Unix seconds; `NEVER` if that is not within the window.
    pub(super) expires: i64,
}

impl Hint {
    pub(super) const NONE: Self = Self { large: false, expires: NEVER };
}

/// A user to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) user: Arc<str>,
    pub(super) hint: Hint,
}

impl Ledger {
    pub(super) fn new(server: &str, window: Duration) -> Self {
        Self {
            server: server.into(),
            window,
            users: HashMap::new(),
            online: 0,
            next_look: NEVER,
            queue: VecDeque::new(),
            queued: HashMap::new(),
            due: None,
            sweep: None,
            changes: Vec::new(),
        }
    }

    pub(super) fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(super) fn online(&self) -> usize {
        self.online
    }

    /// A log names the user. Returns whether there was room for that.
    pub(super) fn hear(&mut self, user: &str, hint: Hint, at: Instant) -> bool {
        if let Some(queued) = self.queued.get_mut(user) {
            // The record may have become another one since.
            queued.large |= hint.large;
            queued.expires = queued.expires.min(hint.expires);
            return true;
        }
        if self.queue.len() >= CAPACITY {
            return false;
        }
        let user = self.users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| user.clone());
        self.queued.insert(user.clone(), hint);
        self.queue.push_back(user);
        let due = if self.queue.len() >= BATCH_MIN { at } else { at + BATCH_DELAY };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        true
    }

    /// The server was listed: who may be online, and everyone who is known, is to be read.
    pub(super) fn listed(&mut self, candidates: Candidates) {
        self.sweep = Some((self.users.keys().cloned().collect(), candidates));
    }

    /// The server is down, and will be listed again.
    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.queued.clear();
        (self.due, self.sweep, self.next_look) = (None, None, 0);
    }

    /// Whose time is over is to be read first, the oldest first.
    pub(super) fn tick(&mut self, now: DateTime<Utc>, at: Instant) {
        let second = now.timestamp();
        if second < self.next_look {
            return;
        }
        self.next_look = NEVER;
        let mut over = Vec::new();
        for (user, known) in &self.users {
            if known.look > second {
                self.next_look = self.next_look.min(known.look);
            } else if !self.queued.contains_key(user) {
                over.push((known.seen, user.clone()));
            }
        }
        over.sort_unstable();
        for (_, user) in over.into_iter().rev() {
            self.queued.insert(user.clone(), Hint::NONE);
            self.queue.push_front(user);
            self.due = Some(at);
        }
    }

    /// The second in which the clock has something to do.
    pub(super) fn next_tick(&self) -> i64 {
        self.next_look
    }

    /// When the next [`batch`](Self::batch) is to be read.
    pub(super) fn batch_due(&self) -> Option<Instant> {
        self.due
    }

    /// How many were heard of and are still to be read.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Those who are to be read next, at most so many.
    pub(super) fn batch(&mut self, most: usize) -> Vec<Look> {
        let users = self.queue.drain(..self.queue.len().min(most));
        let mut batch = Vec::with_capacity(users.len());
        for user in users {
            let hint = self.queued.remove(&user).unwrap_or(Hint::NONE);
            batch.push(Look { user, hint });
        }
        if self.queue.is_empty() {
            self.due = None;
        }
        self.with_doubts(batch)
    }

    /// The same of those who are to be read because the server was listed; none if they are all done.
    pub(super) fn sweep(&mut self, most: usize) -> Vec<Look> {
        let Some((known, candidates)) = &mut self.sweep else { return Vec::new() };
        let mut batch: Vec<_> = known.drain(known.len().saturating_sub(most)..).map(Look::from).collect();
        while batch.len() < most
            && let Some((user, hint)) = candidates.next()
        {
            // Who is known is among the others, or was read since.
            if hint != Hint::NONE || !self.users.contains_key(user) {
                batch.push(Look { user: user.into(), hint });
            }
        }
        if batch.is_empty() {
            self.sweep = None;
        }
        self.with_doubts(batch)
    }

    /// What could not be read the last time may be large.
    fn with_doubts(&self, mut batch: Vec<Look>) -> Vec<Look> {
        for Look { user, hint } in &mut batch {
            hint.large |= self.users.get(user).is_some_and(|known| known.seen.is_none());
        }
        batch
    }

    /// Takes in what was read of a batch.
    pub(super) fn read(&mut self, batch: Vec<Look>, seen: Vec<Seen>, now: DateTime<Utc>) {
        for (look, seen) in batch.into_iter().zip(seen) {
            self.read_one(look, seen, now);
        }
    }

    fn read_one(&mut self, Look { user, hint }: Look, seen: Seen, now: DateTime<Utc>) {
        let before = self.users.get(&user).copied();
        let was_online = before.and_then(|before| before.seen);
        let server = self.server.clone();
        let window = self.window.as_secs().cast_signed();
        let is_online = |at: DateTime<Utc>| Presence::at(Some(at), now, self.window).online;
        let (seen, end, change) = match seen {
            Ok(Some(at)) if is_online(at) => {
                let change = match was_online {
                    None => Some(Change::Online { user: user.clone(), last_seen: at, server }),
                    Some(before) if before == at => None,
                    Some(_) => Some(Change::Seen { user: user.clone(), last_seen: at, server }),
                };
                (Some(at), at.timestamp().saturating_add(window + 1), change)
            }
            Ok(last_seen) => {
                if before.is_none() {
                    return;
                }
                // Only a sign-out moves a time back.
                let reason = match last_seen {
                    Some(at) if was_online.is_some_and(|before| at < before) => OfflineReason::SignedOut,
                    None if was_online.is_none_or(is_online) => OfflineReason::Gone,
                    _ => OfflineReason::TimedOut,
                };
                self.users.remove(&user);
                self.online -= usize::from(was_online.is_some());
                self.changes.push(Change::Offline { user, last_seen, server, reason });
                return;
            }
            Err(error) => {
                let believed = match &error {
                    Error::InvalidRecord { source, .. } => source.time().map(|at| at.timestamp() - window),
                    _ => None,
                };
                let is_new = before.is_none_or(|before| before.seen.is_some());
                let change = is_new.then(|| Change::Unreadable { user: user.clone(), server, error });
                (None, believed.unwrap_or(now.timestamp() + window), change)
            }
        };
        self.changes.extend(change);
        self.online = self.online + usize::from(seen.is_some()) - usize::from(was_online.is_some());
        // That a record expires sooner was told by its line alone. It does so within a second or two of its time: it is
        // looked at every second from then on.
        let sooner = before.filter(|before| before.seen == seen && seen.is_some());
        let sooner = sooner.map_or(hint.expires, |before| before.look.min(hint.expires));
        let look = end.min(sooner).max(now.timestamp() + 1);
        self.next_look = self.next_look.min(look);
        self.users.insert(user, Known { seen, look });
    }

    /// What has changed since the last time that this was asked.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

impl From<Arc<str>> for Look {
    fn from(user: Arc<str>) -> Self {
        Self { user, hint: Hint::NONE }
    }
}
