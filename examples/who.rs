//! A roster of who is online, live. In this process, with visitors of its own; or with
//! `LAST_SEEN_SERVERS=127.0.0.1:11211` on memcached, for everyone whose record is there.
//!
//! Ends after as many seconds as its argument says, 10 if there is none, or with Ctrl-C.

use std::{
    thread,
    time::{Duration, Instant},
};

use chrono::Local;
use last_seen::{Change, Roster, Tracker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |argument| argument.parse())?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    if tracker.settings().servers() == ["memory:"] {
        let site = tracker.clone();
        thread::spawn(move || visitors(&site));
    }
    println!("following {} for {seconds} s", tracker.settings().servers().join(", "));

    let (mut watch, mut roster) = (tracker.watch()?, Roster::default());
    while let Some(change) = watch.next_timeout(end.saturating_duration_since(Instant::now())) {
        roster.apply(&change);
        // A name from outside goes escaped to the terminal.
        let what = match &change {
            Change::Online { user, .. } => format!("{user:?} comes"),
            Change::Offline { user, reason, .. } => format!("{user:?} goes: {reason:?}"),
            Change::Unreadable { error, .. } => error.to_string(),
            Change::ServerDown { error, .. } => error.to_string(),
            Change::ServerUp { server, down_for, .. } => format!("{server} is back after {down_for:.0?}"),
            Change::Missed { updates, .. } => format!("at most {updates} updates were missed"),
            Change::Ready { .. } => "that is everyone for now".to_owned(),
            _ => continue,
        };
        let unknown = if roster.is_complete() { "" } else { ", the others unknown" };
        println!("{} {} online{unknown}; {what}", Local::now().format("%H:%M:%S"), roster.online());
    }
    Ok(())
}

/// What a site's request code does.
fn visitors(site: &Tracker) {
    for (turn, user) in ["alice", "bob", "carol", "josé", "王芳"].iter().cycle().enumerate() {
        let recorded = if turn % 7 == 3 { site.sign_out(user).map(drop) } else { site.seen(user) };
        recorded.unwrap_or_else(|error| eprintln!("not recorded: {error}"));
        thread::sleep(Duration::from_millis(300));
    }
}
