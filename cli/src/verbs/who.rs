//! `who`: everyone who is online.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use last_seen::{OnlineUsers, Presence, Result, Tracker};

use crate::{
    Answer, DONE, FAILED, json, out,
    out::Out,
    table::{self, Table},
    text,
};

pub(crate) fn who(tracker: &Tracker, json: bool, out: &mut Out) -> Answer {
    let OnlineUsers { users: online, unreadable, unreadable_count, unavailable, .. } = list(tracker)?;
    let code = if unavailable.is_empty() { DONE } else { FAILED };
    unavailable.iter().for_each(|error| out.complain(&text::chain(error)));
    let (now, window) = (Utc::now(), tracker.settings().online_timeout());
    let presence = |at: DateTime<Utc>| Presence::at(Some(at), now, window);
    if json {
        for user in &online {
            json::presence(out, &user.user, &Ok(presence(user.last_seen)));
        }
        for (user, error) in unreadable {
            json::presence(out, &user, &Err(error));
        }
        return Ok(code);
    }
    if unreadable_count > 0 {
        out.complain(&format!("{unreadable_count} records under the prefix cannot be read"));
    }
    if !online.is_empty() {
        let [user, last_seen, ago, _] = table::PRESENCE;
        let mut table = Table::new(&[user, last_seen, ago]);
        for user in &online {
            let [user, last_seen, ago, _] = table::presence(&user.user, Some(&presence(user.last_seen)));
            table.row([user, last_seen, ago]);
        }
        table.print(out);
    }
    // With a server missing it is a lower bound.
    if code == DONE || !online.is_empty() {
        out.line(&count(online.len()));
    }
    Ok(code)
}

pub(crate) fn count(online: usize) -> String {
    match online {
        0 => "nobody is online".to_owned(),
        1 => "1 user is online".to_owned(),
        online => format!("{online} users are online"),
    }
}

/// A large server takes seconds: on a terminal, says so meanwhile.
const QUIET: Duration = Duration::from_millis(400);

fn list(tracker: &Tracker) -> Result<OnlineUsers> {
    if !io::stderr().is_terminal() || out::dumb() {
        return tracker.online_users();
    }
    let (sender, list) = mpsc::channel();
    let asked = tracker.clone();
    let started = Instant::now();
    thread::spawn(move || sender.send(asked.online_users()));
    let mut stderr = io::stderr();
    let mut wait = QUIET;
    loop {
        let answer = list.recv_timeout(wait);
        if wait < QUIET {
            let _ = write!(stderr, "\r\x1b[K");
        }
        match answer {
            Ok(answer) => return answer,
            // It panicked, and has said so.
            Err(RecvTimeoutError::Disconnected) => return tracker.online_users(),
            Err(RecvTimeoutError::Timeout) => {
                let servers = tracker.settings().servers().join(",");
                let seconds = started.elapsed().as_secs_f32();
                let _ = write!(stderr, "listing what {servers} holds: {seconds:.1} s");
                let _ = stderr.flush();
                wait = Duration::from_millis(100);
            }
        }
    }
}
