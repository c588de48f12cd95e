//! Where programs of another format, or with another way to choose a server, keep the same user.

use chrono::{DateTime, Utc};
use last_seen::{Error, Format, RecordInfo, Result, Settings, Sharding, StoredRecord, Tracker};
use serde::Serialize;

/// What a program that is set up in another way finds.
pub(super) struct Candidate {
    /// The format or the sharding that differs.
    pub(super) name: String,
    pub(super) server: String,
    pub(super) key: String,
    pub(super) found: Result<Option<StoredRecord>>,
    /// The options that look there; none are needed with the default settings.
    pub(super) options: String,
    /// It differs in the server alone.
    pub(super) is_sharding: bool,
}

#[derive(Serialize)]
pub(super) struct CandidateLine<'a> {
    name: &'a str,
    server: &'a str,
    key: &'a str,
    status: &'static str,
    last_seen: Option<DateTime<Utc>>,
    error: Option<&'a Error>,
}

impl Candidate {
    pub(super) fn line(&self) -> CandidateLine<'_> {
        let last_seen = self.found.as_ref().ok().and_then(Option::as_ref).map(|stored| &stored.last_seen);
        let error = self.found.as_ref().err().or_else(|| last_seen.and_then(|at| at.as_ref().err()));
        CandidateLine {
            name: &self.name,
            server: &self.server,
            key: &self.key,
            status: match &self.found {
                Ok(Some(_)) => "record",
                Ok(None) => "no_record",
                Err(_) => "unknown",
            },
            last_seen: last_seen.and_then(|at| at.as_ref().ok().copied()),
            error,
        }
    }
}

/// The places other than the one that was looked at: those of the other formats, and, if there is a record, those of the
/// other ways to choose a server.
pub(super) fn candidates(here: &Tracker, user: &str, found: &RecordInfo) -> Vec<Candidate> {
    let mut looked_at = vec![(found.server.clone(), found.key.clone())];
    let mut candidates = Vec::new();
    let mut look = |name: String, settings: Settings, options: &str, is_sharding: bool| {
        let Ok(program) = program(here.settings(), settings) else { return };
        let Ok(preview) = program.preview(user, Utc::now()) else { return };
        let place = (preview.server, preview.key);
        if looked_at.contains(&place) {
            return;
        }
        let found = program.inspect(user).map(|found| found.stored);
        let options = options_for(found.as_ref().ok().and_then(Option::as_ref), options);
        let (server, key) = place.clone();
        looked_at.push(place);
        if !is_sharding || matches!(found, Ok(Some(_))) {
            candidates.push(Candidate { name, server, key, found, options, is_sharding });
        }
    };
    for format in [Format::Django, Format::UnixSeconds] {
        if format != here.settings().format() {
            let options = if format == Format::Django { "--django ZONE" } else { "" };
            look(format.to_string(), with_format(here.settings(), format), options, false);
        }
    }
    for sharding in [
        Sharding::Ketama,
        Sharding::Pymemcache,
        Sharding::Libmemcached,
        Sharding::PythonMemcached,
        Sharding::Dalli,
        Sharding::Gomemcache,
    ] {
        let settings = here.settings().clone().with_sharding(sharding);
        look(sharding.to_string(), settings, &format!("--sharding {sharding}"), true);
    }
    candidates
}

fn options_for(stored: Option<&StoredRecord>, options: &str) -> String {
    match stored.and_then(|stored| stored.format) {
        Some(Format::DjangoAware) if options.starts_with("--django") => "--django-aware".to_owned(),
        Some(Format::UnixSeconds) if options.starts_with("--django") => "--prefix :1:seen_".to_owned(),
        _ => options.to_owned(),
    }
}

/// The settings of a program with that format and its own defaults, on the servers here.
pub(super) fn with_format(here: &Settings, format: Format) -> Settings {
    let site = match format {
        format if format == here.format() => return here.clone(),
        Format::Django | Format::DjangoAware => Settings::django_aware(),
        _ => Settings::default(),
    };
    here.clone().with_format(format).with_key_prefix(site.key_prefix()).with_sharding(site.sharding())
}

/// Weights, say, are ketama's: its sharding may not go with the servers here.
pub(super) fn program(here: &Settings, settings: Settings) -> Result<Tracker, Error> {
    let sharded_as_here = settings.clone().with_sharding(here.sharding());
    Tracker::new(settings).or_else(|_| Tracker::new(sharded_as_here))
}
