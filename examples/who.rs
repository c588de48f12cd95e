//! A roster of who is online: listed once, then followed. In this process, with visitors of its own; or with
//! `LAST_SEEN_SERVERS=127.0.0.1:11211` on memcached, whoever writes there.
//!
//! Ends after as many seconds as its argument says, 10 if there is none, or with Ctrl-C.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Local, TimeDelta, Utc};
use last_seen::{Error, Presence, Tracker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(10), |argument| argument.parse())?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => {
            let tracker = Tracker::in_memory();
            let site = tracker.clone();
            thread::spawn(move || visitors(&site));
            tracker
        }
    };
    println!("following {} for {seconds} s", tracker.settings().servers().join(", "));

    // The feed first: who comes between the two is in it.
    let mut feed = tracker.watch()?;
    let window = TimeDelta::from_std(tracker.settings().online_timeout())?;
    let mut roster = Roster { online: tracker.online_users()?.into_iter().collect(), window };
    println!("{} {} online", time(), roster.online.len());
    for user in roster.online.keys() {
        println!("         {user:?}");
    }

    let mut list_again = None;
    while Instant::now() < end {
        match feed.next_timeout(Duration::from_millis(500)) {
            Some(Ok((user, presence))) => roster.note(&user, presence),
            // Something else is stored under such a key.
            Some(Err(Error::InvalidRecord { .. })) => {}
            // The feed goes on by itself. What was stored while the server was away is in the list.
            Some(Err(error)) => {
                println!("{} {error}", time());
                list_again = Some(Instant::now() + Duration::from_secs(3));
            }
            None => {}
        }
        roster.expire(Utc::now());
        if list_again.is_some_and(|at| at <= Instant::now()) {
            match tracker.online_users() {
                Ok(list) => {
                    roster.online.extend(list);
                    list_again = None;
                }
                Err(_) => list_again = Some(Instant::now() + Duration::from_secs(3)),
            }
        }
    }
    println!("{} {} online; at most {} stores were missed", time(), roster.online.len(), feed.missed());
    Ok(())
}

/// When whoever is online was last seen.
struct Roster {
    online: BTreeMap<String, DateTime<Utc>>,
    window: TimeDelta,
}

impl Roster {
    fn note(&mut self, user: &str, presence: Presence) {
        let before = match presence.last_seen.filter(|_| presence.online) {
            Some(at) => self.online.insert(user.to_owned(), at),
            None => self.online.remove(user),
        };
        // A name from outside goes escaped to the terminal.
        match (before, presence.online) {
            (None, true) => println!("{} {user:?} comes, {} online", time(), self.online.len()),
            (Some(_), false) => println!("{} {user:?} goes, {} online", time(), self.online.len()),
            _ => {}
        }
    }

    /// Whoever was not heard of for the whole window is offline. The feed does not tell.
    fn expire(&mut self, now: DateTime<Utc>) {
        self.online.retain(|user, at| {
            let online = now.timestamp() <= (*at + self.window).timestamp();
            if !online {
                println!("{} {user:?} was not seen any more", time());
            }
            online
        });
    }
}

fn time() -> impl std::fmt::Display {
    Local::now().format("%H:%M:%S")
}

/// What a site's request code does.
fn visitors(site: &Tracker) {
    const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "josé", "王芳"];
    for turn in 0.. {
        let user = NAMES[turn % NAMES.len()];
        let noted = if turn % 5 == 3 { site.sign_out(user).map(drop) } else { site.seen(user) };
        if let Err(error) = noted {
            eprintln!("not recorded: {error}");
        }
        thread::sleep(Duration::from_millis(300));
    }
}
