//! What `watch` knows of the users, and its table.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use chrono::Utc;
use last_seen::{Change, Presence, Roster, Status};
use terminal_size::{Height, Width, terminal_size};

use crate::{
    out::Out,
    table::{self, Cell, Look, Table},
    verbs::who,
};

/// Where the terminal does not tell its size.
const SIZE: (Width, Height) = (Width(80), Height(24));

/// The heading, the count, and the line that the cursor is on.
const OTHER_LINES: usize = 3;

/// Lines that are printed one by one cannot wait for the widest name.
const WIDTHS: [usize; 4] = [20, 20, 14, 9];

pub(super) struct Board {
    window: Duration,
    live: bool,
    roster: Roster,
    /// Those who were asked for, and of whom the watch has told nothing so far.
    pub(super) asked_for: BTreeMap<String, Presence>,
    /// The watch was: before that nobody can say who is online.
    ready: bool,
    changed: bool,
    /// How many lines of the terminal the table takes now.
    drawn: usize,
}

impl Board {
    pub(super) fn new(window: Duration, live: bool) -> Self {
        let (roster, asked_for) = (Roster::keeping(window), BTreeMap::new());
        Self { window, live, roster, asked_for, ready: false, changed: false, drawn: 0 }
    }

    pub(super) fn asked_for(&mut self, user: &str, presence: Presence) {
        self.asked_for.insert(user.to_owned(), presence);
    }

    pub(super) fn apply(&mut self, change: &Change) {
        self.ready |= matches!(change, Change::Ready { .. });
        self.changed = self.live && self.ready;
        self.roster.apply(change);
    }

    /// Whether the table on the terminal is not what is known.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// "ago" moves on.
    pub(super) fn tick(&mut self) {
        self.changed = self.live && self.ready;
    }

    /// Over what was drawn before, as much as the terminal has room for.
    pub(super) fn draw(&mut self, out: &mut Out) {
        if !self.live {
            return;
        }
        let (Width(columns), Height(lines)) = terminal_size().unwrap_or(SIZE);
        let room = usize::from(lines).saturating_sub(OTHER_LINES).max(1);
        let now = Utc::now();
        let shown = self.roster.iter().map(|user| {
            let presence = Presence::at(user.last_seen, now, self.window);
            (user.user, (user.status != Status::Unknown).then_some(presence))
        });
        let asked_for = self.asked_for.iter().map(|(user, presence)| (user.as_str(), Some(*presence)));
        let mut users: Vec<_> = shown.chain(asked_for).collect();
        users.sort_by_key(|(user, presence)| {
            (Reverse(presence.map(|presence| (presence.online, presence.last_seen))), *user)
        });
        let mut table = Table::new(&table::PRESENCE);
        for (user, presence) in users.iter().take(room) {
            table.row(table::presence(user, presence.as_ref()));
        }
        let mut lines = table.lines(columns.into(), out.colour());
        let mut count = match self.roster.online() {
            0 if !self.roster.is_complete() => "who is online is unknown".to_owned(),
            online => who::count(online),
        };
        if self.roster.unknown() > 0 {
            count += &format!(", {} unknown", self.roster.unknown());
        }
        if users.len() > room {
            count += &format!(", {room} users of {} are shown", users.len());
        }
        lines.push(count);

        let mut frame = self.home();
        for line in &lines {
            frame += &format!("{line}\x1b[K\n");
        }
        out.write((frame + "\x1b[J").as_bytes());
        (self.drawn, self.changed) = (lines.len(), false);
    }

    /// Makes room for something else to be said.
    pub(super) fn clear(&mut self, out: &mut Out) {
        if self.drawn > 0 {
            let home = self.home() + "\x1b[J";
            out.write(home.as_bytes());
            (self.drawn, self.changed) = (0, true);
        }
    }

    fn home(&self) -> String {
        if self.drawn == 0 { "\r".to_owned() } else { format!("\r\x1b[{}A", self.drawn) }
    }

    pub(super) fn heading() -> String {
        table::line(&table::PRESENCE.map(|heading| Cell::new(heading, Look::Heading)), &WIDTHS, false)
    }

    pub(super) fn line(user: &str, presence: &Presence, colour: bool) -> String {
        table::line(&table::presence(user, Some(presence)), &WIDTHS, colour)
    }
}
