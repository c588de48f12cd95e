//! Tables for people.

use crate::{text, view::View};

const GAP: usize = 2;

/// The first column is not cut to less.
const FIRST_MIN: usize = 8;

/// Where names are short it is not filled to more.
const FIRST_FILLED: usize = 50;

/// How a text looks if there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Ok,
    Dim,
    Warn,
    Heading,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Ok => "\x1b[32m",
            Self::Dim => "\x1b[2m",
            Self::Warn => "\x1b[33m",
            Self::Heading => "\x1b[1m",
        }
    }

    pub(crate) fn paint(self, text: &str, view: View) -> String {
        match self.code() {
            code if view.colour && !code.is_empty() => format!("{code}{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// A text that can go to a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
    /// Whether it widens its column.
    widens: bool,
}

impl Cell {
    pub(crate) fn new(text: &str, style: Style) -> Self {
        Self { text: text::escape(text), style, widens: true }
    }

    /// One that has the room that there is.
    pub(crate) fn sentence(text: &str) -> Self {
        Self { widens: false, ..Self::new(text, Style::Plain) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Style::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Style::Plain)
    }
}

/// Columns as wide as their widest cell; on a terminal the first makes room. A row may have fewer cells than the others.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    columns: usize,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        let heading = headings.iter().map(|heading| Cell::new(heading, Style::Heading));
        Self { rows: vec![heading.collect()], columns: headings.len() }
    }

    /// One without headings.
    pub(crate) fn plain(columns: usize) -> Self {
        Self { rows: Vec::new(), columns }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines; cut to a terminal's width.
    pub(crate) fn lines(&self, view: View) -> Vec<String> {
        let mut widths = self.widths();
        if let Some(columns) = view.width {
            let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
            let first = columns.saturating_sub(others).max(FIRST_MIN);
            widths.iter_mut().take(1).for_each(|width| *width = first.min(*width));
        }
        self.lines_of(&widths, view)
    }

    /// The lines, as wide as the terminal: the first column has what the others leave, as far as an eye can follow.
    pub(crate) fn filled(&self, view: View) -> Vec<String> {
        let mut widths = self.widths();
        let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
        let first = view.width.unwrap_or_default().saturating_sub(others).max(FIRST_MIN);
        widths.iter_mut().take(1).for_each(|width| *width = first.min(FIRST_FILLED.max(*width)));
        self.lines_of(&widths, view)
    }

    fn lines_of(&self, widths: &[usize], view: View) -> Vec<String> {
        self.rows.iter().map(|row| line(row, widths, view)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row).filter(|(_, cell)| cell.widens) {
                *width = text::width(&cell.text).max(*width);
            }
        }
        widths
    }
}

fn line(row: &[Cell], widths: &[usize], view: View) -> String {
    let (mut line, mut left) = (String::new(), view.width.unwrap_or(usize::MAX));
    for (nth, (cell, width)) in row.iter().zip(widths).enumerate() {
        let (cut, is_last) = (view.glyph("…"), nth + 1 == row.len());
        let cell_text = match nth {
            0 if !is_last && view.width.is_some() => text::cut_middle(&cell.text, (*width).min(left), cut),
            _ => text::cut_end(&cell.text, left, cut),
        };
        let used = text::width(&cell_text);
        line += &cell.style.paint(&cell_text, view);
        left -= used;
        if !is_last {
            let room = (width.saturating_sub(used) + GAP).min(left);
            line.extend(std::iter::repeat_n(' ', room));
            left -= room;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(width: Option<usize>) -> View {
        View { width, live: false, colour: false, unicode: true, utc: true }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_names_keep_their_ends() {
        let mut table = Table::new(&["USER", "STATUS", "SEEN"]);
        table.row(vec!["a-very-long-user-name@example.com".into(), "online".into(), "now".into()]);
        table.row(vec!["李雷".into(), Cell::sentence("invalid record: \"hello\" is no timestamp")]);
        for width in 1..90 {
            for lines in [table.lines(view(Some(width))), table.filled(view(Some(width)))] {
                assert!(lines.iter().all(|line| text::width(line) <= width), "{width}: {lines:#?}");
            }
        }
        let lines = table.lines(view(Some(30)));
        assert_eq!(lines[1], "a-very-l…ple.com  online  now");
        assert_eq!(lines[2], "李雷              invalid rec…");
        assert_eq!(table.filled(view(Some(30)))[0], "USER              STATUS  SEEN");
        assert!(table.lines(view(None))[1].starts_with("a-very-long-user-name@example.com  online"));
    }
}
