//! Keeps last seen in SQL too: memcached forgets when it is restarted, a database does not.
//!
//! The recorder's hook copies what was written; when the cache has been emptied, `restore` brings it back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use last_seen::{Recorder, RecorderEvent, Result, Settings, Tracker};
use rusqlite::{Connection, params};

const USERS: usize = 1_000;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let settings = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Settings::from_env()?,
        None => Settings::default().with_servers(["memory:"]),
    };
    // Prefixes of its own: what it forgets below is nobody else's.
    let settings = settings.with_key_prefix("durable_example_");
    let path = std::env::temp_dir().join(format!("last-seen-durable-{}.sqlite", std::process::id()));
    let database = Connection::open(&path)?;
    database.execute("CREATE TABLE seen (user TEXT PRIMARY KEY, at INTEGER NOT NULL)", [])?;

    // The site: a thousand users come, one signs out, one wants to be forgotten.
    let mut tracker = Tracker::new(settings.clone())?;
    let copy = Connection::open(&path)?;
    let recorder = Recorder::with_hook(tracker.clone(), move |events| {
        if let Err(error) = keep(&copy, events) {
            eprintln!("not kept: {error}");
        }
    });
    let users: Vec<String> = (0..USERS).map(|n| format!("user{n}")).chain(names()).collect();
    users.iter().for_each(|user| recorder.seen(user));
    recorder.flush()?;
    tracker.sign_out("bob")?;
    tracker.forget("carol")?;
    recorder.close()?; // the hook has had everything when this returns
    let before = look(&tracker, &users)?;
    println!("before");
    show(&tracker)?;

    // memcached is restarted: here, a tracker with another prefix finds nothing either.
    let gone = std::mem::replace(&mut tracker, Tracker::new(settings.with_key_prefix("durable_restarted_"))?);
    println!("the cache has been emptied");
    show(&tracker)?;
    assert!(look(&tracker, &users)?.values().all(Option::is_none), "the cache is empty");

    // Back from the copy. Who made a request meanwhile has a newer record, and keeps it.
    let restored = tracker.restore(kept(&database)?);
    println!("restored from SQLite: {restored:?}");
    show(&tracker)?;
    assert_eq!((restored.written, restored.failed), (users.len() - 1, 0), "all but carol");
    assert_eq!(look(&tracker, &users)?, before, "nobody is lost, and carol does not come back");
    assert!(!tracker.online("bob")?, "who signed out is offline");

    for user in &users {
        gone.forget(user)?;
        tracker.forget(user)?;
    }
    std::fs::remove_file(path)?;
    Ok(())
}

/// The hook: what was written, and what was done beside it, in the order of each user's calls.
fn keep(database: &Connection, events: &[RecorderEvent]) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    for event in events {
        match event {
            RecorderEvent::Seen { user, at } => transaction
                .prepare_cached(
                    "INSERT INTO seen VALUES (?1, ?2) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
                )?
                .execute(params![user, at.timestamp()])?,
            RecorderEvent::SignedOut { user, last_seen, .. } => transaction
                .prepare_cached("UPDATE seen SET at = min(at, ?2) WHERE user = ?1")?
                .execute(params![user, last_seen.timestamp()])?,
            RecorderEvent::Forgotten { user, .. } => {
                transaction.prepare_cached("DELETE FROM seen WHERE user = ?1")?.execute([user])?
            }
            _ => 0,
        };
    }
    transaction.commit()
}

/// The copy, for [`Tracker::restore`].
fn kept(database: &Connection) -> rusqlite::Result<Vec<(String, DateTime<Utc>)>> {
    let mut rows = database.prepare("SELECT user, at FROM seen")?;
    let row = |row: &rusqlite::Row<'_>| {
        let at = DateTime::from_timestamp(row.get(1)?, 0).unwrap_or_default();
        Ok((row.get(0)?, at))
    };
    rows.query_map([], row)?.collect()
}

fn names() -> impl Iterator<Item = String> {
    ["alice", "bob", "carol"].into_iter().map(str::to_owned)
}

/// When each was last seen, as the cache has it.
fn look(tracker: &Tracker, users: &[String]) -> Result<BTreeMap<String, Option<DateTime<Utc>>>> {
    let presences = tracker.presences(users);
    users.iter().zip(presences).map(|(user, presence)| Ok((user.clone(), presence?.last_seen))).collect()
}

fn show(tracker: &Tracker) -> Result<()> {
    for (user, presence) in names().zip(tracker.presences(names())) {
        let presence = presence?;
        println!("  {user:<6} online {:<5} last seen {}", presence.online, presence.ago());
    }
    println!();
    Ok(())
}
