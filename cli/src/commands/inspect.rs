//! `inspect`: why does another program not see this user?

mod candidates;
mod doubts;

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use last_seen::{Error, Format, Presence, RecordInfo, Result, StoredRecord, Tracker};
use serde::Serialize;

use crate::{CommandResult, Exit, json, out::Out, text, view, view::View, words};
use candidates::{Candidate, CandidateLine};

/// How many bytes of a value are shown. Every form of a time is shorter.
const MAX_SHOWN_BYTES: usize = 256;

/// The columns of a fact's name.
const NAME: usize = 9;

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    status: &'static str,
    server: Option<&'a str>,
    key: Option<&'a str>,
    stored: Option<Stored<'a>>,
    local_time: Option<String>,
    zone_files: Option<&'a str>,
    candidates: Vec<CandidateLine<'a>>,
    formats: Option<Vec<Written>>,
    error: Option<&'a Error>,
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    record: &'a StoredRecord,
    bytes_base64: String,
}

/// What a program with that format would store.
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

/// What is known of a user's record.
struct Inspected<'a> {
    user: &'a str,
    now: DateTime<Utc>,
    found: Result<RecordInfo>,
    presence: Option<Presence>,
    candidates: Vec<Candidate>,
    doubt: Option<String>,
}

pub(crate) fn inspect(tracker: &Tracker, user: &str, all_formats: bool, out: &mut Out) -> CommandResult {
    let inspected = Inspected::new(tracker, user);
    let formats = all_formats.then(|| inspected.formats(tracker));
    if out.json {
        json::line(out, &inspected.json(formats));
    } else if let Ok(found) = &inspected.found {
        let mut lines = inspected.lines(tracker, found, out.view);
        for written in formats.iter().flatten() {
            let mark = if written.stored { ", as it is stored" } else { "" };
            let on = if written.server == found.server { "" } else { &format!(" on {}", written.server) };
            let Written { format, key, flags, bytes, .. } = written;
            let fact = format!("{key}{on}, flags {flags}, \"{bytes}\"{mark}");
            lines.extend(fact_lines(&format!("as {format}"), &fact, 16, out.view));
        }
        lines.iter().for_each(|line| out.line(line));
    }
    match &inspected.found {
        Err(error) if words::of_user(error).is_some() => out.report(&error.to_string()),
        Err(error) => out.report(&format!("{}. {} is unknown.", words::sentence(error), text::escape(user))),
        Ok(_) if out.json => {}
        Ok(_) => inspected.doubt.iter().for_each(|doubt| out.report(doubt)),
    }
    Ok(inspected.exit())
}

/// For the pane of `watch`.
pub(crate) fn pane(tracker: &Tracker, user: &str, view: View) -> Vec<String> {
    let inspected = Inspected::new(tracker, user);
    match &inspected.found {
        Ok(found) => inspected.lines(tracker, found, view),
        Err(error) => text::wrap(
            &text::escape(&format!("{}. {user} is unknown.", words::sentence(error))),
            view.width.unwrap_or(usize::MAX),
        ),
    }
}

impl<'a> Inspected<'a> {
    fn new(tracker: &Tracker, user: &'a str) -> Self {
        let (found, now) = (tracker.inspect(user), Utc::now());
        let window = tracker.settings().online_timeout();
        let stored = found.as_ref().ok().map(|found| found.stored.as_ref());
        let presence = match stored {
            Some(None) => Some(Presence::default()),
            Some(Some(stored)) => {
                stored.last_seen.as_ref().ok().map(|at| Presence::at(Some(*at), now, window))
            }
            None => None,
        };
        let doubt = stored.flatten().and_then(|stored| doubts::doubt(stored, tracker.settings()));
        let candidates =
            found.as_ref().map(|found| candidates::candidates(tracker, user, found)).unwrap_or_default();
        Self { user, now, found, presence, candidates, doubt }
    }

    fn exit(&self) -> u8 {
        match (&self.found, &self.presence) {
            (Ok(found), Some(_)) if found.stored.is_none() => Exit::NO,
            (Ok(_), Some(_)) if self.doubt.is_none() => Exit::DONE,
            _ => Exit::UNKNOWN,
        }
    }

    fn json(&self, formats: Option<Vec<Written>>) -> Line<'_> {
        let found = self.found.as_ref().ok();
        let stored = found.and_then(|found| found.stored.as_ref());
        Line {
            user: self.user,
            status: json::status(self.presence.as_ref()),
            server: found.map(|found| found.server.as_str()),
            key: found.map(|found| found.key.as_str()),
            stored: stored
                .map(|record| Stored { record, bytes_base64: BASE64_STANDARD.encode(&record.bytes) }),
            local_time: found.map(|found| found.local_time.to_rfc3339()),
            zone_files: found.map(|found| found.zone_files),
            candidates: self.candidates.iter().map(Candidate::line).collect(),
            formats,
            error: self.found.as_ref().err(),
        }
    }

    fn lines(&self, tracker: &Tracker, found: &RecordInfo, view: View) -> Vec<String> {
        let columns = view.width.unwrap_or(usize::MAX);
        let mut lines =
            text::wrap(&text::escape(&self.verdict(found, tracker.settings().format(), view)), columns);
        lines.push(String::new());
        let mut fact = |name: &str, fact: &str| lines.extend(fact_lines(name, fact, NAME, view));
        fact("server", &found.server);
        fact("key", &found.key);
        if let Some(stored) = &found.stored {
            fact("value", &value(stored));
            fact("format", &format(stored, tracker.settings().format(), view));
            if stored.format == Some(Format::Django) {
                let now = found.local_time.format("%Y-%m-%d %H:%M:%S UTC%:z");
                let zone = tracker.settings().time_zone();
                fact("zone", &format!("{zone}, now {now}, zone files {}", found.zone_files));
            }
        }
        let others: Vec<String> =
            self.candidates.iter().map(|candidate| self.candidate(candidate, found)).collect();
        if !others.is_empty() {
            lines.push(String::new());
        }
        lines.extend(others.iter().flat_map(|other| text::wrap(&text::escape(other), columns)));
        if found.stored.is_none()
            && !self.candidates.iter().any(|of| matches!(of.found, Ok(Some(_)) | Err(_)))
        {
            lines.extend(text::wrap(
                &text::escape(&format!("Record one with: last-seen seen {}", self.user)),
                columns,
            ));
        }
        lines
    }

    /// The answer in one sentence.
    fn verdict(&self, found: &RecordInfo, here: Format, view: View) -> String {
        let user = self.user;
        let Some(stored) = &found.stored else { return format!("{user} has no record here") };
        let is = |presence: &Presence| {
            let (status, ago) = (json::status(Some(presence)), view::ago(presence, self.now));
            let at = presence.last_seen.map(|at| match view.utc || view.width.is_none() {
                true => at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
                false => {
                    let local = at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S UTC%:z");
                    local.to_string().trim_end_matches("+00:00").to_owned()
                }
            });
            format!("{user} is {status}, last seen {ago} ({})", at.unwrap_or_default())
        };
        match &stored.last_seen {
            Err(Error::InvalidRecord { source, .. }) => match source.time() {
                // The clocks are right: a local time was taken for another zone's.
                Some(_) if stored.format.is_some_and(|format| format != here) => {
                    format!("{user} has a record that cannot be read with the format set here, {here}")
                }
                Some(at) => {
                    let ahead = (at - self.now).num_seconds().max(0).cast_unsigned();
                    let ahead = view::duration(ahead - ahead % 60);
                    format!("{user} has a time {ahead} in the future: check the clock of the writing host")
                }
                None => format!("{user} has a record that is not a timestamp: {source}"),
            },
            Err(error) => format!("{user} is unknown: {error}"),
            Ok(_) => self.presence.as_ref().map(is).unwrap_or_default(),
        }
    }

    fn candidate(&self, candidate: &Candidate, found: &RecordInfo) -> String {
        let Candidate { name, server, key, options, .. } = candidate;
        let (user, on) = (self.user, if *server == found.server { "" } else { &format!(" on {server}") });
        match &candidate.found {
            Ok(None) => format!("Also looked for: {key} ({name}){on}: no record"),
            Err(_) => format!("But {key} ({name}) would be on {server}, which is down."),
            Ok(Some(stored)) => {
                let seen = match &stored.last_seen {
                    // Which time that is, only the site's zone tells.
                    _ if stored.format == Some(Format::Django) => "a local time".to_owned(),
                    Ok(at) => {
                        let presence = Presence::at(Some(*at), self.now, std::time::Duration::ZERO);
                        format!("last seen {}", view::ago(&presence, self.now))
                    }
                    Err(_) => "which is not a timestamp".to_owned(),
                };
                let differ = if candidate.is_sharding {
                    "choose servers differently"
                } else {
                    "use different formats"
                };
                let but = if found.stored.is_none() { "But there is one" } else { "There is another one" };
                let advice = match options.as_str() {
                    "" => "Try it without the Django settings".to_owned(),
                    options => format!("Try: last-seen inspect {user} {options}"),
                };
                format!("{but} under {key} ({name}){on}, {seen}. Your programs {differ}. {advice}")
            }
        }
    }

    fn formats(&self, tracker: &Tracker) -> Vec<Written> {
        let Ok(found) = &self.found else { return Vec::new() };
        let stored = found.stored.as_ref().and_then(|stored| stored.last_seen.as_ref().ok());
        let at = stored.copied().unwrap_or(self.now);
        let formats = [Format::UnixSeconds, Format::Django, Format::DjangoAware];
        // A time before 1970 is written in no format.
        formats.into_iter().filter_map(|format| written(tracker, format, self.user, at, found).ok()).collect()
    }
}

/// As a program that is set up for the format would have written the time.
fn written(
    tracker: &Tracker,
    format: Format,
    user: &str,
    at: DateTime<Utc>,
    found: &RecordInfo,
) -> Result<Written> {
    let here = tracker.settings();
    let record = candidates::program(here, candidates::with_format(here, format))?.preview(user, at)?;
    let (flags, bytes) = record.stored.map(|stored| (stored.flags, stored.bytes)).unwrap_or_default();
    let same = |stored: &StoredRecord| stored.flags == flags && stored.bytes == bytes;
    let stored =
        record.server == found.server && record.key == found.key && found.stored.as_ref().is_some_and(same);
    let bytes = bytes.escape_ascii().to_string();
    Ok(Written { format: format.to_string(), server: record.server, key: record.key, flags, bytes, stored })
}

/// Returns a name with its fact in the column next to it, wrapped.
fn fact_lines(name: &str, fact: &str, indent: usize, view: View) -> Vec<String> {
    let columns = view.width.map_or(usize::MAX, |columns| columns.saturating_sub(indent).max(1));
    let parts = text::wrap(&text::escape(fact), columns).into_iter().enumerate();
    parts.map(|(nth, part)| format!("{:indent$}{part}", if nth == 0 { name } else { "" })).collect()
}

fn value(stored: &StoredRecord) -> String {
    let (count, head) = (stored.bytes.len(), &stored.bytes[..stored.bytes.len().min(MAX_SHOWN_BYTES)]);
    let (more, unit) =
        (if head.len() < count { ".." } else { "" }, if count == 1 { "byte" } else { "bytes" });
    let expires = match stored.expires_in {
        Some(left) => format!("expires in {}", view::duration(left.as_secs())),
        // A server that tells one of these would tell the expiry too.
        None if stored.idle_for.is_some() || stored.was_read.is_some() => "never expires".to_owned(),
        None => "expiry unknown".to_owned(),
    };
    format!("\"{}\"{more}  {count} {unit}, flags {}, {expires}", head.escape_ascii(), stored.flags)
}

fn format(stored: &StoredRecord, here: Format, view: View) -> String {
    match stored.format {
        Some(format) if format == here => {
            format!("{format} {} the format that this tracker writes", view.glyph("✓"))
        }
        Some(format) => format!("{format} {} but the format set here is {here}", view.glyph("✗")),
        None if stored.last_seen.is_ok() => "none that this tracker writes, but it can be read".to_owned(),
        None => "none that is read".to_owned(),
    }
}
