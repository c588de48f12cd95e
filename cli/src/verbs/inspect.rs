//! `inspect`: why does another program not see this user?

use chrono::{DateTime, Utc};
use last_seen::{Format, Presence, RecordInfo, Result, Settings, StoredRecord, Tracker};
use serde::Serialize;

use crate::{
    Answer, DONE, FAILED, json,
    out::Out,
    table::{self, Cell, Look},
};

/// So much of a value is shown to people; no time is written in more.
const SHOWN: usize = 256;

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    #[serde(flatten)]
    found: &'a RecordInfo,
    formats: Vec<Written>,
}

#[derive(Serialize)]
struct Written {
    format: String,
    server: String,
    key: String,
    flags: u32,
    bytes: String,
    /// Whether that is what is stored.
    stored: bool,
}

pub(crate) fn inspect(tracker: &Tracker, user: &str, json: bool, out: &mut Out) -> Answer {
    let found = tracker.inspect(user)?;
    let last_seen = found.stored.as_ref().map(|stored| &stored.last_seen);
    let at = last_seen.and_then(|at| at.as_ref().ok().copied()).unwrap_or_else(Utc::now);
    let formats = [Format::UnixSeconds, Format::Django, Format::DjangoAware];
    // A time before 1970 is written in no format.
    let written = |format| written(tracker.settings(), format, user, at, &found).ok();
    let formats: Vec<Written> = formats.into_iter().filter_map(written).collect();
    if json {
        json::line(out, &Line { user, found: &found, formats });
    } else {
        print(tracker, user, &found, &formats, out);
    }
    let Some(stored) = &found.stored else { return Ok(DONE) };
    let settings = tracker.settings();
    let doubt = other_format(stored, settings.format()).or_else(|| other_clock(stored, settings));
    if !json {
        if let Err(error) = &stored.last_seen {
            out.complain_of(error);
        }
        if let Some(told) = &doubt {
            out.complain(told);
        }
    }
    Ok(if stored.last_seen.is_err() || doubt.is_some() { FAILED } else { DONE })
}

/// Whether a local time is off by what only zones are off: quarters of an hour, up to 26 hours. When it was written can be
/// told by when it expires.
fn other_clock(stored: &StoredRecord, here: &Settings) -> Option<String> {
    const QUARTER: i64 = 15 * 60;
    if stored.format != Some(Format::Django) {
        return None;
    }
    let written = here.last_seen_timeout().checked_sub(stored.expires_in?)?.as_secs();
    let at = match &stored.last_seen {
        Ok(at) => *at,
        Err(last_seen::Error::InvalidRecord { source, .. }) => source.time()?,
        Err(_) => return None,
    };
    let off = Utc::now().timestamp() - at.timestamp() - i64::try_from(written).ok()?;
    let quarters = (off + QUARTER / 2).div_euclid(QUARTER);
    let is_of_zones = (off - quarters * QUARTER).abs() <= 30 && (1..=104).contains(&quarters.abs());
    is_of_zones.then(|| {
        let (off, way) = (quarters.unsigned_abs() * 15, if quarters > 0 { "past" } else { "future" });
        format!(
            "the record was written {written} s ago, as its expiry tells, and its time is {} more in the {way}: if Django \
             wrote it, its TIME_ZONE or its zone files are not those of this host",
            remaining(off * 60).trim_start_matches("in ")
        )
    })
}

/// What happens if a program with the settings here writes beside the Django site that wrote this.
fn other_format(stored: &StoredRecord, here: Format) -> Option<String> {
    let (call, option) = match stored.format.filter(|format| *format != here)? {
        Format::Django => ("datetime.now()", "--django ZONE"),
        Format::DjangoAware => ("timezone.now()", "--django-aware"),
        _ => return None,
    };
    Some(format!(
        "the record is a Django site's that stores {call}, and the format set here is \"{here}\": the site's pages \
         fail with a TypeError for every user that is written so; use {option}"
    ))
}

/// As a program that is set up for the format would have written the time: the settings here for the format
/// here, the others' own defaults for another.
fn written(
    here: &Settings,
    format: Format,
    user: &str,
    at: DateTime<Utc>,
    found: &RecordInfo,
) -> Result<Written> {
    let settings = match format {
        format if format == here.format() => here.clone(),
        Format::Django => Settings::django(here.time_zone())?.with_servers(here.servers().iter().cloned()),
        Format::DjangoAware => Settings::django_aware().with_servers(here.servers().iter().cloned()),
        _ => Settings::default().with_format(format).with_servers(here.servers().iter().cloned()),
    };
    // Their sharding may not go with the servers here: weights are ketama's.
    let sharded_as_here = settings.clone().with_sharding(here.sharding());
    let program = Tracker::new(settings).or_else(|_| Tracker::new(sharded_as_here))?;
    let record = program.preview(user, at)?;
    let (flags, bytes) = record.stored.map(|stored| (stored.flags, stored.bytes)).unwrap_or_default();
    let same = |stored: &StoredRecord| stored.flags == flags && stored.bytes == bytes;
    let stored =
        record.server == found.server && record.key == found.key && found.stored.as_ref().is_some_and(same);
    let bytes = bytes.escape_ascii().to_string();
    Ok(Written { format: format.to_string(), server: record.server, key: record.key, flags, bytes, stored })
}

fn print(tracker: &Tracker, user: &str, found: &RecordInfo, formats: &[Written], out: &mut Out) {
    let mut fact = |name: &str, cell: Cell| {
        let row = [Cell::new(name, Look::Heading), cell];
        let line = table::line(&row, &[15, 0], out.colour());
        out.line(&line);
    };
    fact("user", user.into());
    fact("server", found.server.as_str().into());
    fact("key", found.key.as_str().into());
    match &found.stored {
        None => fact("record", Cell::new("none", Look::Bad)),
        Some(stored) => {
            fact("flags", stored.flags.to_string().into());
            fact(
                "expires",
                stored.expires_in.map_or("never".into(), |left| remaining(left.as_secs()).into()),
            );
            fact("bytes", bytes(&stored.bytes).into());
            fact(
                "format",
                stored.format.map_or("none that is written".into(), |format| format.to_string().into()),
            );
            if stored.format == Some(Format::Django) {
                let (zone, files) = (tracker.settings().time_zone(), found.zone_files);
                let now = found.local_time.format("%Y-%m-%d %H:%M:%S UTC%:z");
                fact("time zone", format!("{zone}, now {now}, zone files {files}").into());
            }
            fact("decodes to", decoded(tracker, &stored.last_seen));
        }
    }
    for format in formats {
        let Written { format, server, key, flags, bytes, stored } = format;
        let mark = if *stored { ", as it is stored" } else { "" };
        let place = if server == &found.server { String::new() } else { format!(" on {server}") };
        fact(&format!("as {format}"), format!("{key}{place}, flags {flags}, \"{bytes}\"{mark}").into());
    }
}

fn decoded(tracker: &Tracker, last_seen: &Result<DateTime<Utc>>) -> Cell {
    let Ok(at) = last_seen else { return Cell::new("no time that can be believed", Look::Bad) };
    let presence = Presence::at(Some(*at), Utc::now(), tracker.settings().online_timeout());
    let online = if presence.online { "online" } else { "offline" };
    format!("{}, {}, {online}", table::time(*at), presence.ago()).into()
}

fn bytes(bytes: &[u8]) -> String {
    let (count, head) = (bytes.len(), &bytes[..bytes.len().min(SHOWN)]);
    let more = if head.len() < count { ".." } else { "" };
    format!("\"{}\"{more}, {count} {}", head.escape_ascii(), if count == 1 { "byte" } else { "bytes" })
}

/// The two largest units of a duration.
fn remaining(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let parts = units.iter().scan(seconds, |left, (size, unit)| {
        let count = *left / size;
        *left %= size;
        Some((count, unit))
    });
    let parts: Vec<_> = parts.skip_while(|(count, _)| *count == 0).take(2).collect();
    let text: Vec<String> = parts.iter().map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "now".to_owned() } else { format!("in {}", text.join(" ")) }
}
