//! What clocks do that differ, or were wrong for a while.

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

    /// By a host whose clock is so many seconds ahead.
    fn signs_out(&self, ahead: i64) {
        let (store, at) = (self.tracker.store(), self.at(ahead));
        let none = Cancelled::default();
        run_through(self.tracker.end::<Blocking>(store, &self.alice, Kind::SignedOut, at, none, &mut None))
            .unwrap();
    }

    /// Whether a recorder wrote a sighting of then.
    fn writes(&self, seconds: i64) -> bool {
        let (mut written, store) = (false, self.tracker.store());
        let due = vec![Sighting::new(self.alice.clone(), self.at(seconds))];
        let mut done = |_, outcome| written = matches!(outcome, Outcome::Written);
        run_through(self.tracker.write_on::<Blocking>(store, due, &mut done));
        written
    }

    fn is_online(&self) -> bool {
        self.tracker.online("alice").unwrap()
    }
}

#[test]
fn a_sign_out_holds_on_hosts_whose_clocks_differ_by_2_s() {
    // Of whom the host that is ahead has written already.
    let world = World::new();
    world.seen(0);
    world.signs_out(-2);
    assert!(!world.is_online() && !world.writes(-1) && !world.is_online());
    assert!(world.writes(1) && world.is_online());
    // Else by that difference.
    let world = World::new();
    world.signs_out(-2);
    assert!(!world.writes(-3) && !world.is_online());
    // And a sign-in after a sign-out by a host that is ahead is lost for that difference.
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
    // One that is right is not hidden by it.
    world.signs_out(0);
    assert!(!world.writes(-5) && !world.is_online());
    assert!(world.writes(1) && world.is_online());
}
