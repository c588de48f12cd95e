//! What is asked of the page: names, filters, order, more of it, and the plot's values.

use std::fmt::Write;

use chrono::{TimeDelta, Utc};
use last_seen_tests::{Folder, Memcached};

use crate::{site::Site, window::Driver};

/// In the order of the page: three who are online, and one who is not.
const USERS: [&str; 4] = ["Alina", "bob", "malice", "zoë"];

fn site_of(memcached: &Memcached) -> Site {
    let tracker = memcached.tracker();
    for (minutes, user) in USERS.iter().enumerate() {
        tracker.seen_at(user, Utc::now() - TimeDelta::minutes(minutes as i64)).unwrap();
    }
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    last_seen_tests::eventually(|| site.get("/state").contains("\"all\":4").then_some(()));
    tracker.sign_out("zoë").unwrap();
    last_seen_tests::eventually(|| site.get("/state").contains("\"offline\":1").then_some(()));
    site
}

#[tokio::test]
async fn search_filter_and_order_are_in_the_address() {
    let memcached = Memcached::start();
    let site = site_of(&memcached);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.lists(&USERS).await;
    window.says("#count-all", "4").await;
    window.says("#count-online", "3").await;
    window.says("#count-offline", "1").await;

    // As it is typed, in either case.
    window.press("/").await;
    window.press("ALI").await;
    window.lists(&["Alina", "malice"]).await;
    assert_eq!(window.path().await, "/?q=ALI");
    window.click("[data-column=user] a").await;
    window.click("[data-column=user] a").await;
    window.lists(&["malice", "Alina"]).await;
    assert_eq!(window.path().await, "/?q=ALI&sort=-user");
    let sorted = "return document.querySelector('[data-column=user]').ariaSort";
    window.until("descending", sorted, |sorted| sorted == "descending").await;
    window.reload().await;
    window.lists(&["malice", "Alina"]).await;
    window.press("/").await;
    window.press("\u{e00c}").await;
    window.lists(&["zoë", "malice", "bob", "Alina"]).await;

    window.click("label:has([value=offline])").await;
    window.lists(&["zoë"]).await;
    assert_eq!(window.path().await, "/?show=offline&sort=-user");
    window.click("label:has([value=online])").await;
    window.click("[data-column=seen] a").await;
    window.lists(&["Alina", "bob", "malice"]).await;
    window.click("[data-column=seen] a").await;
    window.lists(&["malice", "bob", "Alina"]).await;
    assert_eq!(window.path().await, "/?show=online&sort=seen");
    // On a phone.
    window.look(375, 700, "light").await;
    window.click("#sort option[value=user]").await;
    window.lists(&["Alina", "bob", "malice"]).await;

    window.click("#theme").await;
    window.click("#theme").await;
    window.reload().await;
    window.says("#theme", "Theme: dark").await;
    let scheme = "return getComputedStyle(document.documentElement).colorScheme";
    window.until("dark", scheme, |scheme| scheme == "dark").await;
    // On paper nothing can be asked, and nothing moves: a table, and when it was true.
    window.print().await;
    window.wait_until_visible(".as-of", true).await;
    window.wait_until_visible("#filter", false).await;
    window.wait_until_visible("#indicator", false).await;
    assert_eq!(window.console_errors().await, [""; 0]);
    window.close().await;
}

#[tokio::test]
async fn the_same_without_scripts() {
    let memcached = Memcached::start();
    let site = site_of(&memcached);
    let driver = Driver::start();
    let window = driver.window_without_scripts().await;
    window.open(&site.url("/?sort=-user")).await;
    assert_eq!(window.texts_of("tbody bdi").await, ["zoë", "malice", "bob", "Alina"]);
    // What was true once is not live.
    assert!(window.text_of("#indicator").await.starts_with("As of "));
    window.click("#q").await;
    window.press("ali").await;
    window.click("label:has([value=online])").await;
    window.click(".apply").await;
    window.wait_until_path("/?q=ali&show=online&sort=-user").await;
    assert_eq!(window.texts_of("tbody bdi").await, ["malice", "Alina"]);
    window.click("[data-column=user] a").await;
    window.wait_until_path("/?q=ali&show=online&sort=user").await;
    assert_eq!(window.texts_of("tbody bdi").await, ["Alina", "malice"]);
    window.close().await;
}

#[tokio::test]
async fn the_plot_is_read_by_pointer_and_by_keys() {
    let folder = Folder::create();
    let now = Utc::now().timestamp() / 10 * 10;
    let mut text = String::new();
    // An hour with a gap: 100 at its beginning, 52 at its end.
    for at in (now - 3_590..=now).step_by(10).filter(|at| !(now - 1_800..now - 1_500).contains(at)) {
        let count = if at < now - 1_700 { 100 } else { 52 };
        writeln!(text, "{at} {count}").unwrap();
    }
    let site = Site::start(&[("SITE_HISTORY", &folder.write("history", &text))]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.wait_until_visible("#plot", true).await;
    window.says("#peak", "100").await;
    window.says("#span", "hour").await;
    window.wait_until_visible("#legend", true).await;
    let marks =
        "return Array.from(document.querySelectorAll('#marks li'), mark => mark.textContent).join(' ')";
    window.until("round numbers", marks, |marks| marks == "150 100 50 0").await;
    // Two pieces, and a hatched gap between them.
    let pieces =
        "return [line, band].map(id => document.getElementById(id).getAttribute('d').split('h0').length)"
            .replace("[line, band]", "['line', 'band']");
    window.until("a gap", &pieces, |pieces| pieces[0].as_u64() >= Some(3)).await;

    window.point_at("#grid", 0.1).await;
    window.says("#readout", "100 at …").await;
    window.point_at("#grid", 0.9).await;
    window.says("#readout", "52 at …").await;
    window.point_at("h1", 0.5).await;
    window.run("document.getElementById('grid').focus()").await;
    window.press("\u{e011}").await;
    window.says("#readout", "100 at …").await;
    let said = "return document.getElementById('grid').ariaValueText";
    window.until("100", said, |said| said.as_str().unwrap().starts_with("100 at ")).await;
    // Page up goes five minutes on: over the gap in seven.
    for _ in 0..7 {
        window.press("\u{e00e}").await;
    }
    window.says("#readout", "52 at …").await;
    window.close().await;
}

#[tokio::test]
async fn five_thousand_users_are_fifty_rows() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let now = Utc::now();
    let users = (0..5_000).map(|user| (format!("user{user:04}"), now - TimeDelta::seconds(user / 50)));
    let summary = tracker.restore(users);
    assert_eq!(summary.written, 5_000, "{summary:?}");
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#online", "5000").await;
    window.says("#shown", "Showing 1 to 50 of 5000").await;
    assert_eq!(window.count_of("#users tr").await, 50);
    window.click("#more").await;
    window.says("#shown", "Showing 1 to 100 of 5000").await;
    assert_eq!(window.path().await, "/?limit=100");
    window.press("/").await;
    window.press("user4321").await;
    window.lists(&["user4321"]).await;
    // Of so many each is followed.
    tracker.sign_out("user4321").unwrap();
    window.shows("user4321", "Offline", "5 minutes ago").await;
    window.says("#online", "4999").await;
    window.close().await;
}
