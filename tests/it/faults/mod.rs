//! When memcached is slow, gone, moved or lying. What takes long runs in full with `LAST_SEEN_SOAK=1`.

mod bounds;
mod circuit;
mod connections;
mod flapping;
mod idle;
mod lies;
mod limits;
mod moved;
mod process;
mod said;
mod start;

use std::net::{TcpListener, TcpStream};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Tracker};

use last_seen_tests::{Memcached, eventually, ms, secs};

/// A port on which nothing listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A port whose queue of new connections is full, so that a dial hangs.
struct Backlog {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Backlog {
    fn full() -> Self {
        Self::fill(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn fill(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, ms(300)) {
            waiting.push(stream);
        }
        Self { listener, _waiting: waiting }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(error @ Error::Unavailable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A time for each user that no other user has.
fn time_of(user: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::seconds(user)
}

/// Calls until the circuit is open.
#[track_caller]
fn until_circuit_open(tracker: &Tracker) -> String {
    eventually(|| {
        let told = unavailable(tracker.last_seen("alice"));
        told.contains("not retried yet").then_some(told)
    })
}

/// A tracker whose one server has `users` with the times that are theirs.
#[track_caller]
fn filled(memcached: &Memcached, users: i64) {
    // Longer than any pause of a busy machine.
    let tracker = Tracker::new(memcached.settings().with_server_timeout(secs(10))).unwrap();
    assert_eq!(tracker.restore((0..users).map(|n| (n, Utc::now()))).written, users as usize);
    for user in 0..users {
        tracker.seen_at(user, time_of(user)).unwrap();
    }
}
