//! `watch` in a pipe: a line for each event.
//!
//! Ctrl-C ends it as it ends any program: the signal is not caught, and a shell sees 130.

use std::{io, time::Duration};

use chrono::{DateTime, Timelike, Utc};
use last_seen::{Change, Error, OfflineReason, Presence, Tracker};
use serde::Serialize;

use super::Followed;
use crate::{CommandResult, Exit, json, out::Out, text, view, view::rfc3339, words};

/// Looks this often whether anyone reads.
const LOOK: Duration = Duration::from_secs(1);

/// What happened, with the fields of its kind.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Snapshot {
        at: String,
        user: &'a str,
        status: &'static str,
        last_seen: Option<String>,
    },
    Online {
        at: String,
        user: &'a str,
        status: &'static str,
        last_seen: Option<String>,
    },
    Seen {
        at: String,
        user: &'a str,
        status: &'static str,
        last_seen: Option<String>,
    },
    Offline {
        reason: OfflineReason,
        at: String,
        user: &'a str,
        status: &'static str,
        last_seen: Option<String>,
    },
    Unknown {
        at: String,
        user: &'a str,
        status: &'static str,
        last_seen: Option<String>,
        error: &'a Error,
    },
    Ready {
        at: String,
        online: Option<usize>,
        complete: bool,
    },
    ServerDown {
        at: String,
        server: &'a str,
        error: &'a Error,
    },
    ServerUp {
        at: String,
        server: &'a str,
        down_s: u64,
    },
    Missed {
        at: String,
        server: &'a str,
        updates: u64,
    },
}

struct Log<'a> {
    out: &'a mut Out,
    /// Repeated sightings too.
    all: bool,
}

pub(super) fn log(tracker: &Tracker, mut followed: Followed, all: bool, out: &mut Out) -> CommandResult {
    let mut watch = tracker.watch()?;
    let mut log = Log { out, all };
    while !log.out.closed() {
        // What waits is written in one go.
        let Some(change) = watch.next_timeout(Duration::ZERO).or_else(|| {
            log.out.flush();
            watch.next_timeout(LOOK)
        }) else {
            continue;
        };
        let was_ready = followed.is_ready();
        if !followed.apply(&change) {
            continue;
        }
        if let Change::Ready { .. } = change {
            for (user, presence) in followed.read_absent() {
                log.absent(&user, &presence);
            }
        }
        log.tell(&change, &followed, was_ready);
    }
    let failed = !followed.has_answered() && followed.down().next().is_some();
    Ok(if failed { Exit::UNKNOWN } else { Exit::DONE })
}

impl Log<'_> {
    fn tell(&mut self, change: &Change, followed: &Followed, was_ready: bool) {
        let at = now();
        let seen = |last_seen: &DateTime<Utc>| Some(rfc3339(*last_seen));
        match change {
            Change::Online { user, last_seen, .. } => {
                let (status, last_seen) = ("online", seen(last_seen));
                let event = match was_ready {
                    true => Event::Online { at, user, status, last_seen },
                    false => Event::Snapshot { at, user, status, last_seen },
                };
                self.event(&event, "online", user, "");
            }
            Change::Seen { user, last_seen, .. } if self.all => {
                let event = Event::Seen { at, user, status: "online", last_seen: seen(last_seen) };
                self.event(&event, "seen", user, "");
            }
            Change::Offline { user, last_seen, reason, .. } => {
                let (reason, last_seen) = (*reason, last_seen.as_ref().and_then(seen));
                let word = match reason {
                    OfflineReason::SignedOut => "sign-out",
                    OfflineReason::Gone => "gone",
                    _ => "offline",
                };
                let detail =
                    last_seen.as_ref().map_or("no record".to_owned(), |at| format!("last seen {at}"));
                let event = Event::Offline { reason, at, user, status: "offline", last_seen };
                self.event(&event, word, user, &detail);
            }
            Change::Unreadable { user, error, .. } => self.unknown(user, error),
            Change::ServerDown { server, error, .. } => {
                let event = Event::ServerDown { at, server, error };
                self.event(&event, "down", server, &error.reason());
                self.remark(&words::sentence(error));
            }
            Change::ServerUp { server, down_for, .. } => {
                let down_s = down_for.as_secs();
                self.event(
                    &Event::ServerUp { at, server, down_s },
                    "up",
                    server,
                    &format!("after {down_s} s"),
                );
                self.remark(&format!("{server} is back after {}", view::duration(down_s)));
            }
            Change::Missed { server, updates, .. } => {
                let (updates, detail) = (*updates, format!("at most {updates} updates; it is listed again"));
                self.event(&Event::Missed { at, server, updates }, "missed", server, &detail);
            }
            Change::Ready { complete, .. } => {
                let online = (!followed.all_are_down()).then(|| followed.online());
                let count = match online {
                    Some(online) if *complete => format!("{online} online"),
                    Some(online) if followed.down().next().is_some() => format!("at least {online} online"),
                    // Updates were lost, and one may be a sign-out.
                    Some(online) => format!("about {online} online"),
                    None => "unknown how many are online".to_owned(),
                };
                self.event(&Event::Ready { at, online, complete: *complete }, "ready", &count, "");
            }
            _ => {}
        }
    }

    /// Of somebody who was named, and is not online.
    fn absent(&mut self, user: &str, presence: &last_seen::Result<Presence>) {
        match presence {
            Ok(presence) => {
                let last_seen = presence.last_seen.map(rfc3339);
                let detail =
                    last_seen.as_ref().map_or("no record".to_owned(), |at| format!("last seen {at}"));
                let event = Event::Snapshot { at: now(), user, status: "offline", last_seen };
                self.event(&event, "offline", user, &detail);
            }
            Err(error) => self.unknown(user, error),
        }
    }

    fn unknown(&mut self, user: &str, error: &Error) {
        let detail = words::of_user(error).unwrap_or_else(|| words::sentence(error));
        let (status, error) = ("unknown", error);
        let event = Event::Unknown { at: now(), user, status, last_seen: None, error };
        self.event(&event, "unknown", user, &detail);
    }

    fn event(&mut self, event: &Event<'_>, word: &str, whom: &str, detail: &str) {
        if self.out.json {
            return json::line(self.out, event);
        }
        let (at, whom) = (now(), text::escape(whom));
        let detail = if detail.is_empty() { String::new() } else { format!("  {}", text::escape(detail)) };
        self.out.line(&format!("{at}  {word:8}  {whom}{detail}"));
    }

    /// On a terminal the event is enough.
    fn remark(&mut self, sentence: &str) {
        use io::IsTerminal;
        if !io::stdout().is_terminal() {
            self.out.report(sentence);
        }
    }
}

/// To the second.
fn now() -> String {
    let now = Utc::now();
    rfc3339(now.with_nanosecond(0).unwrap_or(now))
}
