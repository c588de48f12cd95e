//! How long a test waits, and for what.

use std::time::{Duration, Instant};

/// Runs `f`, which must not take longer than `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, f: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = f();
    let took = started.elapsed();
    assert!(took <= limit, "took {took:?}, allowed are {limit:?}");
    result
}

/// Runs `f`, which must not take longer than `limit`, up to three times: on a machine with other work any one
/// of them may be held up.
#[track_caller]
pub fn within_once<T>(limit: Duration, mut f: impl FnMut() -> T) -> T {
    for _ in 0..2 {
        let started = Instant::now();
        let result = f();
        if started.elapsed() <= limit {
            return result;
        }
    }
    within(limit, f)
}

/// Asks until `f` gives something, for ten seconds at most.
#[track_caller]
pub fn eventually<T>(mut f: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(result) = f() {
            return result;
        }
        assert!(Instant::now() < deadline, "still not so after ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
