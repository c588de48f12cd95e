//! The page as it is opened, readable without scripts.

use std::time::Duration;

use askama::Template;
use last_seen::{
    Presence, Status,
    chrono::{DateTime, Utc},
};

use crate::{
    history::SPAN,
    plot::Plot,
    query::{Query, Show, Sort},
    view::{Counted, Known, Row, View},
};

/// A name is cut in the middle, since ends tell names apart: so much of the end stays.
const TAIL: usize = 12;
const LONG: usize = 24;

#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page {
    pub(crate) user: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) query: Query,
    pub(crate) prefix: String,
    pub(crate) places: String,
    pub(crate) view: View,
    pub(crate) plot: Plot,
}

impl Page {
    fn known(&self) -> &'static str {
        match self.view.numbers.summary.known {
            Known::Loading => "loading",
            // It was true when it was read; that it is live is for the script to say.
            Known::Live => "read",
            Known::Partial => "partial",
            Known::Outage => "outage",
            Known::Rereading => "rereading",
        }
    }

    fn headline(&self) -> String {
        let (summary, about) = (&self.view.numbers.summary, self.view.numbers.about);
        match (summary.online, summary.known) {
            (Some(online), _) => format!("{about}{online}"),
            (None, Known::Loading) => "–".to_owned(),
            (None, _) => "unknown".to_owned(),
        }
    }

    /// How many more are online than five minutes ago.
    fn trend(&self) -> Option<String> {
        let (online, at) = (self.view.numbers.summary.online?, self.view.at - 300);
        let before = self.view.history.iter().rev().find(|sample| sample.0 <= at)?;
        let change = online.cast_signed() - before.1?.cast_signed();
        (at - before.0 < 30 && before.2).then(|| format!("{change:+} in 5 min"))
    }

    /// What is to be said of the number.
    fn note(&self) -> String {
        let numbers = &self.view.numbers;
        match numbers.summary.known {
            Known::Loading => String::new(),
            Known::Live => self.trend().unwrap_or_default(),
            Known::Partial | Known::Rereading => format!("{} unknown", numbers.counts.unknown),
            Known::Outage => match numbers.summary.online_last_known {
                Some(Counted { count, at }) => format!("{count} at {}", clock(at)),
                None => "no complete count yet".to_owned(),
            },
        }
    }

    fn peak(&self) -> Option<Counted> {
        let samples = self.view.history.iter();
        let counted = samples.filter_map(|sample| Some(Counted { count: sample.1?, at: sample.0 }));
        let now = self.view.numbers.summary.online.map(|count| Counted { count, at: self.view.at });
        counted.chain(now).max_by_key(|counted| counted.count)
    }

    fn span(&self) -> String {
        let minutes = self.plot.span / 60;
        if minutes < 59 { format!("{minutes} minutes") } else { "hour".to_owned() }
    }

    /// The hour, or since when there are samples.
    fn peak_since(&self) -> Option<i64> {
        let first = self.view.history.first().map_or(self.view.at, |sample| sample.0);
        (first > self.view.at - SPAN + 60).then_some(first)
    }

    fn latest(&self) -> String {
        let count = self.view.numbers.summary.online;
        let count = count.map_or_else(|| "unknown".to_owned(), |online| online.to_string());
        format!("{count} at {}", minute(self.view.at))
    }

    /// Value, word, count and whether it is chosen.
    fn chips(&self) -> [(&'static str, &'static str, String, bool); 4] {
        let (counts, about) = (self.view.numbers.counts, self.view.numbers.about);
        let online = self.view.numbers.summary.online;
        [
            ("all", "All", counts.all, Show::All),
            ("online", "Online", counts.online, Show::Online),
            ("offline", "Offline", counts.offline, Show::Offline),
            ("unknown", "Unknown", counts.unknown, Show::Unknown),
        ]
        .map(|(value, word, count, show)| {
            let count = match show {
                Show::Online | Show::Offline if online.is_none() => "?".to_owned(),
                Show::Online | Show::Offline => format!("{about}{count}"),
                _ => count.to_string(),
            };
            (value, word, count, self.query.show == show)
        })
    }

    /// Value, word and whether it is chosen.
    fn orders(&self) -> [(&'static str, &'static str, bool); 6] {
        [
            ("status", "Online first", Sort::Status),
            ("-status", "Offline first", Sort::StatusDown),
            ("user", "A to Z", Sort::User),
            ("-user", "Z to A", Sort::UserDown),
            ("-seen", "Seen last", Sort::SeenDown),
            ("seen", "Seen first", Sort::Seen),
        ]
        .map(|(value, word, sort)| (value, word, self.query.sort == sort))
    }

    /// Name, heading, a link that sorts by it, and how it is sorted now.
    fn columns(&self) -> [(&'static str, &'static str, String, &'static str); 3] {
        [
            ("user", "User", Sort::User, Sort::UserDown),
            ("status", "Status", Sort::Status, Sort::StatusDown),
            ("seen", "Last seen", Sort::SeenDown, Sort::Seen),
        ]
        .map(|(name, heading, first, then)| {
            let down = matches!(self.query.sort, Sort::UserDown | Sort::StatusDown | Sort::SeenDown);
            let direction = match self.query.sort == first || self.query.sort == then {
                true if down => "descending",
                true => "ascending",
                false => "none",
            };
            (name, heading, self.query.sorted(first, then), direction)
        })
    }

    fn word(&self, row: &Row) -> &'static str {
        word(row.status)
    }

    /// What is under *Last seen*.
    fn seen(&self, row: &Row) -> String {
        let now = time(self.view.at);
        match (row.was, row.last_seen.map(time)) {
            (Some((was, at)), _) => format!("was {} at {}", word(was).to_lowercase(), clock(at)),
            (None, Some(seen)) => Presence::at(Some(seen), now, Duration::ZERO).ago_at(now).to_string(),
            (None, None) => "the record cannot be read".to_owned(),
        }
    }

    fn now(&self) -> String {
        clock(self.view.at)
    }

    fn indicator(&self) -> String {
        let summary = &self.view.numbers.summary;
        match (summary.known, summary.since) {
            (Known::Live, _) => format!("As of {}", self.now()),
            (_, Some(since)) => format!("{} {}", summary.says, clock(since)),
            (_, None) => summary.says.clone(),
        }
    }

    fn minute(&self, at: &i64) -> String {
        minute(*at)
    }

    fn head_and_tail<'a>(&self, user: &'a str) -> (&'a str, &'a str) {
        let tail = user.char_indices().nth_back(TAIL - 1).filter(|_| user.chars().count() > LONG);
        tail.map_or((user, ""), |(cut, _)| user.split_at(cut))
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Online => "Online",
        Status::Offline => "Offline",
        _ => "Unknown",
    }
}

fn time(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at, 0).unwrap_or_default()
}

/// For a page without scripts; with them, it is the browser's time.
fn clock(at: i64) -> String {
    time(at).format("%H:%M:%S UTC").to_string()
}

fn minute(at: i64) -> String {
    time(at).format("%H:%M").to_string()
}
