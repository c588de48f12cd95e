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

    /// A server: its records, when they expire, and what its log has said and nobody heard so far.
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

        /// Some record changes, and the log says so.
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

    fn read(ledger: &mut Ledger, world: &World, batch: Vec<Look>) {
        let seen = batch.iter().map(|look| world.read(&look.user)).collect();
        ledger.read(batch, seen, world.now);
    }

    /// Whatever the order of the lines and whichever of them are lost, if that is followed by a list.
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
                        assert!(ledger.hear(&user, hint, start));
                    }
                    7 => {
                        let batch = ledger.batch(u.int_in_range(1..=3)?);
                        read(&mut ledger, &world, batch);
                    }
                    8 if ledger.is_sweeping() => {
                        let batch = ledger.sweep(u.int_in_range(1..=3)?);
                        read(&mut ledger, &world, batch);
                    }
                    9 => ledger.tick(world.now, start),
                    _ => {}
                }
            }
            // Nothing happens any more: the rest of the log is heard, or lost and the server listed; and the clock goes on.
            match u.arbitrary()? {
                true => ledger.listed(world.list()),
                false => world.log.iter().for_each(|(user, hint)| assert!(ledger.hear(user, *hint, start))),
            }
            for _ in 0..3 {
                world.now += TimeDelta::seconds(u.int_in_range(0..=WINDOW)?);
                ledger.tick(world.now, start);
                loop {
                    let (batch, sweep) = (ledger.batch(3), ledger.sweep(3));
                    if batch.is_empty() && sweep.is_empty() {
                        break;
                    }
                    read(&mut ledger, &world, batch);
                    read(&mut ledger, &world, sweep);
                }
                ledger.changes().iter().for_each(|change| roster.apply(change));
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
            ledger.hear(user, Hint::NONE, start);
            let batch = ledger.batch(1);
            ledger.read(batch, vec![Ok(Some(ago(seconds)))], now);
        }
        for n in 0..500 {
            ledger.hear(&format!("flood{n}"), Hint::NONE, start);
        }
        assert_eq!(ledger.next_tick(), now.timestamp() + 1);
        ledger.tick(now + TimeDelta::seconds(2), start);
        let batch: Vec<_> = ledger.batch(3).into_iter().map(|look| look.user.to_string()).collect();
        assert_eq!(batch, ["a", "b", "flood0"]);
        assert_eq!(ledger.next_tick(), now.timestamp() + 3);
    }

    #[test]
    fn who_was_heard_of_is_read_once_and_a_flood_is_bounded() {
        let (mut ledger, start) = (ledger(), Instant::now());
        for n in 0..CAPACITY {
            assert!(ledger.hear(&n.to_string(), Hint::NONE, start));
        }
        assert!(!ledger.hear("more", Hint::NONE, start));
        // Those who wait already need no room.
        assert!(ledger.hear("7", Hint { large: true, expires: 9 }, start));
        let users = ledger.batch(CAPACITY);
        let names: BTreeSet<_> = users.iter().map(|look| look.user.clone()).collect();
        assert_eq!((users.len(), names.len()), (CAPACITY, CAPACITY));
        assert_eq!(users[7].hint, Hint { large: true, expires: 9 });
        assert!(ledger.batch_due().is_none());
    }
}
