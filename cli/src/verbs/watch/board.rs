//! What `watch` knows of the users, and its table.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::Presence;
use terminal_size::{Height, Width, terminal_size};

use super::who;
use crate::{
    out::Out,
    table::{self, Cell, Look, Table},
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
    /// Whether users stay whose time is long past: those that were asked for.
    keep: bool,
    users: BTreeMap<String, Presence>,
    changed: bool,
    /// How many lines of the terminal the table takes now.
    drawn: usize,
}

impl Board {
    pub(super) fn new(window: Duration, live: bool, keep: bool) -> Self {
        Self { window, live, keep, users: BTreeMap::new(), changed: live, drawn: 0 }
    }

    pub(super) fn note(&mut self, user: String, presence: Presence) {
        self.changed = self.live;
        self.users.insert(user, presence);
    }

    pub(super) fn knows(&self, user: &str, presence: Presence) -> bool {
        self.users.get(user) == Some(&presence)
    }

    /// Whether the table on the terminal is not what is known.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Who has gone offline by the clock. Users stay in the table for as long again.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) -> Vec<(String, Presence)> {
        self.changed = self.live;
        let mut gone = Vec::new();
        let stay = if self.live { self.window * 2 } else { self.window };
        let stay = TimeDelta::from_std(stay).unwrap_or(TimeDelta::MAX);
        self.users.retain(|user, presence| {
            let is = Presence::at(presence.last_seen, now, self.window);
            if presence.online && !is.online {
                gone.push((user.clone(), is));
            }
            *presence = is;
            self.keep || is.last_seen.is_some_and(|at| now - at <= stay)
        });
        gone
    }

    /// Over what was drawn before, as much as the terminal has room for.
    pub(super) fn draw(&mut self, out: &mut Out) {
        if !self.live {
            return;
        }
        let (Width(columns), Height(lines)) = terminal_size().unwrap_or(SIZE);
        let room = usize::from(lines).saturating_sub(OTHER_LINES).max(1);
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_by_key(|(_, presence)| Reverse((presence.online, presence.last_seen)));
        let mut table = Table::new(&table::PRESENCE);
        for (user, presence) in users.iter().take(room) {
            table.row(table::presence(user, Some(presence)));
        }
        let mut lines = table.lines(columns.into(), out.colour());
        let mut count = who::count(users.iter().filter(|(_, presence)| presence.online).count());
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
