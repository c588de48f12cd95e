//! One screen of `watch`, as lines: from what is known and what the keys have set, without a terminal.

mod header;

pub(super) use header::count;

use std::cmp::{Ordering, Reverse};

use chrono::{DateTime, Utc};
use last_seen::{Presence, Status};

use super::{
    followed::{Followed, Row},
    live::{Order, Pane, Times, Ui},
};
use crate::{
    table::Style,
    text,
    users::{Known, Layout, Users},
    view::{self, View},
    words,
};

/// Nothing is laid out in less.
const COLUMNS_MIN: usize = 20;

/// As wide as what stands below them in an outage, so that no column moves then.
const HEADINGS: [&str; 2] = ["SEEN      ", "LAST SEEN   "];
const HEADINGS_OUTAGE: [&str; 2] = ["LAST KNOWN", "            "];

const KEYS: [(&str, &str); 12] = [
    ("q, Esc", "quit"),
    ("↑↓", "move; also PgUp, PgDn, Home, End, j, k, g, G"),
    ("/", "filter names; Enter keeps it, Esc clears it"),
    ("s, S", "sort by last seen, user or status; reversed"),
    ("o", "online only"),
    ("t", "times: local, UTC, age"),
    ("p, Space", "pause"),
    ("Enter", "inspect the record of the user"),
    ("Ctrl-L", "redraw"),
    ("Ctrl-Z", "suspend; fg goes on"),
    ("Ctrl-C", "quit, with exit code 130"),
    ("?, h", "this list"),
];

/// No line is wider than the screen, and there are at most `height`.
pub(super) fn frame(
    followed: &Followed,
    ui: &mut Ui,
    view: View,
    height: usize,
    now: DateTime<Utc>,
) -> Vec<String> {
    let columns = view.width.unwrap_or_default();
    if columns < COLUMNS_MIN {
        return vec![text::cut_end("too narrow", columns, "")];
    }
    // A margin, where the cursor stands.
    let inner = View { width: Some(columns - 2), ..view };
    let mut lines = vec![header::line(followed, ui, inner, now)];
    if let Some(note) = header::note(followed, ui, inner, now) {
        lines.push(
            Style::Warn.paint(&text::cut_end(&format!("! {note}"), columns - 2, view.glyph("…")), view),
        );
    }
    let room = height.saturating_sub(lines.len() + 1);
    let body = match &ui.pane {
        Some(Pane::Help) => help(inner),
        Some(Pane::User(user, lines)) => pane(user, lines.as_deref(), inner),
        None => Vec::new(),
    };
    let empty = header::empty(followed, ui, inner);
    let body = match (&ui.pane, &empty) {
        (Some(_), _) => body,
        (None, Some(words)) => [&[String::new()], &words[..], &[String::new()]].concat(),
        (None, None) => table(followed, ui, inner, room, now),
    };
    // The table has marked its own.
    lines.iter_mut().for_each(|line| line.insert(0, ' '));
    let indent = if ui.pane.is_some() || empty.is_some() { "   " } else { "" };
    let body = body.into_iter().take(room);
    lines.extend(body.map(|line| if line.is_empty() { line } else { format!("{indent}{line}") }));
    lines.push(format!(" {}", footer(ui, inner, empty.is_some())));
    lines.truncate(height);
    lines
}

/// The rows that fit, from where they are scrolled to.
fn table(followed: &Followed, ui: &mut Ui, view: View, room: usize, now: DateTime<Utc>) -> Vec<String> {
    let layout = Layout::of(view);
    let heading = usize::from(matches!(layout, Layout::Full | Layout::Short));
    let room = room.saturating_sub(heading).max(1);
    let mut rows: Vec<Row<'_>> = followed.rows().filter(|row| ui.shows(row)).collect();
    let all = rows.len();
    let shown = if all > room { room.saturating_sub(1).max(1) } else { room };
    ui.scroll(all, shown);
    let (top, end) = (ui.top, (ui.top + shown).min(all));
    // Of a hundred thousand rows only those on the screen are sorted.
    let order = |a: &Row<'_>, b: &Row<'_>| {
        if ui.reversed { compare(ui.order, b, a) } else { compare(ui.order, a, b) }
    };
    if end < all {
        rows.select_nth_unstable_by(end, order);
        rows.truncate(end);
    }
    if 0 < top && top < rows.len() {
        rows.select_nth_unstable_by(top, order);
    }
    rows.drain(..top.min(rows.len()));
    rows.sort_unstable_by(order);

    let outage = followed.all_are_down();
    let headings = match (layout, outage) {
        (Layout::Full, false) => HEADINGS,
        (Layout::Full, true) => HEADINGS_OUTAGE,
        (_, true) => ["WAS", ""],
        (_, false) => ["SEEN", ""],
    };
    let mut users = Users::with(view, now, true, headings);
    for row in &rows {
        users.add_with(row.user, &known(row, outage, layout, view), time(row, ui.times, layout, view, now));
    }
    let mut lines = users.filled();
    ui.selected = rows.get(ui.cursor.unwrap_or(top).saturating_sub(top)).map(|row| row.user.to_owned());
    for (nth, line) in lines.iter_mut().enumerate() {
        let is_marked = ui.cursor.is_some_and(|cursor| nth >= heading && nth - heading + top == cursor);
        line.insert(0, if is_marked { '>' } else { ' ' });
    }
    if all > shown {
        let (cut, place) = (view.glyph("…"), format!("{} to {end} of {all}", top + 1));
        let columns = view.width.unwrap_or_default().saturating_sub(text::width(cut));
        lines.push(text::cut_end(&format!(" {cut}{place:>columns$}"), columns + text::width(cut) + 1, ""));
    }
    if all == 0 {
        lines.push(format!(" nobody matches{}", if ui.filter.is_empty() { "" } else { " the filter" }));
    }
    lines
}

fn compare(order: Order, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let rank = |status| match status {
        Status::Online => 0,
        Status::Unknown => 1,
        _ => 2,
    };
    let status = |row: &Row<'_>| (rank(row.status), rank(row.last_known));
    let by = match order {
        Order::Seen => {
            status(a).cmp(&status(b)).then_with(|| Reverse(a.last_seen).cmp(&Reverse(b.last_seen)))
        }
        Order::User => Ordering::Equal,
        Order::Status => status(a).cmp(&status(b)),
    };
    by.then_with(|| a.user.cmp(b.user))
}

fn known(row: &Row<'_>, outage: bool, layout: Layout, view: View) -> Known {
    let word = |status| if status == Status::Online { "online" } else { "offline" };
    match (row.status, row.last_known) {
        (Status::Unknown, Status::Unknown) => Known::Unknown(Some(match row.error {
            Some(error) => words::of_user(error).unwrap_or_else(|| "invalid record".to_owned()),
            None if row.since == DateTime::UNIX_EPOCH => "not read yet".to_owned(),
            None => "invalid record".to_owned(),
        })),
        (Status::Unknown, was) => {
            let at = view.clock(row.since);
            Known::Unknown(match (layout, outage) {
                (Layout::Full, true) => Some(format!("{} at {at}", word(was))),
                (Layout::Full, false) => Some(format!("was {} at {at}", word(was))),
                (Layout::Glyph, _) => {
                    Some(if was == Status::Online { "was on" } else { "was off" }.to_owned())
                }
                (_, true) => Some(word(was).to_owned()),
                (_, false) => None,
            })
        }
        (status, _) => {
            let mut presence = Presence::default();
            (presence.last_seen, presence.online) = (row.last_seen, status == Status::Online);
            Known::Is(presence)
        }
    }
}

/// The last column as the key `t` has it, if that is not as in every table.
fn time(row: &Row<'_>, times: Times, layout: Layout, view: View, now: DateTime<Utc>) -> Option<String> {
    let at = row.last_seen?;
    match (times, layout) {
        (Times::Usual, _) | (Times::Local, Layout::Full) => None,
        (Times::Age, _) => {
            let seconds = (now.timestamp() - at.timestamp()).max(0).cast_unsigned();
            Some(format!("{} ago", view::duration(seconds)))
        }
        (Times::Local, _) => Some(view.time(at, now)),
        (Times::Utc, _) => Some(format!("{} UTC", View { utc: true, ..view }.time(at, now))),
    }
}

fn help(view: View) -> Vec<String> {
    let columns = view.width.unwrap_or_default().saturating_sub(4);
    let mut lines = vec![String::new()];
    for (key, does) in KEYS {
        let key = view.glyph(key);
        let does = text::wrap(does, columns.saturating_sub(10).max(8));
        lines.extend(does.iter().enumerate().map(|(nth, does)| {
            let line = format!("{:10}{does}", if nth == 0 { key } else { "" });
            text::cut_end(&line, columns, view.glyph("…"))
        }));
    }
    lines
}

fn pane(user: &str, lines: Option<&[String]>, view: View) -> Vec<String> {
    let columns = view.width.unwrap_or_default().saturating_sub(2);
    let cut = |line: &String| text::cut_end(line, columns, view.glyph("…"));
    let waiting = [format!("reading the record of {}{}", text::escape(user), view.glyph("…"))];
    let lines = lines.unwrap_or(&waiting);
    [vec![String::new()], lines.iter().map(cut).collect()].concat()
}

fn footer(ui: &Ui, view: View, is_empty: bool) -> String {
    let columns = view.width.unwrap_or_default();
    let (filter, order) = (text::escape(&ui.filter), ui.order.word());
    let wide = match () {
        () if ui.typing => format!("/ {filter}_   Enter keep  Esc clear"),
        () if ui.pane.is_some() => "Esc back  q quit".to_owned(),
        () if is_empty => "q quit  ? help".to_owned(),
        () => {
            let filter = if ui.filter.is_empty() { "filter".to_owned() } else { format!("filter: {filter}") };
            let only = if ui.online_only { "o all" } else { "o online only" };
            let pause =
                ui.paused.map_or("p pause".to_owned(), |changes| format!("p resume, {changes} changes"));
            let order = if ui.reversed { format!("{order} reversed") } else { order.to_owned() };
            format!("q quit  / {filter}  s sort: {order}  {only}  {pause}  ? help")
        }
    };
    let narrow = match ui.paused {
        Some(changes) => format!("q quit  p resume, {changes} changes  ? help"),
        None => "q quit  / filter  s sort  ? help".to_owned(),
    };
    let fits = [wide, narrow].into_iter().find(|footer| text::width(footer) <= columns);
    Style::Dim.paint(&fits.unwrap_or_else(|| text::cut_end("q quit  ? help", columns, "")), view)
}
