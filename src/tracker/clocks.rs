//! Tests with hosts whose clocks differ, or were wrong for a while.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Outcome, Tracker};
use crate::{
    memcached::{Blocking, run_through},
    queue::{Cancelled, Sighting},
    record::{Key, Kind},
};

struct World {
    tracker: Tracker,
    alice: Key,
    now: DateTime<Utc>,
}

impl World {
    fn new() -> Self {
        let tracker = Tracker::in_memory();
        Self { alice: tracker.key("alice").unwrap(), tracker, now: Utc::now() }
    }

    fn at(&self, seconds: i64) -> DateTime<Utc> {
        self.now + TimeDelta::seconds(seconds)
    }

    fn seen(&self, seconds: i64) {
        self.tracker.seen_at("alice", self.at(seconds)).unwrap();
    }

    /// Signs the user out on a host whose clock is `ahead` seconds ahead.
    fn signs_out(&self, ahead: i64) {
        let (store, at) = (self.tracker.store(), self.at(ahead));
        let none = Cancelled::default();
        run_through(self.tracker.end::<Blocking>(store, &self.alice, Kind::SignedOut, at, none, &mut None))
            .unwrap();
    }

    /// Lets a recorder write a sighting at `seconds`. Returns whether it was written.
    fn writes(&self, seconds: i64) -> bool {
        let (mut written, store) = (false, self.tracker.store());
        let sightings = vec![Sighting::new(self.alice.clone(), self.at(seconds))];
        let mut done = |_, outcome| written = matches!(outcome, Outcome::Written);
        run_through(self.tracker.write_on::<Blocking>(store, sightings, &mut done));
        written
    }

    fn is_online(&self) -> bool {
        self.tracker.online("alice").unwrap()
    }
}

#[test]
fn a_sign_out_holds_on_hosts_whose_clocks_differ_by_2_s() {
    // The host that is ahead has already written a record.
    let world = World::new();
    world.seen(0);
    world.signs_out(-2);
    assert!(!world.is_online() && !world.writes(-1) && !world.is_online());
    assert!(world.writes(1) && world.is_online());
    // Without a record, only sightings before the time of the slower clock are cancelled.
    let world = World::new();
    world.signs_out(-2);
    assert!(!world.writes(-3) && !world.is_online());
    // After a sign-out on a host that is 2 s ahead, a sign-in within these 2 s is lost.
    let world = World::new();
    world.seen(-1);
    world.signs_out(2);
    assert!(!world.writes(0) && !world.is_online());
    assert!(world.writes(3) && world.is_online());
}

#[test]
fn a_record_an_hour_ahead_counts_as_older_than_anything() {
    let world = World::new();
    world.seen(3_600);
    assert!(world.writes(0) && world.is_online());
    world.seen(3_600);
    world.signs_out(0);
    assert!(!world.is_online() && !world.writes(-1) && !world.is_online());
    world.seen(3_600);
    assert_eq!(world.tracker.restore([("alice", world.at(-10))]).written, 0, "signed out since");
    assert_eq!(world.tracker.restore([("alice", world.at(1))]).written, 1);
}

#[test]
fn a_tombstone_an_hour_ahead_says_nothing() {
    let world = World::new();
    world.seen(-20);
    world.signs_out(3_600);
    assert!(world.writes(-10) && world.is_online());
    // A correct tombstone takes effect despite the wrong one.
    world.signs_out(0);
    assert!(!world.writes(-5) && !world.is_online());
    assert!(world.writes(1) && world.is_online());
}
