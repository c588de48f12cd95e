//! Tests a sign-out and late sightings in every order of their steps, with the real code on the in-memory store. A step
//! is one operation of the store. Each step is also tried with its answer lost, and with its program ending after it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Outcome, Shared, Tracker};
use crate::{
    error::{Error, Result},
    memcached::{Blocking, When, run_through},
    queue::{Cancelled, Queue, Queues, Sighting},
    record::{Codec, Key, Kind},
    settings::Settings,
    store::{
        Store,
        step::{ACTIVE, FATE, Fate},
    },
};

/// The steps of one program.
struct Part<'a> {
    steps: Pin<Box<dyn Future<Output = Result<()>> + 'a>>,
    /// Whether the part begins only after the first step of the first part.
    later: bool,
}

impl<'a> Part<'a> {
    fn new(steps: impl Future<Output = Result<()>> + 'a) -> Self {
        Self { steps: Box::pin(steps), later: false }
    }

    fn later(self) -> Self {
        Self { later: true, ..self }
    }
}

struct World {
    tracker: Tracker,
    key: Key,
    now: DateTime<Utc>,
    /// Seconds from `now` until the user signs in again: 1, or 1 after the record's time if that is ahead.
    next: i64,
}

impl World {
    /// Creates a world with a record from `ago` seconds ago, or without a record.
    fn new(ago: Option<i64>) -> Self {
        let settings = Settings::default().with_servers(["memory:"]);
        let codec = Codec::new(settings.online_timeout());
        let shared = Shared { settings, codec, store: Store::memory(), queues: Queues::default() };
        let tracker = Tracker { shared: Arc::new(shared) };
        let key = tracker.key("alice").unwrap();
        let next = 1 - ago.unwrap_or_default().min(0);
        let world = Self { tracker, key, now: Utc::now(), next };
        if let Some(ago) = ago {
            world.tracker.seen_at("alice", world.at(-ago)).unwrap();
        }
        world
    }

    fn at(&self, seconds: i64) -> DateTime<Utc> {
        self.now + TimeDelta::seconds(seconds)
    }

    fn has_record(&self) -> bool {
        ACTIVE.set(false);
        let found = run_through(self.tracker.store().item::<Blocking>(&self.key));
        ACTIVE.set(true);
        found.unwrap().is_some()
    }

    /// Signs out or forgets the user. Tries again while the store is unavailable, as a recorder does.
    fn ends(&self, kind: Kind) -> Part<'_> {
        self.tries_to_end(kind, self.now, None)
    }

    /// Tries again to sign out or forget the user, by a call at `seconds` that failed.
    fn ends_late(&self, kind: Kind, seconds: i64) -> Part<'_> {
        self.tries_to_end(kind, self.at(seconds), Some(self.at(seconds)))
    }

    fn tries_to_end(&self, kind: Kind, now: DateTime<Utc>, mut until: Option<DateTime<Utc>>) -> Part<'_> {
        let (tracker, key) = (&self.tracker, &self.key);
        Part::new(async move {
            loop {
                let none = Cancelled::default();
                let ended = tracker.end::<Blocking>(tracker.store(), key, kind, now, none, &mut until).await;
                match ended {
                    Err(Error::Unavailable { .. }) => {}
                    ended => return ended.map(drop),
                }
            }
        })
    }

    /// Writes a sighting as a recorder does, until its outcome is final.
    fn writes(&self, seconds: i64) -> Part<'_> {
        let mut sighting = Some(Sighting::new(self.key.clone(), self.at(seconds)));
        Part::new(async move {
            while let Some(due) = sighting.take() {
                let mut done = |due, outcome| {
                    if matches!(outcome, Outcome::Failed(_) | Outcome::Changing) {
                        sighting = Some(due);
                    }
                };
                self.tracker.write_on::<Blocking>(self.tracker.store(), vec![due], &mut done).await;
            }
            Ok(())
        })
    }

    /// Writes a sighting unconditionally, as another language or a direct `seen` does.
    fn seen_directly(&self, seconds: i64) -> Part<'_> {
        let write = self.tracker.write(self.key.clone(), self.at(seconds), When::Always).unwrap();
        Part::new(async move { self.tracker.store().set::<Blocking>(&write).await.map(drop) })
    }
}

/// The result of one order.
#[derive(Debug)]
struct Ran {
    /// The result of each part; `None` if its program ended early.
    parts: Vec<Option<Result<()>>>,
    /// Whether a writer ended after adding a record, perhaps before it read the tombstone again.
    cut_after_add: bool,
    /// Whether the first part lost its first answer. It then cannot tell that a record with a future time is older.
    first_read_lost: bool,
    record: Option<DateTime<Utc>>,
}

/// Runs every order of the parts with at most `faults` faults. Returns the number of orders.
fn explore(
    ago: Option<i64>,
    parts: &dyn for<'w> Fn(&'w World) -> Vec<Part<'w>>,
    faults: usize,
    check: &dyn Fn(&World, &Ran) -> bool,
) -> usize {
    let (mut path, mut orders): (Vec<(usize, usize)>, usize) = (Vec::new(), 0);
    loop {
        let world = World::new(ago);
        let ran = run(&world, parts(&world), faults, &mut path);
        orders += 1;
        assert!(check(&world, &ran), "{ago:?} {path:?} at {}: {ran:?}", world.now);
        // The next path differs in the last choice that has an alternative left.
        while let Some((choice, choices)) = path.pop() {
            if choice + 1 < choices {
                path.push((choice + 1, choices));
                break;
            }
        }
        if path.is_empty() {
            return orders;
        }
    }
}

fn run(world: &World, parts: Vec<Part<'_>>, faults: usize, path: &mut Vec<(usize, usize)>) -> Ran {
    let mut ended: Vec<Option<Result<()>>> = parts.iter().map(|_| None).collect();
    let mut running: Vec<Option<Part<'_>>> = parts.into_iter().map(Some).collect();
    let (mut left, mut taken, mut begun) = (faults, 0, false);
    let (mut cut_after_add, mut first_read_lost) = (false, false);
    // All orders of three programs take minutes, so only the soak runs those with many interruptions.
    let mut interruptions = if soak() || running.len() < 3 { usize::MAX } else { INTERRUPTIONS };
    let (mut added, mut last) = (vec![false; running.len()], 0);
    let mut choose = |choices: usize| {
        if taken == path.len() {
            path.push((0, choices));
        }
        taken += 1;
        path[taken - 1].0
    };
    let mut context = Context::from_waker(Waker::noop());
    ACTIVE.set(true);
    FATE.set(Fate::Answered);
    // Run each part up to its first operation, which has not happened yet.
    for part in running.iter_mut().flatten() {
        assert!(part.steps.as_mut().poll(&mut context).is_pending());
    }
    loop {
        let may_run = |part: &Option<Part<'_>>| part.as_ref().is_some_and(|part| begun || !part.later);
        let live: Vec<usize> = (0..running.len()).filter(|&nth| may_run(&running[nth])).collect();
        let Some(&only) = live.first() else { break };
        let goes_on = interruptions == 0 && live.contains(&last);
        let turn = match live.len() {
            1 => only,
            _ if goes_on => last,
            several => live[choose(several)],
        };
        interruptions -= usize::from(turn != last && live.contains(&last));
        last = turn;
        let fate = if left == 0 { 0 } else { choose(3) };
        let fate = [Fate::Answered, Fate::Lost, Fate::Ends][fate];
        left -= usize::from(fate != Fate::Answered);
        FATE.set(fate);
        let (part, was_there) = (running[turn].as_mut().unwrap(), world.has_record());
        let polled = part.steps.as_mut().poll(&mut context);
        first_read_lost |= turn == 0 && !begun && fate == Fate::Lost;
        begun |= turn == 0;
        added[turn] |= !was_there && world.has_record();
        match polled {
            Poll::Ready(result) if fate != Fate::Ends => {
                ended[turn] = Some(result);
                running[turn] = None;
            }
            _ if fate == Fate::Ends => {
                cut_after_add |= added[turn];
                running[turn] = None;
            }
            _ => {}
        }
    }
    drop(running);
    ACTIVE.set(false);
    let record = world.tracker.last_seen("alice").ok().flatten();
    Ran { parts: ended, cut_after_add, first_read_lost, record }
}

/// How often one of three programs may interrupt another outside the soak.
const INTERRUPTIONS: usize = 3;

fn soak() -> bool {
    std::env::var_os("LAST_SEEN_SOAK").is_some()
}

/// The age of the record in seconds: absent, fresh, offline already, old, and ahead of this host's clock.
const RECORDS: [Option<i64>; 5] = [None, Some(10), Some(306), Some(86_400), Some(-3)];

fn is_online(world: &World, ran: &Ran) -> bool {
    ran.record.is_some_and(|seen| world.now - seen <= TimeDelta::seconds(300))
}

fn holds(kind: Kind) -> impl Fn(&World, &Ran) -> bool {
    move |world, ran| {
        let is_ahead = ran.first_read_lost && ran.record > Some(world.now);
        let promised = matches!(ran.parts[0], Some(Ok(()))) && !ran.cut_after_add && !is_ahead;
        !promised || if kind == Kind::Forgotten { ran.record.is_none() } else { !is_online(world, ran) }
    }
}

/// Explores every order for the first `records` of [`RECORDS`] with `faults` faults; in the soak, for all of them with
/// `soak_faults`.
fn every_order(
    [records, faults, soak_faults]: [usize; 3],
    parts: &dyn for<'w> Fn(&'w World) -> Vec<Part<'w>>,
    check: &dyn Fn(&World, &Ran) -> bool,
) {
    let (records, faults) = if soak() { (RECORDS.len(), soak_faults) } else { (records, faults) };
    let orders: usize = RECORDS[..records].iter().map(|&ago| explore(ago, parts, faults, check)).sum();
    println!("{orders} orders");
}

#[test]
fn a_late_sighting_undoes_no_sign_out() {
    every_order(
        [5, 1, 3],
        &|world| vec![world.ends(Kind::SignedOut), world.writes(-2)],
        &holds(Kind::SignedOut),
    );
}

#[test]
fn a_late_sighting_undoes_no_forget() {
    every_order(
        [5, 1, 3],
        &|world| vec![world.ends(Kind::Forgotten), world.writes(-2)],
        &holds(Kind::Forgotten),
    );
}

#[test]
fn nor_do_two() {
    for kind in [Kind::SignedOut, Kind::Forgotten] {
        every_order(
            [3, 0, 0],
            &|world| vec![world.ends(kind), world.writes(-2), world.writes(-1)],
            &holds(kind),
        );
    }
}

#[test]
fn a_sign_in_afterwards_is_never_lost() {
    for kind in [Kind::SignedOut, Kind::Forgotten] {
        let signed_in = |world: &World, ran: &Ran| {
            !matches!(ran.parts[1], Some(Ok(())))
                || ran.record.is_some_and(|seen| seen.timestamp() == world.at(world.next).timestamp())
        };
        every_order([3, 1, 2], &|world| vec![world.ends(kind), world.writes(world.next).later()], &signed_in);
        every_order(
            [3, 0, 0],
            &|world| vec![world.ends(kind), world.writes(world.next).later(), world.writes(-2)],
            &signed_in,
        );
        every_order(
            [3, 1, 2],
            &|world| vec![world.ends(kind), world.seen_directly(world.next).later(), world.writes(-2)],
            &signed_in,
        );
    }
}

#[test]
fn a_sign_out_that_is_tried_again_takes_back_no_later_sign_in() {
    for kind in [Kind::SignedOut, Kind::Forgotten] {
        let signed_in = |world: &World, ran: &Ran| {
            !matches!(ran.parts[1], Some(Ok(())))
                || ran.record.is_some_and(|seen| seen.timestamp() >= world.now.timestamp())
        };
        every_order([3, 1, 2], &|world| vec![world.ends_late(kind, -60), world.writes(0)], &signed_in);
        every_order([3, 1, 2], &|world| vec![world.ends_late(kind, -60), world.seen_directly(0)], &signed_in);
    }
}

#[test]
fn a_sign_out_that_is_tried_again_weakens_no_later_one() {
    for (kind, earlier) in [
        (Kind::SignedOut, Kind::SignedOut),
        (Kind::SignedOut, Kind::Forgotten),
        (Kind::Forgotten, Kind::SignedOut),
        (Kind::Forgotten, Kind::Forgotten),
    ] {
        every_order(
            [3, 0, 0],
            &|world| vec![world.ends(kind), world.ends_late(earlier, -60), world.writes(-30)],
            &holds(kind),
        );
    }
}

#[test]
fn a_guard_that_is_being_renewed_shows_nobody_online_after_a_sign_out_elsewhere() {
    let world = World::new(None);
    let queue = Arc::new(Queue::new(10, Duration::from_secs(300)));
    world.tracker.queues().add(&queue);
    let guard = queue.keep_online("seen_", "alice", world.at(-60).timestamp_micros()).unwrap();
    assert!(world.tracker.online("alice").unwrap());
    let (opening, _) = queue.take_at(Utc::now, 2);
    run_through(world.tracker.write_on::<Blocking>(world.tracker.store(), opening, &mut |_, _| {}));
    queue.end_flush();
    // Another program has its own queue.
    run_through(world.ends(Kind::SignedOut).steps).unwrap();
    let (renewal, _) = queue.take_at(Utc::now, 200);
    assert!(renewal[0].at >= world.now && renewal[0].as_of < world.now, "{renewal:?}");
    assert!(!world.tracker.online("alice").unwrap() && !guard.ended());
    assert!(!world.tracker.presences(["alice"])[0].as_ref().unwrap().online);
}

#[test]
fn of_two_sightings_the_newer_stays() {
    let newest = |world: &World, ran: &Ran| {
        let written = |nth: usize| matches!(ran.parts[nth], Some(Ok(())));
        let seen = ran.record.map(|seen| seen.timestamp());
        !written(0) || seen >= Some(world.at(-1).timestamp())
    };
    every_order([5, 1, 3], &|world| vec![world.writes(-1), world.writes(-2)], &newest);
}
