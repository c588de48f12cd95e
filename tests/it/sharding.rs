//! Several servers, as one.

use std::collections::BTreeMap;

use chrono::Utc;
use last_seen::{Error, Settings, Sharding, Tracker};

use last_seen_tests::{Memcached, ms, secs, within};

const ALL: [Sharding; 6] = [
    Sharding::Ketama,
    Sharding::Pymemcache,
    Sharding::Libmemcached,
    Sharding::PythonMemcached,
    Sharding::Dalli,
    Sharding::Gomemcache,
];

fn settings(servers: &[Memcached]) -> Settings {
    Settings::default().with_servers(servers.iter().map(Memcached::address))
}

fn three() -> [Memcached; 3] {
    std::array::from_fn(|_| Memcached::start())
}

#[test]
fn every_user_is_on_the_server_that_inspect_names_and_on_no_other() {
    for sharding in ALL {
        let servers = three();
        // What times out on a busy machine would fail.
        let settings = settings(&servers).with_server_timeout(secs(5));
        let tracker = Tracker::new(settings.with_sharding(sharding)).unwrap();
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..60 {
            tracker.seen(n).unwrap();
            *counted.entry(tracker.inspect(n).unwrap().server).or_default() += 1;
        }
        assert_eq!(counted.len(), 3, "{sharding}");
        for server in &servers {
            assert_eq!(server.stat("curr_items"), counted[&server.address()], "{sharding}");
        }
    }
}

#[test]
fn a_page_asks_each_server_once_and_keeps_the_order() {
    let servers = three();
    let tracker = Tracker::new(settings(&servers)).unwrap();
    let now = Utc::now();
    let restored = tracker.restore((0..300).map(|n| (n, now - chrono::TimeDelta::seconds(n))));
    assert_eq!(restored.written, 300);
    let connections = servers.iter().map(|server| server.stat("total_connections")).collect::<Vec<_>>();
    let page = tracker.presences((0..300).rev());
    for (n, presence) in (0..300).rev().zip(page) {
        let seen = presence.unwrap().last_seen.unwrap();
        assert_eq!(seen.timestamp(), now.timestamp() - n);
    }
    for (server, before) in servers.iter().zip(connections) {
        // The one that asks.
        assert_eq!(server.stat("total_connections"), before + 1);
    }
}

#[test]
fn a_lost_server_costs_only_its_own_users() {
    let mut servers = three();
    let tracker = Tracker::new(settings(&servers)).unwrap();
    let users: Vec<String> = (0..300).map(|n| format!("user{n}")).collect();
    let held: Vec<String> = users.iter().map(|user| tracker.inspect(user).unwrap().server).collect();
    let before = Utc::now();
    for user in &users {
        tracker.seen(user).unwrap();
    }
    let lost = servers[1].address();
    servers[1].kill();
    let page = within(ms(150), || tracker.presences(&users));
    for (server, presence) in held.iter().zip(page) {
        match presence {
            Ok(presence) => assert!(presence.online && *server != lost),
            Err(Error::Unavailable { server: named, .. }) => assert!(named == *server && named == lost),
            Err(other) => panic!("{other:?}"),
        }
    }
    let told: Vec<bool> = tracker.server_status().iter().map(|server| server.info.is_ok()).collect();
    assert_eq!(told, [true, false, true]);
    let restored = tracker.restore(users.iter().map(|user| (user, before)));
    let on_lost = held.iter().filter(|server| **server == lost).count();
    assert_eq!((restored.written, restored.skipped, restored.failed), (0, 300 - on_lost, on_lost));
}

#[test]
fn a_weight_gives_a_server_its_share() {
    // The shares depend on the names, so they are fixed ones. Nothing is sent.
    for sharding in [Sharding::Ketama, Sharding::Dalli] {
        let settings = Settings::default().with_servers(["cache1,cache2?weight=2,cache3?weight=5"]);
        let tracker = Tracker::new(settings.with_sharding(sharding)).unwrap();
        let mut shares: BTreeMap<String, i64> = BTreeMap::new();
        for user in 0..8_000 {
            *shares.entry(tracker.preview(user, Utc::now()).unwrap().server).or_default() += 1;
        }
        let near = |server: &str, expected: i64| (shares[server] - expected).abs() < 500;
        let all = near("cache1:11211", 1_000) && near("cache2:11211", 2_000) && near("cache3:11211", 5_000);
        assert!(all, "{sharding}: {shares:?}");
    }
}
