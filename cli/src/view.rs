//! How an answer looks: on a terminal or in a pipe, how wide, with which glyphs, in which time zone.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal},
};

use chrono::{DateTime, Local, SecondsFormat, TimeZone, Utc};
use last_seen::{Ago, Presence};
use terminal_size::{Width, terminal_size_of};

use crate::args::When;

/// Where a terminal does not tell its size.
const COLUMNS: usize = 80;

#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// The columns of the terminal; `None` in a pipe.
    pub(crate) width: Option<usize>,
    /// Whether a cursor can be moved there.
    pub(crate) live: bool,
    pub(crate) colour: bool,
    /// Whether the locale has the glyphs.
    pub(crate) unicode: bool,
    pub(crate) utc: bool,
}

impl View {
    pub(crate) fn new(colour: When, utc: bool) -> Self {
        let width = columns(&io::stdout());
        let live = width.is_some() && !dumb();
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = match colour {
            When::Auto => live && wanted,
            When::Always => true,
            When::Never => false,
        };
        Self { width, live, colour, unicode: width.is_some() && unicode(), utc }
    }

    /// The glyph, or its replacement in a locale without UTF-8.
    pub(crate) fn glyph(self, glyph: &'static str) -> &'static str {
        match glyph {
            glyph if self.unicode => glyph,
            "●" => "*",
            "○" => "-",
            "✓" => "ok",
            "✗" => "x",
            "·" => "|",
            "…" => "...",
            "↑↓" => "Up, Down",
            glyph => glyph,
        }
    }

    /// `HH:MM:SS` today and a date before; RFC 3339 in UTC in a pipe.
    pub(crate) fn time(self, at: DateTime<Utc>, now: DateTime<Utc>) -> String {
        match self.width {
            None => rfc3339(at),
            Some(_) if self.utc => short(&at, &now),
            Some(_) => short(&at.with_timezone(&Local), &now.with_timezone(&Local)),
        }
    }

    /// `HH:MM:SS`.
    pub(crate) fn clock(self, at: DateTime<Utc>) -> String {
        match self.utc {
            true => at.format("%H:%M:%S").to_string(),
            false => at.with_timezone(&Local).format("%H:%M:%S").to_string(),
        }
    }
}

fn short<Z: TimeZone<Offset: Display>>(at: &DateTime<Z>, now: &DateTime<Z>) -> String {
    let form = if at.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    at.format(form).to_string()
}

pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The columns of a terminal; `None` if it is none.
#[cfg(unix)]
pub(crate) fn columns(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    let told = |(Width(columns), _)| usize::from(columns).max(1);
    stream.is_terminal().then(|| terminal_size_of(stream).map_or(COLUMNS, told))
}

#[cfg(not(unix))]
pub(crate) fn columns(stream: &(impl IsTerminal + std::os::windows::io::AsHandle)) -> Option<usize> {
    let told = |(Width(columns), _)| usize::from(columns).max(1);
    stream.is_terminal().then(|| terminal_size_of(stream).map_or(COLUMNS, told))
}

/// Whether the terminal, if it is one, only prints.
pub(crate) fn dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(unix)]
fn unicode() -> bool {
    let set = |name: &&str| env::var(name).is_ok_and(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(set).and_then(|name| env::var(name).ok());
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(not(unix))]
fn unicode() -> bool {
    true
}

/// How long ago a user was seen, in a column.
pub(crate) fn age(presence: &Presence, now: DateTime<Utc>) -> String {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    match presence.ago_at(now) {
        Ago::NoRecord => "no record".to_owned(),
        Ago::JustNow => "just now".to_owned(),
        Ago::Minutes(count) => format!("{count} min ago"),
        Ago::Hours(count) => format!("{count} hour{}", plural(count)),
        Ago::Days(count) => format!("{count} day{}", plural(count)),
        ago => ago.to_string(),
    }
}

/// The same in a sentence.
pub(crate) fn ago(presence: &Presence, now: DateTime<Utc>) -> String {
    let age = age(presence, now);
    match age.ends_with("ago") || age.contains("no") {
        true => age,
        false => age + " ago",
    }
}

/// The same in a narrow column.
pub(crate) fn age_short(presence: &Presence, now: DateTime<Utc>) -> String {
    match presence.ago_at(now) {
        Ago::JustNow => "now".to_owned(),
        Ago::Minutes(count) => format!("{count}m"),
        Ago::Hours(count) => format!("{count}h"),
        Ago::Days(count) => format!("{count}d"),
        _ => "no record".to_owned(),
    }
}

/// The two largest units, as in "1m 22s".
pub(crate) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let parts = units.iter().scan(seconds, |left, (size, unit)| {
        let count = *left / size;
        *left %= size;
        Some((count, unit))
    });
    let parts = parts.skip_while(|(count, unit)| *count == 0 && **unit != "s").take(2);
    let parts = parts.enumerate().filter(|(nth, (count, _))| *nth == 0 || *count > 0);
    parts.map(|(_, (count, unit))| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn ages_have_a_long_a_short_and_a_spoken_form() {
        let now = Utc::now();
        let five_minutes = std::time::Duration::from_secs(300);
        for (seconds, column, narrow, spoken) in [
            (Some(0), "just now", "now", "just now"),
            (Some(-9), "just now", "now", "just now"),
            (Some(60), "1 min ago", "1m", "1 min ago"),
            (Some(3_600), "1 hour", "1h", "1 hour ago"),
            (Some(2 * 86_400), "2 days", "2d", "2 days ago"),
            (None, "no record", "no record", "no record"),
        ] {
            let at = seconds.map(|seconds| now - TimeDelta::seconds(seconds));
            let presence = Presence::at(at, now, five_minutes);
            let forms = [age(&presence, now), age_short(&presence, now), ago(&presence, now)];
            assert_eq!(forms, [column, narrow, spoken]);
        }
    }

    #[test]
    fn a_duration_has_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (82, "1m 22s"),
            (3_601, "1h"),
            (604_800, "7d"),
            (604_799, "6d 23h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
