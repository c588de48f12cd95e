//! The first lines: how many are online, how the servers are, and what is wrong.

use chrono::{DateTime, Utc};
use last_seen::{Error, RosterServer};

use super::super::{followed::Followed, live::Ui};
use crate::{
    table::Style,
    text,
    users::Layout,
    view::{self, View},
    words,
};

/// The column of the servers in a wide header.
const SERVERS_AT: usize = 30;

/// How many, the servers, the time.
pub(super) fn line(followed: &Followed, ui: &Ui, view: View, now: DateTime<Utc>) -> String {
    let columns = view.width.unwrap_or_default();
    let clock = match &ui.paused {
        Some(_) => format!("paused {}", view.clock(now)),
        None => view.clock(now),
    };
    let (count, was) = (count(followed), was(followed, view, now));
    let line = match Layout::of(view) {
        Layout::Full => {
            let count = if was.is_empty() { count } else { format!("{count}   {was}") };
            let room =
                columns.saturating_sub(SERVERS_AT.max(text::width(&count) + 2) + text::width(&clock) + 2);
            let servers = [servers(followed, view, now), up(followed)];
            let servers =
                servers.into_iter().find(|servers| text::width(servers) <= room).unwrap_or_default();
            let gap = SERVERS_AT.saturating_sub(text::width(&count)).max(2);
            format!("{count}{:gap$}{servers}", "")
        }
        Layout::Short => {
            let dot = view.glyph("·");
            let state = match (&followed.servers(), followed.down().next()) {
                ([_], None) if !followed.is_ready() => view.glyph("…").to_owned(),
                (_, None) => view.glyph("✓").to_owned(),
                ([_], Some(down)) => format!("DOWN {}", since(&down, now).replace(' ', "")),
                _ => up(followed).replace(" of ", "/"),
            };
            let parts: Vec<String> =
                [count, was, state].into_iter().filter(|part| !part.is_empty()).collect();
            let whole = parts.join(&format!(" {dot} "));
            match text::width(&whole) + 1 + text::width(&clock) <= columns {
                true => whole,
                // The count, and how the servers are.
                false => [&parts[..1], &parts[parts.len() - 1..]].concat().join(&format!(" {dot} ")),
            }
        }
        _ => {
            let mut clock = view.clock(now);
            clock.truncate(5);
            let count = match count.strip_prefix("at least ") {
                Some(online) => online.replacen(' ', "+ ", 1),
                None => count.replace(", ", " ").replace("unknown", "?"),
            };
            return bold(&spread(&count, &clock, columns, view), followed, view);
        }
    };
    bold(&spread(&line, &clock, columns, view), followed, view)
}

fn bold(line: &str, followed: &Followed, view: View) -> String {
    let style = if followed.down().next().is_some() { Style::Warn } else { Style::Heading };
    style.paint(line, view)
}

/// One text on the left, one on the right.
fn spread(left: &str, right: &str, columns: usize, view: View) -> String {
    let room = columns.saturating_sub(text::width(right) + 1);
    let left = text::cut_end(left, room, view.glyph("…"));
    let gap = columns.saturating_sub(text::width(&left) + text::width(right));
    text::cut_end(&format!("{left}{:gap$}{right}", ""), columns, "")
}

/// How many are online, as far as that is known.
pub(in super::super) fn count(followed: &Followed) -> String {
    let (online, unknown) = (followed.online(), followed.unknown());
    let is_partial = followed.down().next().is_some();
    match () {
        () if followed.all_are_down() => "? online".to_owned(),
        () if !followed.is_ready() => format!("listing, {online} so far"),
        () if unknown > 0 => format!("{online} online, {unknown} unknown"),
        () if is_partial => format!("at least {online} online"),
        // Updates were lost, and it is read again.
        () if !followed.is_complete() => format!("about {online} online"),
        () => format!("{online} online"),
    }
}

/// How many were, the last time that it was known of all servers, in an outage of them all.
fn was(followed: &Followed, view: View, now: DateTime<Utc>) -> String {
    match followed.last_complete().filter(|_| followed.all_are_down()) {
        Some((online, at)) if Layout::of(view) == Layout::Full => {
            format!("was {online} at {}", view.time(at, now))
        }
        Some((online, _)) => format!("was {online}"),
        None => String::new(),
    }
}

fn servers(followed: &Followed, view: View, now: DateTime<Utc>) -> String {
    let names = followed.servers();
    let name = |name: &'_ String| if names.len() > 1 { words::short(name).to_owned() } else { name.clone() };
    let state = |server: &String| match followed.is_down(server) {
        Some(_) if !followed.has_answered() => "DOWN".to_owned(),
        Some(down) => format!("DOWN {}", since(&down, now)),
        None if followed.is_ready() => view.glyph("✓").to_owned(),
        None => view.glyph("…").to_owned(),
    };
    let servers: Vec<String> =
        names.iter().map(|server| format!("{} {}", name(server), state(server))).collect();
    servers.join("  ")
}

fn up(followed: &Followed) -> String {
    let all = followed.servers().len();
    format!("{} of {all} up", all - followed.down().count())
}

fn since(server: &RosterServer<'_>, now: DateTime<Utc>) -> String {
    view::duration((now - server.since).num_seconds().max(0).cast_unsigned())
}

/// What is wrong, or was a moment ago.
pub(super) fn note(followed: &Followed, ui: &Ui, view: View, now: DateTime<Utc>) -> Option<String> {
    let mut down: Vec<_> = followed.down().collect();
    down.sort_by_key(|server| server.name);
    let Some(first) = down.first() else {
        return ui.notice(now).map(str::to_owned);
    };
    if !followed.has_answered() {
        // It is the whole screen.
        return None;
    }
    let cause = first.error.map(Error::reason).unwrap_or_default();
    let more = match down.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let is_wide = Layout::of(view) == Layout::Full;
    let retrying = if is_wide || followed.servers().len() == 1 { "; retrying" } else { "" };
    Some(match followed.servers().len() {
        1 => format!("{cause}{retrying}"),
        _ => format!(
            "{}: {cause}{more}{retrying}",
            if is_wide { first.name } else { words::short(first.name) }
        ),
    })
}

/// What to do if there is nobody to show.
pub(super) fn empty(followed: &Followed, ui: &Ui, view: View) -> Option<Vec<String>> {
    if !ui.filter.is_empty() || followed.rows().next().is_some() {
        return None;
    }
    let columns = view.width.unwrap_or_default().saturating_sub(2);
    let cut = view.glyph("…");
    let is_wide = Layout::of(view) == Layout::Full;
    let lines = match followed.down().next() {
        Some(down) if followed.all_are_down() => {
            let cause = down.error.map(Error::reason).unwrap_or_default();
            let answers = if followed.has_answered() { "answers" } else { "has answered yet" };
            [
                format!("No server {answers}: {cause}."),
                "Retrying. Is memcached running there?  --servers HOST:PORT".to_owned(),
            ]
        }
        _ if !followed.is_ready() => [format!("Listing who is online{cut}"), String::new()],
        _ if is_wide => [
            format!("Nobody is online. Waiting for the first request{cut}"),
            "Try it from another shell: last-seen seen alice".to_owned(),
        ],
        _ => [format!("Nobody is online. Waiting{cut}"), "Try: last-seen seen alice".to_owned()],
    };
    let lines = lines.iter().filter(|line| !line.is_empty());
    Some(lines.flat_map(|line| text::wrap(line, columns)).collect())
}
