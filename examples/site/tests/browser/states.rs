//! What the page shows as true, and when.

use std::{
    io::{BufRead, BufReader, Write, copy},
    net::{Shutdown, TcpStream},
};

use last_seen_tests::{Fake, Fault, Folder, Memcached, Proxy, eventually, ms, secs};

use crate::{
    site::Site,
    window::{Driver, Window},
};

/// Nothing is wrong with the page for anybody, wide or narrow.
async fn is_accessible(window: &Window) {
    for (width, height) in [(1200, 800), (375, 700)] {
        window.look(width, height, "light").await;
        assert_eq!(window.faults().await, [""; 0], "{width}");
        assert!(window.fits().await, "{width}");
    }
    window.look(1200, 800, "light").await;
}

#[tokio::test]
async fn an_outage_turns_everything_unknown_and_keeps_what_was_known_with_its_time() {
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    ["alice", "bob"].iter().for_each(|user| tracker.seen(user).unwrap());
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#online", "2").await;
    window.says("#servers", "1 of 1 up").await;
    window.says("#note", "updated …").await;
    is_accessible(&window).await;
    let title = "return document.title + document.getElementById('icon').getAttribute('href')";
    window.until("the number", title, |title| title == "(2) Who is online/favicon.svg").await;

    memcached.kill();
    window.says("#indicator", "memcached is down since …").await;
    window.says("#online", "unknown").await;
    window.says("#online-note", "2 at …").await;
    window.says("#servers", "0 of 1 up").await;
    let note = window.text_of("#servers-note").await;
    assert!(!note.is_empty() && !note.contains("memcached at"), "{note}");
    window.says("#count-unknown", "2").await;
    window.says("#count-online", "?").await;
    window.click("label:has([value=online])").await;
    window.says("#empty", "Nobody is known to be online. 2 are unknown.").await;
    window.click("label:has([value=all])").await;
    for user in ["alice", "bob"] {
        window.shows(user, "Unknown", "was online at ").await;
    }
    window.until("no number", title, |title| title == "(?) Who is online/favicon-unknown.svg").await;
    is_accessible(&window).await;
    // Anyone who opens the page now sees the same, also without scripts.
    let page = site.get("/");
    assert!(page.contains(r#"<dd id="online">unknown</dd>"#) && page.contains("was online at"), "{page}");
    assert!(!page.contains("class=\"online\"") && page.contains(r#"<b id="count-online">?</b>"#), "{page}");

    memcached.restart();
    window.says("#indicator", "Live · back after …").await;
    window.says("#online", "0").await;
    eventually(|| tracker.seen("alice").ok());
    window.shows("alice", "Online", "just now").await;
    window.says("#indicator", "Live").await;
    window.close().await;
}

#[tokio::test]
async fn one_of_two_servers_takes_only_its_users_along() {
    let (stays, mut goes) = (Memcached::start(), Memcached::start());
    let servers = format!("{},{}", stays.address(), goes.address());
    let tracker =
        last_seen::Tracker::new(stays.settings().with_servers([stays.address(), goes.address()])).unwrap();
    let users: Vec<String> = (0..20).map(|user| format!("user{user:02}")).collect();
    users.iter().for_each(|user| tracker.seen(user).unwrap());
    let (lost, kept): (Vec<&String>, Vec<&String>) =
        users.iter().partition(|user| goes.raw(format!("get seen_{user}")).starts_with("VALUE"));
    assert!(!lost.is_empty() && !kept.is_empty());
    let site = Site::start(&[("LAST_SEEN_SERVERS", &servers)]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#online", "20").await;
    window.says("#servers", "2 of 2 up").await;

    goes.kill();
    window.says("#indicator", "1 of 2 servers down since …").await;
    window.says("#online", &format!("≥ {}", kept.len())).await;
    window.says("#online-note", &format!("{} unknown", lost.len())).await;
    window.says("#count-online", &format!("≥ {}", kept.len())).await;
    window.says("#count-offline", "≥ 0").await;
    window.says("#servers-note", &format!("{}: …", goes.address())).await;
    assert!(!window.text_of("#servers-note").await.contains("memcached at"));
    for user in &lost {
        window.shows(user, "Unknown", "was online at ").await;
    }
    for user in &kept {
        window.shows(user, "Online", "just now").await;
    }
    is_accessible(&window).await;
    goes.restart();
    window.says("#indicator", "Live · back after …").await;
    window.says("#online", &kept.len().to_string()).await;
    window.close().await;
}

#[tokio::test]
async fn a_page_that_loses_the_site_says_so_and_comes_back() {
    let memcached = Memcached::start();
    memcached.tracker().seen("alice").unwrap();
    let variables = [("LAST_SEEN_SERVERS", &*memcached.address())];
    let mut site = Site::start(&variables);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "Live").await;
    window.says("#online", "1").await;
    // Gone, and silent: nothing tells the page that the site is suspended but that it hears nothing.
    for way in ["KILL", "STOP"] {
        site.signal(way);
        window.says("#indicator", "Reconnecting…").await;
        window.says("#note", "last update …").await;
        window.says("#online-note", "as of …").await;
        window.until("no number", "return document.title", |title| title == "(?) Who is online").await;
        is_accessible(&window).await;
        if way == "KILL" {
            // Retried at once, if the user likes.
            window.click("#act").await;
            window.says("#indicator", "Reconnecting…").await;
            site.restart(&variables);
        } else {
            site.signal("CONT");
        }
        window.says("#indicator", "Live").await;
        window.says("#online", "1").await;
    }
    window.close().await;
}

#[tokio::test]
async fn a_site_that_starts_in_an_outage_says_what_to_look_at() {
    let mut memcached = Memcached::start();
    memcached.kill();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "memcached is down since …").await;
    window.says("#online", "unknown").await;
    window.says("#online-note", "no complete count yet").await;
    window.says("#empty", "No server answers, and nobody is known. Is memcached running there?…").await;
    is_accessible(&window).await;
    memcached.restart();
    window.says("#indicator", "Live…").await;
    window.says("#empty", "Nobody has been seen yet. …").await;
    window.close().await;
}

#[tokio::test]
async fn what_a_server_has_answered_is_not_denied_because_another_never_did() {
    let (mut answers, mut never) = (Memcached::start(), Memcached::start());
    never.kill();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &format!("{},{}", answers.address(), never.address()))]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "1 of 2 servers down since …").await;
    window.says("#online", "≥ 0").await;
    answers.kill();
    window.says("#indicator", "all 2 servers are down since …").await;
    window.says("#online-note", "no complete count yet").await;
    window.says("#empty", "No server answers, and nobody is known. …").await;
    assert!(site.get("/").contains(r#"<dd id="online-note">no complete count yet</dd>"#));
    window.close().await;
}

#[tokio::test]
async fn after_lost_updates_a_count_is_no_lower_bound() {
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    // Its log says of bob and carol that it has lost updates.
    let target = memcached.address();
    let lossy = Fake::start(move |client| {
        let server = TcpStream::connect(&target).unwrap();
        let (mut asked, mut asks) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || drop((copy(&mut asked, &mut asks), asks.shutdown(Shutdown::Both))));
        for line in BufReader::new(server).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line);
            let is_lost =
                text.starts_with("ts=") && ["seen_bob ", "seen_carol "].iter().any(|key| text.contains(key));
            let line = if is_lost { b"skipped=17\r" } else { &*line };
            if (&client).write_all(&[line, b"\n"].concat()).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    });
    let site = Site::start(&[("LAST_SEEN_SERVERS", &lossy.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "Live").await;
    window.says("#online", "1").await;
    tracker.seen("bob").unwrap();
    window.says("#online", "about 1").await;
    window.says("#indicator", "Reading all users again…").await;
    window.says("#count-online", "about 1").await;
    is_accessible(&window).await;
    assert!(site.get("/").contains(r#"<dd id="online">about 1</dd>"#));
    window.says("#online", "2").await;
    window.says("#indicator", "Live").await;
    // The last count that was complete is from before the loss.
    tracker.seen("carol").unwrap();
    window.says("#online", "about 2").await;
    memcached.kill();
    window.says("#online-note", "2 at …").await;
    window.close().await;
}

#[tokio::test]
async fn while_the_servers_are_listed_for_the_first_time_nothing_is_shown_as_a_number() {
    let memcached = Memcached::start();
    memcached.tracker().seen("alice").unwrap();
    // A large server takes its time.
    let slow = Proxy::start(&memcached.address(), |_, _| Fault::Late(secs(1)));
    let site = Site::start(&[("LAST_SEEN_SERVERS", &slow.address()), ("LAST_SEEN_SERVER_TIMEOUT", "10s")]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "Loading…").await;
    assert_eq!(window.text_of("#online").await, "–");
    assert_eq!(window.count_of("[aria-busy=true] .bar").await, 5);
    is_accessible(&window).await;
    window.shows("alice", "Online", "").await;
    window.says("#indicator", "Live").await;
    assert_eq!(window.count_of("[aria-busy], .bar").await, 0);
    window.close().await;
}

#[tokio::test]
async fn a_first_start_says_what_to_do_next() {
    let site = Site::start(&[]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "Live · in memory: only this process").await;
    window.says("#servers", "this process").await;
    window
        .says("#empty", "Nobody has been seen yet. Sign in above; to see whom other programs record, start …")
        .await;
    is_accessible(&window).await;
    window.sign_in("alice").await;
    window.lists(&["alice"]).await;
    window.press("/").await;
    window.press("xyz").await;
    window.says("#empty", "No user matches “xyz”.").await;
    window.says("#online", "1").await;
    is_accessible(&window).await;
    window.click("#clear a").await;
    window.lists(&["alice"]).await;
    assert_eq!(window.path().await, "/");
    window.close().await;
}

#[tokio::test]
async fn rows_stand_still_under_the_pointer_and_what_is_paused_says_so() {
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.shows("alice", "Online", "just now").await;
    window.says("#indicator", "Live").await;

    window.point_at("#users", 0.2).await;
    window.says("#indicator", "Paused").await;
    tracker.seen("bob").unwrap();
    let changes = |note: &serde_json::Value| note.as_str().unwrap().ends_with(" · 1 change");
    window.until("a change", "return document.getElementById('note').textContent", changes).await;
    window.lists(&["alice"]).await;
    assert_eq!(window.text_of("#online").await, "1");
    is_accessible(&window).await;
    window.point_at("h1", 0.5).await;
    window.says("#online", "2").await;
    window.says("#indicator", "Live").await;

    window.click("#act").await;
    window.says("#indicator", "Paused").await;
    window.says("#act", "Resume").await;
    window.point_at("#users", 0.2).await;
    window.point_at("h1", 0.5).await;
    window.says("#indicator", "Paused").await;
    // What is not true any more does not stand still.
    memcached.kill();
    window.says("#indicator", "memcached is down since …").await;
    window.shows("alice", "Unknown", "was online at ").await;
    window.close().await;
}

#[tokio::test]
async fn a_paused_page_that_loses_the_site_shows_what_is_as_old_as_it_says() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let mut site = Site::start(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#indicator", "Live").await;
    window.lists(&["alice"]).await;
    window.click("#act").await;
    tracker.seen("adam").unwrap();
    let note = "return document.getElementById('note').textContent";
    window.until("a change", note, |note| note.as_str().unwrap().ends_with(" · 1 change")).await;
    // On paper too it is as old as what is shown.
    let paused = window.run("return document.getElementById('as-of').textContent").await;
    window.says("#note", &format!("at {} · 1 change", paused.as_str().unwrap())).await;
    window.lists(&["alice"]).await;
    site.kill();
    window.says("#indicator", "Reconnecting…").await;
    // With the time of the last update goes what it said.
    assert_eq!(window.text_of("#online").await, "2");
    window.lists(&["adam", "alice"]).await;
    window.close().await;
}

#[test]
fn the_plot_outlives_a_restart_of_the_site() {
    let folder = Folder::create();
    let file = folder.file("history");
    let now = chrono::Utc::now().timestamp() / 10 * 10;
    let lines = [(4_000, "9"), (300, "3"), (290, "?"), (280, "2+")];
    let text: String = lines.iter().map(|(ago, count)| format!("{} {count}\n", now - ago)).collect();
    std::fs::write(&file, text + "not a sample\n").unwrap();
    let site = Site::start(&[("SITE_HISTORY", &file)]);
    let wanted = format!("[[{},3,true],[{},null,true],[{},2,false]", now - 300, now - 290, now - 280);
    assert!(site.get("/state").contains(&wanted), "{}", site.get("/state"));
    let kept = format!("{} 3\n{} ?\n{} 2+\n", now - 300, now - 290, now - 280);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with(&kept));
    // What is counted from now on is added.
    let deadline = std::time::Instant::now() + secs(20);
    while std::fs::read_to_string(&file).unwrap().lines().count() < 4 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(ms(50));
    }
}
