//! The pictures of the README. With `LAST_SEEN_PICTURES=docs/pictures` they are made again.

use std::{fmt::Write, path::PathBuf};

use chrono::{TimeDelta, Utc};
use last_seen_tests::{Folder, Memcached};

use crate::{
    site::Site,
    window::{Driver, Window},
};

const USERS: &str = "alice amelie.durand arjun.patel björn.lindqvist bob carla.rossi chen.wei chloe.martin dana.cohen \
    diego.fernandez elif.yilmaz emma.jensen fatima.zahra grace.okafor hana.suzuki ines.silva ivan.petrov jack.murphy \
    kofi.mensah lars.hansen layla.haddad lucia.garcia maximiliane.von-hohenstein@example.com mei.tanaka noah.schmidt \
    olivia.brown omar.farouk priya.sharma quentin.leroy rosa.alvarez sofia.lombardi thabo.nkosi tomas.novak \
    ursula.weber victor.popescu wanjiru.kamau yara.nasser yuki.mori zainab.bello zoe.walsh";

/// How many were online, each ten seconds of so many, up to now; a day's rise and fall, and a gap.
fn samples(seconds: i64, gap: std::ops::Range<i64>) -> String {
    let now = Utc::now().timestamp() / 10 * 10;
    let mut text = String::new();
    for ago in (0..seconds).rev().step_by(10).filter(|ago| !gap.contains(ago)) {
        let wave = |period: f64| (ago as f64 / period).sin();
        let count = 37.0 + 6.0 * wave(700.0) + 3.0 * wave(190.0) + 1.2 * wave(47.0) - ago as f64 / 300.0;
        writeln!(text, "{} {}", now - ago, count.round()).unwrap();
    }
    text
}

fn site_with(history: &str, folder: &Folder, memcached: &Memcached) -> Site {
    let tracker = memcached.tracker();
    for (place, user) in USERS.split_whitespace().enumerate() {
        // In the last minutes, in no order.
        let ago = 290.0 * ((place * 29 % 40) as f64 / 40.0).sqrt();
        tracker.seen_at(user, Utc::now() - TimeDelta::seconds(ago as i64)).unwrap();
    }
    let file = folder.write("history", history);
    let variables = [("LAST_SEEN_SERVERS", &*memcached.address()), ("SITE_HISTORY", &file)];
    let site = Site::start(&variables);
    last_seen_tests::eventually(|| site.get("/state").contains("\"online\":40,").then_some(()));
    for (user, minutes) in [("chen.wei", 7), ("ivan.petrov", 55), ("ursula.weber", 190)] {
        tracker.seen_at(user, Utc::now() - TimeDelta::minutes(minutes)).unwrap();
    }
    site
}

async fn take(window: &Window, name: &str, width: u32, height: u32, scheme: &str) {
    window.look(width, height, scheme).await;
    // Nothing is cut off on a phone.
    assert!(window.fits().await, "{name}");
    let picture = window.picture().await;
    assert!((5_000..150_000).contains(&picture.len()), "{name}: {} bytes", picture.len());
    let made_by_a_test = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = std::env::var_os("LAST_SEEN_PICTURES").map_or(made_by_a_test, |folder| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder)
    });
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name).with_extension("png"), picture).unwrap();
}

#[tokio::test]
async fn pictures_of_a_site_with_forty_users() {
    let (memcached, folder) = (Memcached::start(), Folder::create());
    let site = site_with(&samples(3_610, 1_200..1_560), &folder, &memcached);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.sign_in("zoe.walsh").await;
    window.says("#indicator", "Live").await;
    window.says("#online", "37").await;
    window.says("#users bdi", "zoe.walsh").await;
    take(&window, "site-wide-light", 1080, 880, "light").await;
    take(&window, "site-narrow-dark", 390, 844, "dark").await;
    window.close().await;
}

#[tokio::test]
async fn a_picture_of_an_outage() {
    let (mut memcached, folder) = (Memcached::start(), Folder::create());
    let site = site_with(&samples(720, 0..0), &folder, &memcached);
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&site.url("/")).await;
    window.says("#online", "37").await;
    memcached.kill();
    window.says("#readout", "unknown at …").await;
    take(&window, "site-outage", 1080, 800, "light").await;
    window.close().await;
}
