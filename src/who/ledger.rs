//! The known users of one server, and the queue of users whose records are to be read. Contains no network code: the
//! caller passes in what the log names, what was read, and the time. A line of the log only queues a read, and only
//! reads change what is known.

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

/// A queued user is read after `BATCH_DELAY`, or as soon as `BATCH_MIN` users are queued.
pub(super) const BATCH_DELAY: Duration = Duration::from_millis(50);
const BATCH_MIN: usize = 100;

/// The most users in the queue. If it is full, updates are lost.
const CAPACITY: usize = 100_000;

/// A Unix time that is never reached.
pub(super) const NEVER: i64 = i64::MAX;

/// The result of reading a user: when the user was last seen; `None` if there is no record.
pub(super) type Seen = Result<Option<DateTime<Utc>>>;

pub(super) struct Ledger {
    server: Arc<str>,
    /// The `online_timeout`.
    window: Duration,
    users: HashMap<Arc<str>, Known>,
    online: usize,
    /// The Unix second of the earliest recheck, or an earlier one.
    next_recheck: i64,
    /// The users to read next, each once.
    queue: VecDeque<Arc<str>>,
    /// The hints about the users in the queue.
    queued: HashMap<Arc<str>, Hint>,
    /// When the first batch of the queue is to be read; `None` if the queue is empty.
    batch_due: Option<Instant>,
    /// The users still to be read in a resync after a list: those who were known, and those in the list.
    resync: Option<(Vec<Arc<str>>, Candidates)>,
    changes: Vec<Change>,
}

/// A user who is online, or whose record cannot be read.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// `None` if the record cannot be read.
    seen: Option<DateTime<Utc>>,
    /// The Unix second in which to read the user again.
    recheck: i64,
}

/// What a log or list says about a record besides naming its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hint {
    /// Whether the value may be too large for a time. Its size is then checked before it is read.
    pub(super) large: bool,
    /// The Unix second in which the record expires; [`NEVER`] if that is not within `online_timeout`.
    pub(super) expires: i64,
}

impl Hint {
    pub(super) const NONE: Self = Self { large: false, expires: NEVER };
}

/// A user whose record is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingRead {
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
            next_recheck: NEVER,
            queue: VecDeque::new(),
            queued: HashMap::new(),
            batch_due: None,
            resync: None,
            changes: Vec::new(),
        }
    }

    pub(super) fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(super) fn online(&self) -> usize {
        self.online
    }

    /// Queues a user whom the log has named. Returns whether there was room.
    pub(super) fn enqueue(&mut self, user: &str, hint: Hint, at: Instant) -> bool {
        if let Some(queued) = self.queued.get_mut(user) {
            // The record may have changed since, so the stricter hint counts.
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
        self.batch_due = Some(self.batch_due.map_or(due, |before| before.min(due)));
        true
    }

    /// Starts a resync after a list of the server: the users in the list and all known users are to be read.
    pub(super) fn listed(&mut self, candidates: Candidates) {
        self.resync = Some((self.users.keys().cloned().collect(), candidates));
    }

    /// Forgets what is to be read, because the server is down and will be listed again.
    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.queued.clear();
        (self.batch_due, self.resync, self.next_recheck) = (None, None, 0);
    }

    /// Queues the users whose recheck is due. They are read before all others, the oldest first.
    pub(super) fn tick(&mut self, now: DateTime<Utc>, at: Instant) {
        let second = now.timestamp();
        if second < self.next_recheck {
            return;
        }
        self.next_recheck = NEVER;
        let mut over = Vec::new();
        for (user, known) in &self.users {
            if known.recheck > second {
                self.next_recheck = self.next_recheck.min(known.recheck);
            } else if !self.queued.contains_key(user) {
                over.push((known.seen, user.clone()));
            }
        }
        over.sort_unstable();
        for (_, user) in over.into_iter().rev() {
            self.queued.insert(user.clone(), Hint::NONE);
            self.queue.push_front(user);
            self.batch_due = Some(at);
        }
    }

    /// Returns the Unix second in which [`tick`](Self::tick) has work, or an earlier one.
    pub(super) fn next_recheck(&self) -> i64 {
        self.next_recheck
    }

    /// Returns when the next [`batch`](Self::batch) is to be read; `None` if the queue is empty.
    pub(super) fn batch_due(&self) -> Option<Instant> {
        self.batch_due
    }

    /// Returns how many users are in the queue.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_resyncing(&self) -> bool {
        self.resync.is_some()
    }

    /// Takes at most `max` users from the queue.
    pub(super) fn batch(&mut self, max: usize) -> Vec<PendingRead> {
        let users = self.queue.drain(..self.queue.len().min(max));
        let mut batch = Vec::with_capacity(users.len());
        for user in users {
            let hint = self.queued.remove(&user).unwrap_or(Hint::NONE);
            batch.push(PendingRead { user, hint });
        }
        if self.queue.is_empty() {
            self.batch_due = None;
        }
        self.mark_large(batch)
    }

    /// Takes at most `max` users from the resync. Returns none, and ends the resync, if all have been taken.
    pub(super) fn resync_batch(&mut self, max: usize) -> Vec<PendingRead> {
        let Some((known, candidates)) = &mut self.resync else { return Vec::new() };
        let mut batch: Vec<_> =
            known.drain(known.len().saturating_sub(max)..).map(PendingRead::from).collect();
        while batch.len() < max
            && let Some((user, hint)) = candidates.next()
        {
            // A user who is known by now has been taken from the known ones, or was read since the list.
            if hint != Hint::NONE || !self.users.contains_key(user) {
                batch.push(PendingRead { user: user.into(), hint });
            }
        }
        if batch.is_empty() {
            self.resync = None;
        }
        self.mark_large(batch)
    }

    /// Marks values as possibly large if they could not be read the last time.
    fn mark_large(&self, mut batch: Vec<PendingRead>) -> Vec<PendingRead> {
        for PendingRead { user, hint } in &mut batch {
            hint.large |= self.users.get(user).is_some_and(|known| known.seen.is_none());
        }
        batch
    }

    /// Applies the results of reading a batch.
    pub(super) fn read(&mut self, batch: Vec<PendingRead>, seen: Vec<Seen>, now: DateTime<Utc>) {
        for (pending, seen) in batch.into_iter().zip(seen) {
            self.read_one(pending, seen, now);
        }
    }

    fn read_one(&mut self, PendingRead { user, hint }: PendingRead, seen: Seen, now: DateTime<Utc>) {
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
                let valid_from = match &error {
                    Error::InvalidRecord { source, .. } => source.time().map(|at| at.timestamp() - window),
                    _ => None,
                };
                let is_new = before.is_none_or(|before| before.seen.is_some());
                let change = is_new.then(|| Change::Unreadable { user: user.clone(), server, error });
                (None, valid_from.unwrap_or(now.timestamp() + window), change)
            }
        };
        self.changes.extend(change);
        self.online = self.online + usize::from(seen.is_some()) - usize::from(was_online.is_some());
        // Only the log or the list says that a record expires sooner, so that time is kept while the record is
        // unchanged. memcached may expire it a second or two late, so from then on it is read every second.
        let unchanged = before.filter(|before| before.seen == seen && seen.is_some());
        let expires = unchanged.map_or(hint.expires, |before| before.recheck.min(hint.expires));
        let recheck = end.min(expires).max(now.timestamp() + 1);
        self.next_recheck = self.next_recheck.min(recheck);
        self.users.insert(user, Known { seen, recheck });
    }

    /// Takes the changes since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

impl From<Arc<str>> for PendingRead {
    fn from(user: Arc<str>) -> Self {
        Self { user, hint: Hint::NONE }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arbtest::{
        arbitrary::{Result, Unstructured},
        arbtest,
    };
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        error::InvalidRecordError,
        who::roster::{Roster, Status},
    };

    const WINDOW: i64 = 5;

    fn ledger() -> Ledger {
        Ledger::new("server", Duration::from_secs(WINDOW.cast_unsigned()))
    }

    /// A model of a server: its records and when they expire, and the lines of its log that are not read yet.
    struct World {
        now: DateTime<Utc>,
        records: BTreeMap<String, (Option<i64>, i64)>,
        log: Vec<(String, Hint)>,
    }

    impl World {
        fn read(&self, user: &str) -> Seen {
            let invalid = |source| Error::InvalidRecord { key: user.to_owned(), source };
            let now = self.now.timestamp();
            match self.records.get(user).filter(|(_, expires)| *expires > now) {
                None => Ok(None),
                Some((None, _)) => Err(invalid(InvalidRecordError::unreadable(0, b"soon", None))),
                Some((Some(at), _)) => {
                    let (at, ahead) = (DateTime::from_timestamp(*at, 0).unwrap(), *at - now);
                    match ahead > WINDOW {
                        true => Err(invalid(InvalidRecordError::ahead(at, TimeDelta::seconds(ahead)))),
                        false => Ok(Some(at)),
                    }
                }
            }
        }

        /// Changes some record, and logs the change.
        fn act(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
            let (user, now) = (format!("user{}", u.int_in_range(0..=5)?), self.now.timestamp());
            let mut expires = NEVER;
            match u.int_in_range(0..=7)? {
                0 => drop(self.records.remove(&user)),
                1 => drop(self.records.insert(user.clone(), (None, NEVER))),
                kind => {
                    let at = now + u.int_in_range(-2 * WINDOW..=2 * WINDOW)? * i64::from(kind < 5);
                    if kind == 7 {
                        expires = now + u.int_in_range(1..=WINDOW)?;
                    }
                    self.records.insert(user.clone(), (Some(at), expires));
                }
            }
            self.log.push((user, Hint { large: false, expires }));
            Ok(())
        }

        fn list(&self) -> Candidates {
            let mut candidates = Candidates::default();
            for (user, (_, expires)) in &self.records {
                let near = *expires <= self.now.timestamp() + WINDOW;
                candidates.push(user, Hint { large: false, expires: if near { *expires } else { NEVER } });
            }
            candidates
        }
    }

    fn read(ledger: &mut Ledger, world: &World, batch: Vec<PendingRead>) {
        let seen = batch.iter().map(|pending| world.read(&pending.user)).collect();
        ledger.read(batch, seen, world.now);
    }

    /// Holds for any order of the lines, and for any lost lines if a list follows.
    #[test]
    fn what_was_read_in_the_end_is_what_is_told() {
        arbtest(|u| {
            let (mut ledger, mut roster) = (ledger(), Roster::default());
            let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap();
            let mut world = World { now, records: BTreeMap::new(), log: Vec::new() };
            let start = Instant::now();
            for _ in 0..u.int_in_range(1..=60)? {
                match u.int_in_range(0..=9)? {
                    0..=3 => world.act(u)?,
                    4 => world.now += TimeDelta::seconds(u.int_in_range(1..=3)?),
                    5..=6 if !world.log.is_empty() => {
                        let (user, hint) = world.log.remove(u.choose_index(world.log.len())?);
                        assert!(ledger.enqueue(&user, hint, start));
                    }
                    7 => {
                        let batch = ledger.batch(u.int_in_range(1..=3)?);
                        read(&mut ledger, &world, batch);
                    }
                    8 if ledger.is_resyncing() => {
                        let batch = ledger.resync_batch(u.int_in_range(1..=3)?);
                        read(&mut ledger, &world, batch);
                    }
                    9 => ledger.tick(world.now, start),
                    _ => {}
                }
            }
            // From here on no record changes. The rest of the log is read, or is lost and the server listed. Time
            // passes.
            match u.arbitrary()? {
                true => ledger.listed(world.list()),
                false => {
                    world.log.iter().for_each(|(user, hint)| assert!(ledger.enqueue(user, *hint, start)));
                }
            }
            for _ in 0..3 {
                world.now += TimeDelta::seconds(u.int_in_range(0..=WINDOW)?);
                ledger.tick(world.now, start);
                loop {
                    let (batch, resync) = (ledger.batch(3), ledger.resync_batch(3));
                    if batch.is_empty() && resync.is_empty() {
                        break;
                    }
                    read(&mut ledger, &world, batch);
                    read(&mut ledger, &world, resync);
                }
                ledger.take_changes().iter().for_each(|change| roster.apply(change));
                let mut online = 0;
                for user in (0..=5).map(|n| format!("user{n}")) {
                    let held = roster.get(&user).map(|user| (user.status, user.last_seen));
                    match world.read(&user) {
                        Ok(Some(at)) if (world.now - at).num_seconds().abs() <= WINDOW => {
                            online += 1;
                            assert_eq!(held, Some((Status::Online, Some(at))), "{user}");
                        }
                        Ok(_) => {
                            assert!(held.is_none_or(|held| held.0 == Status::Offline), "{user}: {held:?}");
                        }
                        Err(_) => {
                            assert!(held.is_some_and(|held| held.0 == Status::Unknown), "{user}: {held:?}");
                        }
                    }
                }
                assert_eq!((ledger.online(), roster.online()), (online, online));
            }
            Ok(())
        })
        .size_min(1_000)
        .budget_ms(3_000);
    }

    #[test]
    fn whose_time_is_over_is_read_before_all_others_and_the_oldest_first() {
        let (mut ledger, start, now) = (ledger(), Instant::now(), Utc::now());
        let ago = |seconds| DateTime::from_timestamp(now.timestamp() - seconds, 0).unwrap();
        for (user, seconds) in [("b", 4), ("a", 5), ("c", 3)] {
            ledger.enqueue(user, Hint::NONE, start);
            let batch = ledger.batch(1);
            ledger.read(batch, vec![Ok(Some(ago(seconds)))], now);
        }
        for n in 0..500 {
            ledger.enqueue(&format!("flood{n}"), Hint::NONE, start);
        }
        assert_eq!(ledger.next_recheck(), now.timestamp() + 1);
        ledger.tick(now + TimeDelta::seconds(2), start);
        let batch: Vec<_> = ledger.batch(3).into_iter().map(|pending| pending.user.to_string()).collect();
        assert_eq!(batch, ["a", "b", "flood0"]);
        assert_eq!(ledger.next_recheck(), now.timestamp() + 3);
    }

    #[test]
    fn who_was_heard_of_is_read_once_and_a_flood_is_bounded() {
        let (mut ledger, start) = (ledger(), Instant::now());
        for n in 0..CAPACITY {
            assert!(ledger.enqueue(&n.to_string(), Hint::NONE, start));
        }
        assert!(!ledger.enqueue("more", Hint::NONE, start));
        // A user who is queued already needs no room.
        assert!(ledger.enqueue("7", Hint { large: true, expires: 9 }, start));
        let users = ledger.batch(CAPACITY);
        let names: BTreeSet<_> = users.iter().map(|pending| pending.user.clone()).collect();
        assert_eq!((users.len(), names.len()), (CAPACITY, CAPACITY));
        assert_eq!(users[7].hint, Hint { large: true, expires: 9 });
        assert!(ledger.batch_due().is_none());
    }
}
