//! Tables for people.

use chrono::{DateTime, SecondsFormat, Utc};
use last_seen::Presence;

use crate::{out::Out, text};

const GAP: usize = 2;

/// How a cell looks where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Usual,
    Good,
    Faint,
    Bad,
    Heading,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Good => "\x1b[32m",
            Self::Faint => "\x1b[2m",
            Self::Bad => "\x1b[33m",
            Self::Heading => "\x1b[1m",
        }
    }
}

/// A text that can go to a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    look: Look,
}

impl Cell {
    pub(crate) fn new(text: &str, look: Look) -> Self {
        Self { text: text::plain(text), look }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Look::Usual)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Look::Usual)
    }
}

/// Columns as wide as their widest cell; the first can be told to make room.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| Cell::new(heading, Look::Heading)).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn print(&self, out: &mut Out) {
        let widths = self.widths();
        for row in &self.rows {
            let line = line(row, &widths, out.colour());
            out.line(&line);
        }
    }

    /// The lines, none longer than so many columns where the first column can be cut to that.
    pub(crate) fn lines(mut self, columns: usize, colour: bool) -> Vec<String> {
        let others: usize = self.widths().iter().skip(1).map(|width| width + GAP).sum();
        let first = columns.saturating_sub(others);
        for cell in self.rows.iter_mut().filter_map(|row| row.first_mut()) {
            cell.text = text::cut(&cell.text, first);
        }
        let widths = self.widths();
        self.rows.iter().map(|row| line(row, &widths, colour)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = text::width(&cell.text).max(*width);
            }
        }
        widths
    }
}

pub(crate) fn line(row: &[Cell], widths: &[usize], colour: bool) -> String {
    let mut line = String::new();
    for (nth, (cell, width)) in row.iter().zip(widths).enumerate() {
        match cell.look.code() {
            code if colour && !code.is_empty() => line.extend([code, &cell.text, "\x1b[0m"]),
            _ => line.push_str(&cell.text),
        }
        if nth + 1 < row.len() {
            let room = width.saturating_sub(text::width(&cell.text)) + GAP;
            line.extend(std::iter::repeat_n(' ', room));
        }
    }
    line
}

pub(crate) const PRESENCE: [&str; 4] = ["USER", "LAST SEEN", "AGO", "ONLINE"];

/// A row below [`PRESENCE`].
pub(crate) fn presence(user: &str, presence: Option<&Presence>) -> [Cell; 4] {
    let Some(presence) = presence else {
        return [user.into(), "-".into(), "-".into(), Cell::new("unknown", Look::Bad)];
    };
    let online = match presence.online {
        true => Cell::new("yes", Look::Good),
        false => Cell::new("no", Look::Faint),
    };
    [
        user.into(),
        presence.last_seen.map_or("-".to_owned(), time).into(),
        presence.ago().to_string().into(),
        online,
    ]
}

pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
