//! Who is online, by the changes of a watch. Contains no network code.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::change::Change;
use crate::error::Error;

/// How long a roster keeps users who went offline, by default.
const KEEP: Duration = Duration::from_secs(300);

/// Says whether a user is online: the status of a [`RosterUser`].
///
/// ```
/// use last_seen::Status;
///
/// fn label(status: Status) -> &'static str {
///     match status {
///         Status::Online => "online",
///         Status::Offline => "offline",
///         _ => "unknown",
///     }
/// }
/// # assert_eq!(label(Status::Unknown), "unknown");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Says that the user was seen within `online_timeout`.
    Online,
    /// Says that the user was not seen within `online_timeout`, signed out, or has no record.
    Offline,
    /// Says that the server is down, or the record is not a valid timestamp.
    Unknown,
}

/// Holds who is online, from the changes of a [`Watch`](crate::Watch). A plain value: keep it behind a lock in the state of
/// your handlers, or in a test.
///
/// Holds everyone who is online, and those who went offline within the last 5 minutes. While a server is down its users
/// are [`Unknown`](Status::Unknown), and stay so until they have been read again ([`Change::Ready`]).
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// use last_seen::{Change, Roster};
/// # let tracker = last_seen::Tracker::in_memory();
/// # tracker.seen("alice")?;
/// let mut roster = Roster::default();
/// for change in tracker.watch()? {
///     roster.apply(&change);
///     if let Change::Ready { .. } = change {
///         println!("{} online", roster.online());
/// #       break;
///     }
/// }
/// assert!(roster.get("alice").is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Roster {
    keep: Duration,
    users: HashMap<Arc<str>, Entry>,
    /// Users who went offline and when, the earliest first. Those who have come back since are skipped later.
    went_offline: VecDeque<(DateTime<Utc>, Arc<str>)>,
    /// Those of them whose time is over, but whose server was down then. They stay until they have been read again.
    held: Vec<(DateTime<Utc>, Arc<str>)>,
    servers: Vec<Server>,
    complete: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    last_seen: Option<DateTime<Utc>>,
    since: DateTime<Utc>,
    known: Status,
    server: u32,
    /// The number of the server's outages when the user was last reported.
    outage: u32,
}

#[derive(Debug, Clone)]
struct Server {
    name: Arc<str>,
    since: DateTime<Utc>,
    error: Option<Error>,
    /// The number of outages so far.
    outage: u32,
    /// Whether the server is up and, after an outage, all its users have been read again.
    settled: bool,
    /// The number of users by their last known [`Status`].
    count: [usize; 3],
    /// The part of `count` that was last reported before the latest outage.
    stale: [usize; 3],
}

/// Tells what a [`Roster`] holds of a user: from [`Roster::get`] and [`Roster::iter`].
///
/// ```
/// # let tracker = last_seen::Tracker::in_memory();
/// # tracker.seen("alice")?;
/// # let mut roster = last_seen::Roster::default();
/// # for change in tracker.watch()? {
/// #     roster.apply(&change);
/// #     if let last_seen::Change::Ready { .. } = change { break }
/// # }
/// let mut users: Vec<_> = roster.iter().collect();
/// users.sort_unstable_by_key(|user| std::cmp::Reverse(user.last_seen));
/// for user in &users {
///     println!("{} {:?} since {}", user.user, user.status, user.since);
/// }
/// # assert_eq!(users.len(), 1);
/// # Ok::<(), last_seen::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RosterUser<'a> {
    /// Names the user.
    pub user: &'a str,
    /// Holds the time of the user's last request, as precisely as the record does; `None` if there is no record, or it is not
    /// a valid timestamp.
    pub last_seen: Option<DateTime<Utc>>,
    /// Says whether the user is online, as far as that is known now.
    pub status: Status,
    /// Tells since when the roster has had this status.
    pub since: DateTime<Utc>,
    /// Holds the status before the server went down; the same as `status` while the server is up.
    pub last_known: Status,
}

/// Tells what a [`Roster`] holds of a server: from [`Roster::servers`].
///
/// ```
/// # let mut roster = last_seen::Roster::default();
/// # for change in last_seen::Tracker::connect("127.0.0.1:1")?.watch()? {
/// #     roster.apply(&change);
/// #     if let last_seen::Change::ServerDown { .. } = change { break }
/// # }
/// for server in roster.servers() {
///     if let Some(error) = server.error {
///         println!("down since {}: {error}", server.since);
///     }
/// }
/// # assert!(roster.servers().all(|server| server.name == "127.0.0.1:1" && server.error.is_some()));
/// # Ok::<(), last_seen::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RosterServer<'a> {
    /// Names the server as the settings do.
    pub name: &'a str,
    /// Tells since when it has been up, or down.
    pub since: DateTime<Utc>,
    /// Says why it is down; `None` while it is up.
    pub error: Option<&'a Error>,
}

impl Default for Roster {
    fn default() -> Self {
        Self::keeping(KEEP)
    }
}

impl Roster {
    /// Creates an empty roster that holds users for `offline` after they went offline. [`Roster::default`] holds them for 5
    /// minutes.
    pub fn keeping(offline: Duration) -> Self {
        let (users, went_offline, servers) = (HashMap::new(), VecDeque::new(), Vec::new());
        Self { keep: offline, users, went_offline, held: Vec::new(), servers, complete: false }
    }

    /// Applies the next change of a watch.
    pub fn apply(&mut self, change: &Change) {
        self.apply_at(change, Utc::now());
    }

    fn apply_at(&mut self, change: &Change, now: DateTime<Utc>) {
        match change {
            Change::Online { user, last_seen, server } | Change::Seen { user, last_seen, server } => {
                self.set(user, Some(*last_seen), Status::Online, server, now);
            }
            Change::Offline { user, last_seen, server, .. } => {
                self.set(user, *last_seen, Status::Offline, server, now);
            }
            Change::Unreadable { user, server, .. } => self.set(user, None, Status::Unknown, server, now),
            Change::ServerDown { server, error } => {
                let index = self.server_index(server, now);
                let server = &mut self.servers[index];
                if server.error.is_none() {
                    server.since = now;
                }
                server.error = Some(error.clone());
                (server.settled, server.outage) = (false, server.outage.wrapping_add(1));
                server.stale = server.count;
                self.complete = false;
            }
            Change::ServerUp { server, .. } => {
                let index = self.server_index(server, now);
                (self.servers[index].error, self.servers[index].since) = (None, now);
            }
            Change::Missed { server, .. } => {
                self.server_index(server, now);
                self.complete = false;
            }
            Change::Ready { complete, .. } => {
                self.servers.iter_mut().for_each(|server| server.settled = server.error.is_none());
                self.complete = *complete;
                self.held.drain(..).for_each(|held| self.went_offline.push_front(held));
            }
        }
        self.remove_expired(now);
    }

    /// Returns how many users are online.
    pub fn online(&self) -> usize {
        self.servers.iter().map(|server| server.count_known(Status::Online)).sum()
    }

    /// Returns of how many users it is unknown whether they are online.
    pub fn unknown(&self) -> usize {
        let of = |server: &Server| {
            let others = [Status::Online, Status::Offline].map(|status| server.count_known(status));
            server.count.iter().sum::<usize>() - others.iter().sum::<usize>()
        };
        self.servers.iter().map(of).sum()
    }

    /// Returns whether nothing is missing: the watch was [`Ready`](Change::Ready) with all servers, and since then no server
    /// went down and no update was lost.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns the user, if the roster holds one of that name.
    pub fn get(&self, user: &str) -> Option<RosterUser<'_>> {
        let (user, entry) = self.users.get_key_value(user)?;
        self.view(user, entry, Utc::now())
    }

    /// Returns all users, in no order.
    pub fn iter(&self) -> impl Iterator<Item = RosterUser<'_>> {
        let now = Utc::now();
        self.users.iter().filter_map(move |(user, entry)| self.view(user, entry, now))
    }

    /// Returns the servers that the changes so far have named.
    pub fn servers(&self) -> impl Iterator<Item = RosterServer<'_>> {
        self.servers.iter().map(|server| RosterServer {
            name: &server.name,
            since: server.since,
            error: server.error.as_ref(),
        })
    }

    /// Returns the user as the roster shows it; `None` if the user has been offline for longer than `keep`.
    fn view<'a>(&'a self, user: &'a str, entry: &Entry, now: DateTime<Utc>) -> Option<RosterUser<'a>> {
        let Entry { last_seen, known, .. } = *entry;
        let server = &self.servers[entry.server as usize];
        let stale = server.is_stale(entry);
        let expired = !stale && known == Status::Offline && now - entry.since > self.kept();
        let (status, since) = if stale { (Status::Unknown, server.since) } else { (known, entry.since) };
        (!expired).then_some(RosterUser { user, last_seen, status, since, last_known: known })
    }

    fn kept(&self) -> TimeDelta {
        TimeDelta::from_std(self.keep).unwrap_or(TimeDelta::MAX)
    }

    /// Returns the index of the server, which is added if it is new.
    fn server_index(&mut self, name: &Arc<str>, now: DateTime<Utc>) -> usize {
        if let Some(index) = self.servers.iter().position(|server| server.name == *name) {
            return index;
        }
        let (count, stale) = ([0; 3], [0; 3]);
        let (name, error) = (name.clone(), None);
        self.servers.push(Server { name, since: now, error, outage: 0, settled: true, count, stale });
        self.servers.len() - 1
    }

    fn set(
        &mut self,
        user: &Arc<str>,
        last_seen: Option<DateTime<Utc>>,
        known: Status,
        server: &Arc<str>,
        now: DateTime<Utc>,
    ) {
        let index = self.server_index(server, now);
        let before = self.users.get(user).copied();
        if let Some(before) = before {
            self.uncount(&before);
        }
        let kept = before.filter(|before| before.known == known);
        let since = kept.map_or(now, |before| before.since);
        let server = &mut self.servers[index];
        server.count[known as usize] += 1;
        let entry = Entry { last_seen, since, known, server: index as u32, outage: server.outage };
        self.users.insert(user.clone(), entry);
        if known == Status::Offline && kept.is_none() {
            self.went_offline.push_back((since, user.clone()));
        }
    }

    fn uncount(&mut self, entry: &Entry) {
        let server = &mut self.servers[entry.server as usize];
        server.count[entry.known as usize] -= 1;
        if entry.outage != server.outage {
            server.stale[entry.known as usize] -= 1;
        }
    }

    /// Removes users who have been offline for longer than `keep`, but for those of a server that is down.
    fn remove_expired(&mut self, now: DateTime<Utc>) {
        let kept = self.kept();
        while self.went_offline.front().is_some_and(|(since, _)| now - *since > kept)
            && let Some((since, user)) = self.went_offline.pop_front()
        {
            let entry = self.users.get(&user).copied();
            let Some(entry) = entry.filter(|entry| entry.known == Status::Offline && entry.since == since)
            else {
                continue;
            };
            if self.servers[entry.server as usize].is_stale(&entry) {
                self.held.push((since, user));
            } else {
                self.users.remove(&user);
                self.uncount(&entry);
            }
        }
    }
}

impl Server {
    fn is_stale(&self, entry: &Entry) -> bool {
        !self.settled && entry.outage != self.outage
    }

    /// Returns how many of the server's users are known to have the status.
    fn count_known(&self, status: Status) -> usize {
        let stale = if self.settled { 0 } else { self.stale[status as usize] };
        self.count[status as usize] - stale
    }
}

#[cfg(test)]
mod tests {
    use arbtest::{
        arbitrary::{Result, Unstructured},
        arbtest,
    };

    use super::*;
    use crate::who::change::OfflineReason;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn down(server: &str) -> Change {
        let error = Error::unavailable(server, std::io::ErrorKind::TimedOut.into());
        Change::ServerDown { server: server.into(), error }
    }

    fn up(server: &str) -> Change {
        Change::ServerUp { server: server.into(), down_for: Duration::ZERO }
    }

    fn online(user: &str, server: &str) -> Change {
        Change::Online { user: user.into(), last_seen: at(7), server: server.into() }
    }

    fn offline(user: &str, server: &str) -> Change {
        let reason = OfflineReason::TimedOut;
        Change::Offline { user: user.into(), last_seen: Some(at(7)), server: server.into(), reason }
    }

    fn ready(complete: bool) -> Change {
        Change::Ready { online: 0, complete }
    }

    fn any(u: &mut Unstructured<'_>) -> Result<Change> {
        let server = *u.choose(&["a", "b"])?;
        // Each user belongs to one server.
        let user = format!("{server}{}", u.int_in_range(0..=3)?);
        Ok(match u.int_in_range(0..=9)? {
            0..=2 => online(&user, server),
            3..=4 => offline(&user, server),
            5 => {
                Change::Unreadable { user: user.as_str().into(), server: server.into(), error: Error::Closed }
            }
            6 => down(server),
            7 => up(server),
            8 => Change::Missed { server: server.into(), updates: 1 },
            _ => ready(u.arbitrary()?),
        })
    }

    /// The expected state, in which times are numbers of changes.
    #[derive(Default)]
    struct Model {
        /// The last reported status of each user, when it was reported, and since when it holds.
        users: std::collections::BTreeMap<String, (Status, usize, usize)>,
        /// Whether each server is up, whether it is settled, and when it last went down.
        servers: std::collections::BTreeMap<String, (bool, bool, usize)>,
    }

    impl Model {
        fn apply(&mut self, turn: usize, change: &Change) {
            match change {
                Change::Online { user, server, .. }
                | Change::Offline { user, server, .. }
                | Change::Unreadable { user, server, .. } => {
                    let status = match change {
                        Change::Online { .. } => Status::Online,
                        Change::Offline { .. } => Status::Offline,
                        _ => Status::Unknown,
                    };
                    self.servers.entry(server.to_string()).or_insert((true, true, 0));
                    let since = self.users.get(&**user).filter(|before| before.0 == status);
                    let since = since.map_or(turn, |before| before.2);
                    self.users.insert(user.to_string(), (status, turn, since));
                }
                Change::ServerDown { server, .. } => {
                    self.servers.insert(server.to_string(), (false, false, turn));
                }
                Change::ServerUp { server, .. } => {
                    self.servers.entry(server.to_string()).or_insert((true, true, 0)).0 = true;
                }
                Change::Ready { .. } => self.servers.values_mut().for_each(|server| server.1 = server.0),
                _ => {}
            }
        }

        fn status(&self, user: &str) -> Option<(Status, Status)> {
            let (known, told, _) = *self.users.get(user)?;
            let (_, settled, down) = self.servers[&user[..1]];
            Some((if settled || told > down { known } else { Status::Unknown }, known))
        }
    }

    #[test]
    fn it_holds_what_was_told_last_and_counts_it_right() {
        arbtest(|u| {
            let (mut roster, mut model) = (Roster::default(), Model::default());
            for turn in 1..u.int_in_range(2..=60)? {
                let change = any(u)?;
                roster.apply_at(&change, Utc::now());
                model.apply(turn, &change);
                for user in model.users.keys() {
                    let held = roster.get(user).map(|user| (user.status, user.last_known));
                    assert_eq!(held, model.status(user), "{user} after {change:?}");
                }
                assert_eq!(roster.iter().count(), model.users.len());
                for (count, status) in
                    [(roster.online(), Status::Online), (roster.unknown(), Status::Unknown)]
                {
                    let held = roster.iter().filter(|user| user.status == status).count();
                    assert_eq!(count, held, "{status:?} after {change:?}");
                }
                for server in roster.servers() {
                    assert_eq!(server.error.is_none(), model.servers.get(server.name).is_none_or(|is| is.0));
                }
            }
            Ok(())
        })
        .size_min(1_000)
        .budget_ms(2_000);
    }

    #[test]
    fn who_is_offline_leaves_after_a_while_but_for_those_of_a_server_that_is_down() {
        let mut roster = Roster::keeping(Duration::from_secs(60));
        let now = Utc::now();
        let ago = |seconds| now - TimeDelta::seconds(seconds);
        for user in ["gone", "back"] {
            roster.apply_at(&offline(user, "a"), ago(62));
        }
        roster.apply_at(&offline("kept", "b"), ago(61));
        roster.apply_at(&offline("gone too", "a"), ago(61));
        roster.apply_at(&online("back", "a"), ago(60));
        roster.apply_at(&offline("stays", "a"), ago(59));
        roster.apply_at(&down("b"), ago(59));
        // A user whose time is over is hidden at once, and is removed at the next change.
        assert!(roster.get("gone").is_none() && roster.iter().count() == 3);
        assert_eq!(roster.users.len(), 5);
        roster.apply_at(&ready(false), now);
        assert_eq!((roster.users.len(), roster.went_offline.len()), (3, 1));
        assert_eq!(roster.get("kept").map(|user| user.status), Some(Status::Unknown));
        assert_eq!(roster.get("back").map(|user| user.status), Some(Status::Online));
        roster.apply_at(&up("b"), now);
        roster.apply_at(&ready(true), now);
        assert_eq!((roster.users.len(), roster.online(), roster.unknown()), (2, 1, 0));
        assert!(roster.is_complete() && roster.get("stays").is_some());
    }

    #[test]
    fn it_is_complete_until_something_is_missing() {
        let mut roster = Roster::default();
        assert!(!roster.is_complete());
        for change in [Change::Missed { server: "a".into(), updates: 1 }, down("a")] {
            roster.apply(&ready(true));
            assert!(roster.is_complete());
            roster.apply(&change);
            assert!(!roster.is_complete());
        }
    }
}
