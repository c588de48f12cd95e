//! Counts the allocations of a call. A program of its own, since every allocation takes longer here. `measure.py` asks.

use std::{hint::black_box, time::Duration};

use allocation_counter::measure;
use last_seen::{AsyncTracker, Settings, Tracker};

fn main() {
    let Ok(server) = std::env::var("MEMCACHE_SERVERS") else {
        return println!("run benches/compare/run, which asks for what it counts");
    };
    let settings = Settings::default().with_servers([&server]).with_server_timeout(Duration::from_secs(5));
    let tracker = Tracker::new(settings).unwrap();
    let users: Vec<String> = (0..500).map(|nth| format!("user{nth}")).collect();
    users.iter().for_each(|user| tracker.seen(user).unwrap());
    let user = &users[7];
    count("seen", || tracker.seen(user).unwrap());
    count("last_seen", || tracker.last_seen(user).unwrap());
    for page in [100, 500] {
        count(&format!("presences of {page}"), || tracker.presences(&users[..page]));
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tracker = AsyncTracker::from(tracker);
    count("block_on", || runtime.block_on(async {}));
    count("AsyncTracker::seen", || runtime.block_on(tracker.seen(user)).unwrap());
    count("AsyncTracker::last_seen", || runtime.block_on(tracker.last_seen(user)).unwrap());
    for page in [100, 500] {
        let presences = || runtime.block_on(tracker.presences(&users[..page]));
        count(&format!("AsyncTracker::presences of {page}"), presences);
    }
}

/// Prints the allocations of a call that finds what the one before has made, such as a connection and its buffers.
fn count<T>(subject: &str, call: impl Fn() -> T) {
    let run = || drop(black_box(call()));
    run();
    println!("{subject}: {}", measure(run).count_total);
}
