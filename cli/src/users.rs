//! Rows of users, by the width of the terminal.

use chrono::{DateTime, Utc};
use last_seen::Presence;

use crate::{
    table::{Cell, Style, Table},
    view::{self, View},
};

/// What is known of a user.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    Is(Presence),
    /// With a reason that is the user's own, or what was known before.
    Unknown(Option<String>),
}

/// Which columns there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// USER, STATUS, SEEN, LAST SEEN.
    Full,
    /// Without LAST SEEN, and SEEN short.
    Short,
    /// Glyph, USER, SEEN.
    Glyph,
    /// Glyph, USER.
    Name,
}

impl Layout {
    pub(crate) fn of(view: View) -> Self {
        match view.width {
            None | Some(60..) => Self::Full,
            Some(30..) => Self::Short,
            Some(16..) => Self::Glyph,
            Some(_) => Self::Name,
        }
    }
}

pub(crate) struct Users {
    view: View,
    now: DateTime<Utc>,
    layout: Layout,
    /// If everyone is online, STATUS says nothing.
    status: bool,
    table: Table,
}

impl Users {
    pub(crate) fn new(view: View, now: DateTime<Utc>, status: bool) -> Self {
        Self::with(view, now, status, ["SEEN", "LAST SEEN"])
    }

    /// With other headings for the two times.
    pub(crate) fn with(view: View, now: DateTime<Utc>, status: bool, [seen, last_seen]: [&str; 2]) -> Self {
        let layout = Layout::of(view);
        // As wide as the widest, so that a screen stays as it is when the first user goes offline.
        let status_heading = if view.width.is_some() { "STATUS   " } else { "STATUS" };
        let table = match (layout, status) {
            (Layout::Full, true) => Table::new(&["USER", status_heading, seen, last_seen]),
            (Layout::Full, false) => Table::new(&["USER", seen, last_seen]),
            (Layout::Short, true) => Table::new(&["USER", status_heading, seen]),
            (Layout::Short, false) => Table::new(&["USER", seen]),
            (Layout::Glyph, _) => Table::plain(2),
            (Layout::Name, _) => Table::plain(1),
        };
        Self { view, now, layout, status, table }
    }

    pub(crate) fn add(&mut self, user: &str, known: &Known) {
        self.add_with(user, known, None);
    }

    /// With the last column as it is given.
    pub(crate) fn add_with(&mut self, user: &str, known: &Known, last: Option<String>) {
        let (view, now) = (self.view, self.now);
        let (glyph, word, style) = match known {
            Known::Is(presence) if presence.online => ("●", "online", Style::Ok),
            Known::Is(_) => ("○", "offline", Style::Dim),
            Known::Unknown(_) => ("?", "unknown", Style::Warn),
        };
        let marked = if view.width.is_some() { format!("{} ", view.glyph(glyph)) } else { String::new() };
        let mut row: Vec<Cell> = match self.layout {
            Layout::Full | Layout::Short => vec![user.into()],
            Layout::Glyph | Layout::Name => vec![format!("{marked}{user}").into()],
        };
        if self.status && matches!(self.layout, Layout::Full | Layout::Short) {
            row.push(Cell::new(&format!("{marked}{word}"), style));
        }
        match (self.layout, known) {
            (Layout::Name, _) => {}
            (Layout::Full, Known::Is(presence)) => {
                let time = || presence.last_seen.map_or("-".to_owned(), |at| view.time(at, now));
                row.extend([view::age(presence, now).into(), last.unwrap_or_else(time).into()]);
            }
            (_, Known::Is(presence)) => {
                row.push(last.unwrap_or_else(|| view::age_short(presence, now)).into());
            }
            (_, Known::Unknown(Some(reason))) if reason.len() > "no record".len() => {
                row.push(Cell::sentence(reason));
            }
            (_, Known::Unknown(Some(reason))) => row.push(reason.as_str().into()),
            (Layout::Full, Known::Unknown(None)) => row.extend(["-".into(), "-".into()]),
            (_, Known::Unknown(None)) => row.push("-".into()),
        }
        self.table.row(row);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.table.lines(self.view)
    }

    pub(crate) fn filled(&self) -> Vec<String> {
        self.table.filled(self.view)
    }
}
