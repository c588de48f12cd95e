//! `who`: everyone who is online.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use last_seen::{OnlineUser, OnlineUsers, Presence, Result, Tracker};

use super::servers;
use crate::{
    CommandResult, Exit,
    args::Sort,
    json,
    out::Out,
    users::{Known, Layout, Users},
    view, words,
};

/// On a terminal, shows progress if the listing takes longer than this.
const PROGRESS_DELAY: Duration = Duration::from_millis(400);

pub(crate) fn who(
    tracker: &Tracker,
    n: Option<usize>,
    sort: Sort,
    count: bool,
    out: &mut Out,
) -> CommandResult {
    let started = Instant::now();
    let listed = match list(tracker) {
        Ok(listed) => listed,
        Err(error) => {
            out.report_once(
                &error,
                ". Cannot list users. Is memcached running? If it is elsewhere, pass --servers HOST:PORT.",
            );
            return Ok(Exit::UNKNOWN);
        }
    };
    let took = started.elapsed();
    let OnlineUsers { mut users, unreadable, unreadable_count, unavailable, .. } = listed;
    // One reading of the clock for who is listed and for what is printed of them.
    let (now, window) = (Utc::now(), tracker.settings().online_timeout());
    users.retain(|user| presence(user, now, window).online);
    if sort == Sort::User {
        users.sort_unstable_by(|a, b| a.user.cmp(&b.user));
    }
    let (down, complete) = (unavailable.len(), unavailable.is_empty() && unreadable.is_empty());
    let listing = Listing { down, complete, servers: words::servers(tracker.settings()), took, now };
    let shown = &users[..n.unwrap_or(users.len()).min(users.len())];
    if count {
        out.line(&users.len().to_string());
    } else if out.json {
        shown.iter().for_each(|user| json::user(out, &user.user, &Ok(presence(user, now, window)), now));
        unavailable.iter().for_each(|error| json::down(out, error));
    } else if users.is_empty() && complete {
        let (all, time) = (listing.servers.len(), out.view.clock(now));
        out.remark(&format!("nobody is online ({all} of {all} servers answered, {time})"));
        if out.view.width.is_some() {
            out.remark("Record somebody with: last-seen seen alice");
        }
    } else {
        print(users.len(), shown, window, &listing, &unavailable, out);
    }
    for error in &unavailable {
        out.report_once(error, ". Its users are not listed.");
    }
    if let Some((first, _)) = unreadable.first() {
        let records = if unreadable_count == 1 { "record is" } else { "records are" };
        out.report(&format!(
            "{unreadable_count} {records} not a timestamp, and those users are unknown. Try: last-seen inspect {first}"
        ));
    }
    Ok(if complete { Exit::DONE } else { Exit::PARTIAL })
}

fn presence(user: &OnlineUser, now: DateTime<Utc>, window: Duration) -> Presence {
    Presence::at(Some(user.last_seen), now, window)
}

struct Listing {
    servers: Vec<String>,
    down: usize,
    /// Every server was listed, and every record could be read.
    complete: bool,
    took: Duration,
    now: DateTime<Utc>,
}

fn print(
    online: usize,
    shown: &[OnlineUser],
    window: Duration,
    listing: &Listing,
    unavailable: &[last_seen::Error],
    out: &mut Out,
) {
    if out.view.width.is_some() {
        let heading = heading(online, listing, unavailable, out);
        out.line(&heading);
        out.line("");
    }
    let mut table = Users::new(out.view, listing.now, false);
    for user in shown {
        table.add(&user.user, &Known::Is(presence(user, listing.now, window)));
    }
    if !shown.is_empty() {
        table.lines().iter().for_each(|line| out.line(line));
    }
    if out.view.width.is_some() && shown.len() < online {
        let more = format!("{} and {} more", out.view.glyph("…"), online - shown.len());
        out.line(&more);
    }
}

/// How many, when, and which servers answered.
fn heading(online: usize, listing: &Listing, unavailable: &[last_seen::Error], out: &Out) -> String {
    let (view, all) = (out.view, listing.servers.len());
    let (clock, dot) = (view.clock(listing.now), view.glyph("·"));
    let count =
        if listing.complete { format!("{online} online") } else { format!("at least {online} online") };
    let answered = format!("{count} {dot} {} of {all} servers", all - listing.down);
    let fits = |heading: &String| view.width.is_some_and(|columns| crate::text::width(heading) <= columns);
    if Layout::of(view) == Layout::Full {
        let state = |name: &String| {
            let down = unavailable.iter().any(|error| error.server() == Some(name));
            format!("{} {}", words::short(name), if down { "DOWN" } else { view.glyph("✓") })
        };
        let servers: Vec<String> = listing.servers.iter().map(state).collect();
        let mut heading = format!("{count} at {clock} {dot} {}", servers.join(" "));
        if listing.down == 0 {
            heading += &format!(" {dot} listed in {:.2} s", listing.took.as_secs_f64());
        }
        if fits(&heading) {
            return heading;
        }
    }
    let heading = format!("{answered} {dot} {clock}");
    let heading = if fits(&heading) { heading } else { answered };
    if fits(&heading) { heading } else { count }
}

fn list(tracker: &Tracker) -> Result<OnlineUsers> {
    if !io::stderr().is_terminal() || view::dumb() {
        return tracker.online_users();
    }
    let (sender, list) = mpsc::channel();
    let asked = tracker.clone();
    let started = Instant::now();
    thread::spawn(move || sender.send(asked.online_users()));
    let mut stderr = io::stderr();
    let mut wait = PROGRESS_DELAY;
    loop {
        let answer = list.recv_timeout(wait);
        if wait < PROGRESS_DELAY {
            let _ = write!(stderr, "\r\x1b[K");
        }
        match answer {
            Ok(answer) => return answer,
            // It panicked, and has said so.
            Err(RecvTimeoutError::Disconnected) => return tracker.online_users(),
            Err(RecvTimeoutError::Timeout) => {
                if wait == PROGRESS_DELAY {
                    warn_of_locks(tracker);
                }
                let seconds = started.elapsed().as_secs_f32();
                let _ = write!(stderr, "{}", progress(tracker, seconds));
                let _ = stderr.flush();
                wait = Duration::from_millis(100);
            }
        }
    }
}

fn progress(tracker: &Tracker, seconds: f32) -> String {
    let servers = words::servers(tracker.settings());
    match &servers[..] {
        [server] => format!("listing keys: {}  {seconds:.1}s", words::short(server)),
        servers => format!("listing keys: {} servers  {seconds:.1}s", servers.len()),
    }
}

/// While it lists, an old server holds its locks for a reader who has stopped.
fn warn_of_locks(tracker: &Tracker) {
    let asked = tracker.clone();
    thread::spawn(move || {
        for status in asked.server_status() {
            if let Some(warning) = status.info.as_ref().ok().and_then(servers::lock_warning) {
                crate::out::print_raw(&format!("\r\x1b[K{}  {warning}\n", words::short(&status.server)));
            }
        }
    });
}
