//! The page behind a proxy: whether what it shows stays current.

use last_seen_tests::{Memcached, eventually};

use crate::{
    proxy::{Proxy, Way},
    site::Site,
    window::Driver,
};

#[tokio::test]
async fn events_that_were_refused_once_are_asked_for_again() {
    let memcached = Memcached::start();
    memcached.tracker().seen("alice").unwrap();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let proxy = Proxy::start(site.address(), &[("/events", Way::Refuse)]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&proxy.url("/")).await;
    // By polling.
    window.says("#indicator", "Live").await;
    window.lists(&["alice"]).await;
    let stream = "return source.readyState";
    window.until("closed", stream, |state| state == 2).await;
    proxy.set("/events", Way::Pass);
    window.until("open", stream, |state| state == 1).await;
    window.close().await;
}

#[tokio::test]
async fn a_page_whose_events_stop_polls() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let proxy = Proxy::start(site.address(), &[]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&proxy.url("/")).await;
    window.says("#indicator", "Live").await;
    window.shows("alice", "Online", "just now").await;
    // A proxy that has let a burst through, and now fills its buffer.
    proxy.set("/events", Way::Hold);
    tracker.seen("bob").unwrap();
    window.shows("bob", "Online", "").await;
    // For longer than a page waits before it calls the site lost.
    let polls = "return performance.getEntriesByType('resource').filter(poll => poll.name.endsWith('/state?')).length";
    window.until("polls", polls, |polls| polls.as_u64() >= Some(5)).await;
    assert_eq!(window.text_of("#indicator").await, "Live");
    window.close().await;
}

#[tokio::test]
async fn a_poll_under_way_does_not_undo_what_an_event_has_told() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let proxy = Proxy::start(site.address(), &[("/events", Way::Hold), ("/state", Way::Hold)]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&proxy.url("/")).await;
    proxy.wait_for_held("/state");
    tracker.seen("bob").unwrap();
    eventually(|| site.get("/state").contains("\"user\":\"bob\"").then_some(()));
    proxy.set("/events", Way::Pass);
    window.shows("bob", "Online", "").await;
    // The poll's answer is from before bob.
    proxy.set("/state", Way::Pass);
    tracker.seen("carol").unwrap();
    window.shows("carol", "Online", "").await;
    window.shows("bob", "Online", "").await;
    window.close().await;
}
