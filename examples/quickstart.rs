//! The whole story: in this process, or with `LAST_SEEN_SERVERS=127.0.0.1:11211` on memcached.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use last_seen::{Settings, Tracker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Settings::from_env()?,
        None => Settings::default().with_servers(["memory:"]),
    };
    // A prefix of its own: on a shared memcached these are not the site's users.
    let tracker = Tracker::new(settings.with_key_prefix("quickstart_seen_"))?;
    println!("records are kept in {}\n", tracker.settings().servers().join(", "));
    let told = story(&tracker);
    // Nothing stays behind, also if a server failed in the middle of it.
    for user in ["alice", "bob", "carol"] {
        tracker.forget(user)?;
    }
    told
}

fn story(tracker: &Tracker) -> Result<(), Box<dyn std::error::Error>> {
    // Request code: one line.
    tracker.seen("alice")?;
    if let Some(at) = tracker.last_seen("alice")? {
        println!("alice was last seen at {at}");
    }
    println!("alice is online: {}\n", tracker.online("alice")?);

    // A page of users, in one round trip.
    tracker.seen_at("bob", Utc::now() - TimeDelta::minutes(42))?;
    tracker.forget("carol")?;
    page(tracker, &["alice", "bob", "carol", "Dave Smith"]);

    // Sign-out ends "online" at once and keeps last seen.
    tracker.sign_out("alice")?;
    println!("alice signs out");
    page(tracker, &["alice"]);

    // Settings come from any format that serde knows; examples/last-seen.toml has them all.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/last-seen.toml");
    let settings: Settings = toml::from_str(&std::fs::read_to_string(file)?)?;
    let strict = settings.with_servers(["memory:"]).with_online_timeout(Duration::from_secs(60));
    let strict = Tracker::new(strict)?;
    strict.seen_at("bob", Utc::now() - TimeDelta::seconds(90))?;
    println!("with a window of one minute, a user seen 90 seconds ago");
    page(&strict, &["bob"]);
    Ok(())
}

fn page(tracker: &Tracker, users: &[&str]) {
    println!("{:<12} {:<16} online", "user", "last seen");
    for (user, presence) in users.iter().zip(tracker.presences(users)) {
        match presence {
            Ok(presence) => println!("{user:<12} {:<16} {}", presence.ago(), presence.online),
            Err(error) => println!("{user:<12} {:<16} {error}", "unknown"),
        }
    }
    println!();
}
