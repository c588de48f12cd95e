//! The site as people use it, in Debian's Chromium, on a memcached of the test's own.
//!
//! With `LAST_SEEN_PICTURES=docs/pictures` the screenshots of the documentation are made again.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

mod asked;
mod behind;
mod example;
#[path = "../../../page/mod.rs"]
mod page;
mod pictures;
mod proxy;
mod site;
mod states;
mod window;

use std::net::Shutdown;

use chrono::{TimeDelta, Utc};

use last_seen_tests::{Memcached, eventually, secs};
use site::Site;
use window::Driver;

#[tokio::test]
async fn two_windows_see_who_comes_and_goes() {
    let memcached = Memcached::start();
    let elsewhere = memcached.tracker();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let (alices, bobs) = (driver.window().await, driver.window().await);

    alices.open(&site.url("/")).await;
    alices.says("#empty", "Nobody has been seen yet. Sign in above, or run: last-seen seen alice").await;
    alices.sign_in("alice").await;
    bobs.open(&site.url("/")).await;
    bobs.sign_in("<b>bob</b>").await;

    // Each sees both, and a name with markup is text.
    for window in [&alices, &bobs] {
        window.shows("alice", "Online", "just now").await;
        window.shows("<b>bob</b>", "Online", "just now").await;
        window.says("#online", "2").await;
        assert_eq!(window.count_of("tbody b").await, 0);
    }

    // Who is seen by another program shows up without a reload.
    elsewhere.seen_at("dave", Utc::now() - TimeDelta::minutes(3)).unwrap();
    alices.shows("dave", "Online", "3 minutes ago").await;
    elsewhere.seen("frank").unwrap();
    alices.shows("frank", "Online", "just now").await;
    elsewhere.seen_at("frank", Utc::now() - TimeDelta::minutes(7)).unwrap();
    alices.shows("frank", "Offline", "7 minutes ago").await;
    // Goes offline by the clock, without anybody storing anything.
    elsewhere.seen_at("grace", Utc::now() - TimeDelta::seconds(296)).unwrap();
    alices.shows("grace", "Online", "4 minutes ago").await;
    alices.shows("grace", "Offline", "5 minutes ago").await;
    // Who is forgotten leaves: at once where the server logs that, else when the window is over.
    elsewhere.seen_at("heidi", Utc::now() - TimeDelta::seconds(294)).unwrap();
    alices.shows("heidi", "Online", "4 minutes ago").await;
    elsewhere.forget("heidi").unwrap();
    alices.lists(&["<b>bob</b>", "alice", "dave", "grace", "frank"]).await;

    // Signed out in one window, offline at once in the other.
    bobs.click("header form button").await;
    alices.shows("<b>bob</b>", "Offline", "5 minutes ago").await;

    // Without memcached the page answers in time, and says that it does not know.
    memcached.suspend();
    alices.shows("alice", "Unknown", "was online at ").await;
    alices.says("#indicator", "memcached is down since …").await;
    let started = std::time::Instant::now();
    bobs.open(&site.url("/")).await;
    assert!(started.elapsed() < secs(5), "{:?}", started.elapsed());
    bobs.shows("alice", "Unknown", "was online at ").await;
    // A sign-in is one all the same, and says that nobody else will know.
    bobs.sign_in("bob").await;
    bobs.says(".notice", "Signed in, but not recorded: memcached did not answer.").await;
    memcached.resume();
    eventually(|| elsewhere.seen("alice").ok());
    alices.shows("alice", "Online", "just now").await;
    alices.says("#indicator", "Live…").await;

    for window in [&alices, &bobs] {
        assert_eq!(window.console_errors().await, [""; 0]);
    }
    alices.close().await;
    bobs.close().await;
}

#[test]
fn two_hundred_open_pages_leave_no_descriptor_behind() {
    let memcached = Memcached::start();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    assert!(site.get("/").contains("<h1>Who is online</h1>"));
    // When she is shown, the connection of the first list is closed.
    memcached.tracker().seen("alice").unwrap();
    eventually(|| site.get("/state").contains("\"user\":\"alice\"").then_some(()));
    let before = site.descriptors();
    let streams: Vec<_> = (0..200).map(|_| site.events_as("")).collect();
    // A load of requests beside them, and an event that all of them get.
    for n in 0..500 {
        assert!(site.get("/state").contains("\"snapshot\""), "request {n}");
    }
    memcached.tracker().seen("bob").unwrap();
    for stream in &streams {
        stream.wait_for("\"user\":\"bob\"");
    }
    assert!(site.descriptors() > 200, "{before}, {}", site.descriptors());
    for stream in &streams {
        stream.0.shutdown(Shutdown::Both).unwrap();
    }
    drop(streams);
    eventually(|| (site.descriptors() <= before + 2).then_some(()));
}

#[test]
fn what_is_typed_is_checked_and_a_post_from_elsewhere_is_refused() {
    let site = Site::start(&[]);
    let refused = site.post("/sign-in", "user=eve", &["Sec-Fetch-Site: cross-site"]);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let refused = site.post("/sign-in", "user=eve", &["Origin: http://evil.example"]);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let refused = site.post("/sign-out", "", &["Cookie: user=eve", "Origin: http://evil.example"]);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let refused = site.post("/sign-in", "user=Alice+Smith", &[]);
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.contains("contains a space at byte 5; pass the user"), "{refused}");

    let taken = site.post("/sign-in", "user=%3Cb%3Ealice%3C%2Fb%3E", &["Sec-Fetch-Site: same-origin"]);
    assert!(taken.starts_with("HTTP/1.1 303 "), "{taken}");
    assert!(taken.to_lowercase().contains("httponly; samesite=lax"), "{taken}");

    // Readable without scripts, and nothing in it that is markup of a user's.
    let page = eventually(|| Some(site.get("/")).filter(|page| page.contains("just now")));
    assert!(page.contains("<span>&#60;b&#62;alice&#60;/b&#62;</span>"), "{page}");
    assert!(!page.contains("<b>alice"), "{page}");
    assert!(page.to_lowercase().contains("cache-control: no-store"), "{page}");
    let refused = site.get("/?sort=size");
    assert!(
        refused.starts_with("HTTP/1.1 400 ") && refused.contains("sort: unknown variant `size`"),
        "{refused}"
    );
    let policy = "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self';";
    assert!(page.to_lowercase().contains(policy), "{page}");
    assert!(!page.contains("<script>") && !page.contains("style="), "{page}");
    // Events are not held back by a proxy that can be asked not to.
    site.events_as("").wait_for("x-accel-buffering: no");
}

#[test]
fn a_page_that_polls_is_nobodys_activity() {
    let memcached = Memcached::start();
    let site =
        Site::start(&[("LAST_SEEN_SERVERS", &memcached.address()), ("LAST_SEEN_FLUSH_INTERVAL", "50ms")]);
    let tracker = memcached.tracker();
    for path in ["/state", "/health", "/site.js"] {
        site.get_as(path, "alice");
    }
    let stream = site.events_as("alice");
    stream.wait_for("data:");
    // What was noted before bob is written with him at the latest.
    site.get_as("/", "bob");
    eventually(|| tracker.online("bob").unwrap().then_some(()));
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
}
