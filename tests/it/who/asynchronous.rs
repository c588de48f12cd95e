//! The async twins.

use last_seen::{AsyncTracker, AsyncWatch, Error, Tracker};

use last_seen_tests::{Fake, Memcached, eventually, ms, within};

#[tokio::test]
async fn the_list_and_the_feed_are_the_same() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        let tracker = AsyncTracker::from(tracker);
        let mut watch = tracker.watch().await.unwrap();
        tracker.seen("alice").await.unwrap();
        let (user, presence) = watch.next().await.unwrap().unwrap();
        assert_eq!((user.as_str(), presence.online), ("alice", true));
        let [(user, at)] = &tracker.online_users().await.unwrap()[..] else { panic!() };
        assert_eq!((user.as_str(), Some(*at)), ("alice", presence.last_seen));
        assert_eq!((watch.missed(), watch.skipped()), (0, 0));
    }
}

#[tokio::test]
async fn a_wait_that_is_cancelled_loses_no_event() {
    let tracker = AsyncTracker::from(Tracker::in_memory());
    let mut watch = tracker.watch().await.unwrap();
    let writer = tracker.clone();
    let writing = tokio::spawn(async move {
        for n in 0..100 {
            writer.seen(n).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 100 {
        if let Ok(event) = tokio::time::timeout(ms(1), watch.next()).await {
            seen.push(event.unwrap().unwrap().0.parse::<u32>().unwrap());
        }
    }
    writing.await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_runtime_goes_on_while_a_server_is_listed() {
    let silent = Fake::start(|stream| std::io::copy(&mut &stream, &mut std::io::sink()).map(drop).unwrap());
    let tracker = AsyncTracker::from(Tracker::connect(&silent.address()).unwrap());
    tokio::select! {
        biased;
        listed = tracker.online_users() => panic!("{listed:?}"),
        () = tokio::time::sleep(ms(10)) => {}
    }
    assert!(matches!(tracker.online_users().await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn dropping_it_closes_its_connections_at_once() {
    fn sendable<T: Send>() {}
    sendable::<AsyncWatch>();
    let memcached = Memcached::start();
    let before = memcached.stat("curr_connections");
    let watch = AsyncTracker::from(memcached.tracker()).watch().await.unwrap();
    // The question before may not be closed yet.
    eventually(|| (memcached.stat("curr_connections") == before + 2).then_some(()));
    within(ms(50), || drop(watch));
    eventually(|| (memcached.stat("curr_connections") == before).then_some(()));
}
