//! Which server holds a key: this crate's rules against the real clients', key by key.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write},
    process::Command,
};

use chrono::TimeDelta;
use last_seen::{Settings, Sharding, Tracker};
use last_seen_tests::{Memcached, secs};

use crate::{
    program::{Program, cache, here, output},
    records::now,
    stacks::go,
};

/// What `placement/check.py` calls this program with, before a file of keys.
pub const FLAG: &str = "--placement";

/// The letter that every key begins with: a key is a prefix and a user.
const PREFIX: &str = "s";

/// Prints for each line `sharding<TAB>host port weight<TAB>..` of standard input where each of the keys lives.
pub fn print(keys: &str) -> Result<(), Box<dyn Error>> {
    let keys = std::fs::read_to_string(keys)?;
    let users: Vec<&str> = keys.lines().filter_map(|key| key.strip_prefix(PREFIX)).collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lines() {
        let line = line?;
        let (sharding, servers) = line.split_once('\t').ok_or("no servers")?;
        let servers = servers.split('\t').map(server).collect::<Option<Vec<_>>>().ok_or("no server")?;
        let texts = servers.iter().map(|(name, weight)| format!("{name}?weight={weight}"));
        let settings = Settings::default().with_key_prefix(PREFIX).with_sharding(sharding.parse()?);
        let tracker = Tracker::new(settings.with_servers(texts))?;
        let index: HashMap<_, _> = (0..).zip(&servers).map(|(nth, (name, _))| (name, nth)).collect();
        let mut places = Vec::with_capacity(users.len());
        for user in &users {
            let server = tracker.preview(user, chrono::DateTime::UNIX_EPOCH)?.server;
            places.push(usize::to_string(&index[&server]));
        }
        writeln!(out, "{}", places.join(" "))?;
    }
    Ok(())
}

/// `host port weight` as the settings name it, and the weight.
fn server(text: &str) -> Option<(String, &str)> {
    let [host, port, weight] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    let bare = host.contains(':') && !host.starts_with('[');
    Some((if bare { format!("[{host}]:{port}") } else { format!("{host}:{port}") }, weight))
}

/// Lists of 1 to 8 servers, in a soak of 1 to 30: names and addresses, ports, equal and mixed weights.
pub fn every_key_is_where_the_real_clients_put_it() {
    let most = if std::env::var_os("LAST_SEEN_SOAK").is_some() { "30" } else { "8" };
    let mut check = Command::new(cache().join("django32/bin/python"));
    check.arg(here().join("placement/check.py")).arg(std::env::current_exe().unwrap()).arg(FLAG);
    let gomemcache = go(&here().join("placement"), &["gomemcache_placement.go"]);
    println!("{}", output(check.env("MOST", most).env("GOMEMCACHE", &gomemcache.0)));
}

/// With three servers in `LOCATION`, each backend and what can be set of it.
pub fn djangos_caches_are_shared() {
    let ketama = r#"{"behaviors": {"ketama_weighted": true}}"#;
    for (django, backend, options, sharding) in [
        ("django52", "PyMemcacheCache", "{}", Sharding::Pymemcache),
        ("django32", "PyMemcacheCache", "{}", Sharding::Pymemcache),
        ("django52", "PyLibMCCache", "{}", Sharding::Libmemcached),
        ("django52", "PyLibMCCache", ketama, Sharding::Ketama),
        ("django32", "PyLibMCCache", ketama, Sharding::Ketama),
        ("django32", "MemcachedCache", "{}", Sharding::PythonMemcached),
    ] {
        let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
        let location = servers.iter().map(Memcached::address).collect::<Vec<_>>().join(",");
        let mut site = Command::new(cache().join(django).join("bin/python"));
        site.arg(here().join("django/last_seen.py")).env("DJANGO_SETTINGS_MODULE", "settings");
        site.env("BACKEND", backend).env("OPTIONS", options).env("MEMCACHE_SERVERS", &location);
        let mut site = Program::start(&mut site);
        let settings = Settings::default().with_servers([location]).with_sharding(sharding);
        let tracker = Tracker::new(settings.with_server_timeout(secs(5))).unwrap();
        let at = now() - TimeDelta::seconds(5);
        for user in 0..40 {
            site.tell(&format!("seen django{user} {}", at.timestamp()));
            assert_eq!(tracker.last_seen(format!("django{user}")).unwrap(), Some(at), "{backend} {options}");
            tracker.seen_at(format!("rust{user}"), at).unwrap();
            assert_eq!(
                site.ask(&format!("last_seen rust{user}")),
                at.timestamp().to_string(),
                "{backend} {options}"
            );
        }
        assert!(servers.iter().all(|server| server.stat("curr_items") > 0), "{backend} {options}");
    }
}
