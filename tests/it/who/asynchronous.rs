//! The same for async code.

use std::sync::{Arc, RwLock};

use futures_core::Stream;
use last_seen::{AsyncTracker, AsyncWatch, Change, Error, Roster, Tracker};
use tokio::sync::broadcast;

use super::reader::short;
use last_seen_tests::{Fake, Memcached, eventually, ms, secs, within};

#[tokio::test]
async fn the_list_and_the_changes_are_the_same() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        let tracker = AsyncTracker::from(tracker);
        let mut watch = tracker.watch().await.unwrap();
        assert_eq!(short(&watch.next().await.unwrap()), "0 online");
        tracker.seen("alice").await.unwrap();
        let Some(Change::Online { user, last_seen, .. }) = watch.next().await else { panic!() };
        let listed = tracker.online_users().await.unwrap().complete().unwrap();
        let [online] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!((online.user.as_str(), online.last_seen), (&*user, last_seen));
        tracker.sign_out("alice").await.unwrap();
        assert_eq!(short(&watch.next().await.unwrap()), "offline alice SignedOut");
    }
}

#[tokio::test]
async fn a_wait_that_is_cancelled_loses_no_change() {
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
        if let Ok(Some(Change::Online { user, .. })) = tokio::time::timeout(ms(1), watch.next()).await {
            seen.push(user.parse::<u32>().unwrap());
        }
    }
    writing.await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_is_a_stream() {
    fn stream<S: Stream<Item = Change> + Send + Unpin + 'static>(stream: S) -> S {
        stream
    }
    let mut watch = stream(AsyncTracker::from(Tracker::in_memory()).watch().await.unwrap());
    let next = std::future::poll_fn(|context| std::pin::Pin::new(&mut watch).poll_next(context));
    assert_eq!(short(&next.await.unwrap()), "0 online");
}

/// One task that watches, a roster in the state of the handlers, and a broadcast to the pages that are open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_of_a_site_shows_the_same_as_its_roster() {
    let memcached = Memcached::start();
    let tracker = AsyncTracker::from(memcached.tracker());
    let roster: Arc<RwLock<Roster>> = Arc::default();
    let (pages, _) = broadcast::channel(10_000);
    let mut watch = tracker.watch().await.unwrap();
    let (writing, telling) = (roster.clone(), pages.clone());
    let watching = tokio::spawn(async move {
        while let Some(change) = watch.next().await {
            let mut roster = writing.write().unwrap();
            roster.apply(&change);
            let _ = telling.send(change);
        }
    });
    let page = |last: &'static str| {
        let (mut shown, mut changes) = {
            let roster = roster.read().unwrap();
            (roster.clone(), pages.subscribe())
        };
        tokio::spawn(async move {
            while shown.get(last).is_none() {
                shown.apply(&changes.recv().await.unwrap());
            }
            shown
        })
    };
    let mut open = Vec::new();
    for n in 0..200 {
        tracker.seen(n).await.unwrap();
        if n % 20 == 0 {
            open.push(page("last"));
        }
        if n % 3 == 0 {
            tracker.sign_out(n).await.unwrap();
        }
    }
    tokio::time::sleep(ms(300)).await;
    tracker.seen("last").await.unwrap();
    let mut shown = Vec::new();
    for page in open {
        shown.push(tokio::time::timeout(secs(10), page).await.unwrap().unwrap());
    }
    watching.abort();
    for page in shown {
        assert_eq!(page.online(), 200 - 67 + 1);
    }
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
    let mut watch = AsyncTracker::from(memcached.tracker()).watch().await.unwrap();
    assert_eq!(short(&watch.next().await.unwrap()), "0 online");
    // The question before, and the list, may not be closed yet.
    eventually(|| (memcached.stat("curr_connections") == before + 2).then_some(()));
    within(ms(500), || drop(watch));
    eventually(|| (memcached.stat("curr_connections") == before).then_some(()));
}
