//! The page behind a proxy: whether what it shows stays current.

use last_seen_tests::Memcached;

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
