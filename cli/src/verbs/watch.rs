//! `watch`: who is online, and who comes and goes.
//!
//! Ctrl-C ends it as it ends any program: the signal is not caught, and a shell sees 130.

mod board;

use std::time::{Duration, Instant};

use chrono::Utc;
use last_seen::{Error, Presence, Result, Tracker, Watch};

use super::who;
use crate::{Answer, DONE, FAILED, json, out::Out, text};
use board::Board;

/// "ago" moves on, and users go offline, without an event.
const TICK: Duration = Duration::from_secs(1);

/// The table is drawn at most as often.
const FRAME: Duration = Duration::from_millis(100);

/// What was stored while a server was away is not in the feed: it is asked again after as long.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

pub(crate) fn watch(tracker: &Tracker, users: &[String], json: bool, out: &mut Out) -> Answer {
    // Before the first look, so that nothing is lost between the two.
    let feed = tracker.watch()?;
    let live = out.live() && !json;
    let board = Board::new(tracker.settings().online_timeout(), live, !users.is_empty());
    let mut watching =
        Watching { tracker, users, json, live, feed, board, look: None, missed: 0, code: DONE };
    if !json && !live {
        out.line(&Board::heading());
    }
    watching.look_around(out);
    watching.follow(out);
    Ok(watching.code)
}

struct Watching<'a> {
    tracker: &'a Tracker,
    /// These alone; everyone where there are none.
    users: &'a [String],
    json: bool,
    live: bool,
    feed: Watch,
    board: Board,
    /// When to look around again.
    look: Option<Instant>,
    missed: u64,
    code: u8,
}

impl Watching<'_> {
    fn follow(&mut self, out: &mut Out) {
        let (mut ticked, mut drawn) = (Instant::now(), None::<Instant>);
        while !out.closed() {
            if self.board.changed() && drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
                drawn = Some(Instant::now());
                self.board.draw(out);
            }
            out.flush();
            let wait = if self.board.changed() { FRAME } else { TICK.saturating_sub(ticked.elapsed()) };
            match self.feed.next_timeout(wait) {
                Some(Ok((user, presence))) => self.note(user, presence, out),
                Some(Err(error)) => self.complain(&error, out),
                None => {}
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick(out);
            }
        }
    }

    /// Who is there already.
    fn look_around(&mut self, out: &mut Out) {
        self.look = None;
        let window = self.tracker.settings().online_timeout();
        let found: Vec<(String, Result<Presence>)> = if self.users.is_empty() {
            let online = match who::list(self.tracker) {
                Ok(online) => online,
                Err(error) => return self.missing(&error, out),
            };
            let presence = |at| Ok(Presence::at(Some(at), Utc::now(), window));
            online.into_iter().rev().map(|(user, at)| (user, presence(at))).collect()
        } else {
            self.users.iter().cloned().zip(self.tracker.presences(self.users)).collect()
        };
        for (user, presence) in found {
            match presence {
                Ok(presence) if self.board.knows(&user, presence) => {}
                Ok(presence) => self.note(user, presence, out),
                Err(error) => self.missing(&error, out),
            }
        }
    }

    /// A lost server is one error in the feed, which needs no second one here.
    fn missing(&mut self, error: &Error, out: &mut Out) {
        match error {
            Error::Unavailable { .. } => self.look = Some(Instant::now() + LOOK_AGAIN),
            error => self.complain(error, out),
        }
    }

    fn note(&mut self, user: String, presence: Presence, out: &mut Out) {
        if !self.users.is_empty() && !self.users.contains(&user) {
            return;
        }
        self.line(&user, presence, out);
        self.board.note(user, presence);
    }

    fn line(&self, user: &str, presence: Presence, out: &mut Out) {
        match (self.json, self.live) {
            (true, _) => json::presence(out, user, &Ok(presence)),
            (false, false) => out.line(&Board::line(user, &presence, out.colour())),
            (false, true) => {}
        }
    }

    fn tick(&mut self, out: &mut Out) {
        for (user, presence) in self.board.tick(Utc::now()) {
            self.line(&user, presence, out);
        }
        let missed = self.feed.missed();
        if missed > self.missed {
            self.board.clear(out);
            out.complain(&format!("at most {} stores were missed", missed - self.missed));
            self.missed = missed;
        }
        if self.look.is_some_and(|look| look <= Instant::now()) {
            self.look_around(out);
        }
    }

    fn complain(&mut self, error: &Error, out: &mut Out) {
        self.code = FAILED;
        match error {
            Error::InvalidRecord { key, .. } if self.json => {
                let user = key.strip_prefix(self.tracker.settings().key_prefix()).unwrap_or(key);
                return json::presence(out, user, &Err(error.clone()));
            }
            Error::Unavailable { .. } => self.look = Some(Instant::now() + LOOK_AGAIN),
            _ => {}
        }
        self.board.clear(out);
        out.complain(&text::chain(error));
    }
}
