//! `watch`: who is online, and who comes and goes.
//!
//! Ctrl-C ends it as it ends any program: the signal is not caught, and a shell sees 130.

mod board;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use last_seen::{Change, Error, Presence, Tracker};

use crate::{Answer, DONE, FAILED, json, out::Out, text};
use board::Board;

/// "ago" moves on without a change.
const TICK: Duration = Duration::from_secs(1);

/// The table is drawn at most as often.
const FRAME: Duration = Duration::from_millis(100);

pub(crate) fn watch(tracker: &Tracker, users: &[String], json: bool, out: &mut Out) -> Answer {
    let mut watch = tracker.watch()?;
    let live = out.live() && !json;
    let board = Board::new(tracker.settings().online_timeout(), live);
    let mut watching = Watching { tracker, users, json, live, board, code: DONE };
    if !json && !live {
        out.line(&Board::heading());
    }
    watching.look_at_those_asked_for(out);
    let (mut ticked, mut drawn) = (Instant::now(), None::<Instant>);
    while !out.closed() {
        if watching.board.changed() && drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
            drawn = Some(Instant::now());
            watching.board.draw(out);
        }
        out.flush();
        let wait = if watching.board.changed() { FRAME } else { TICK.saturating_sub(ticked.elapsed()) };
        if let Some(change) = watch.next_timeout(wait) {
            watching.hear(&change, out);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            watching.board.tick();
        }
    }
    Ok(watching.code)
}

struct Watching<'a> {
    tracker: &'a Tracker,
    /// These alone; everyone if there are none.
    users: &'a [String],
    json: bool,
    live: bool,
    board: Board,
    code: u8,
}

impl Watching<'_> {
    /// The watch tells nothing of users who are offline from the start.
    fn look_at_those_asked_for(&mut self, out: &mut Out) {
        for (user, presence) in self.users.iter().zip(self.tracker.presences(self.users)) {
            match presence {
                Ok(presence) => {
                    self.line(user, presence, out);
                    self.board.asked_for(user, presence);
                }
                // The watch says so.
                Err(Error::Unavailable { .. }) => {}
                Err(error) => self.complain(&error, out),
            }
        }
    }

    fn hear(&mut self, change: &Change, out: &mut Out) {
        match change {
            Change::Online { user, last_seen, .. } | Change::Seen { user, last_seen, .. } => {
                self.note(user, Some(*last_seen), change, out);
            }
            Change::Offline { user, last_seen, .. } => self.note(user, *last_seen, change, out),
            Change::Unreadable { user, error, .. } if self.is_asked_for(user) => {
                self.board.apply(change);
                self.code = FAILED;
                match self.json {
                    true => json::presence(out, user, &Err(error.clone())),
                    false => self.complain(error, out),
                }
            }
            Change::Unreadable { .. } => {}
            Change::ServerDown { error, .. } => {
                self.board.apply(change);
                self.complain(error, out);
            }
            Change::Missed { updates, .. } => {
                self.board.apply(change);
                self.board.clear(out);
                out.complain(&format!("at most {updates} updates were missed; the list is read again"));
            }
            change => self.board.apply(change),
        }
    }

    fn is_asked_for(&self, user: &str) -> bool {
        self.users.is_empty() || self.users.iter().any(|asked| asked == user)
    }

    fn note(&mut self, user: &str, last_seen: Option<DateTime<Utc>>, change: &Change, out: &mut Out) {
        if !self.is_asked_for(user) {
            return;
        }
        let presence = Presence::at(last_seen, Utc::now(), self.tracker.settings().online_timeout());
        // Those who were asked for were printed at the start.
        if self.board.asked_for.get(user) != Some(&presence) {
            self.line(user, presence, out);
        }
        self.board.asked_for.remove(user);
        self.board.apply(change);
    }

    fn line(&self, user: &str, presence: Presence, out: &mut Out) {
        match (self.json, self.live) {
            (true, _) => json::presence(out, user, &Ok(presence)),
            (false, false) => out.line(&Board::line(user, &presence, out.colour())),
            (false, true) => {}
        }
    }

    fn complain(&mut self, error: &Error, out: &mut Out) {
        self.code = FAILED;
        self.board.clear(out);
        out.complain(&text::chain(error));
    }
}
