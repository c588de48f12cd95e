//! The blocking verbs on a memcached of their own and in process, in absolute times: `cargo bench -p last-seen-benches --bench verbs`.

#![allow(unreachable_pub, reason = "a bench has no public API")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use last_seen::Tracker;
use last_seen_tests::Memcached;

fn verbs(c: &mut Criterion) {
    let memcached = Memcached::start();
    for (store, tracker) in [("memcached", memcached.tracker()), ("memory", Tracker::in_memory())] {
        let users: Vec<String> = (0..500).map(|n| format!("user{n}")).collect();
        for user in &users {
            tracker.seen(user).unwrap();
        }
        let mut group = c.benchmark_group(store);
        group.bench_function("seen", |b| b.iter(|| tracker.seen(black_box("user7")).unwrap()));
        group.bench_function("last_seen", |b| b.iter(|| tracker.last_seen(black_box("user7")).unwrap()));
        for count in [100, 500] {
            let page = &users[..count];
            group.bench_function(format!("presences of {count}"), |b| b.iter(|| tracker.presences(page)));
        }
        group.finish();
    }
}

criterion_group!(benches, verbs);
criterion_main!(benches);
