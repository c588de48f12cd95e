//! What is wrong with a record that can be read.

use chrono::Utc;
use last_seen::{Format, Settings, StoredRecord};

use crate::view;

/// A quarter of an hour, in seconds.
const QUARTER: i64 = 15 * 60;

/// Why another program fails on it, or means another time.
pub(super) fn doubt(stored: &StoredRecord, here: &Settings) -> Option<String> {
    other_format(stored, here.format()).or_else(|| other_clock(stored, here))
}

/// Whether a local time is off by what only zones are off: quarters of an hour, up to 26 hours. When it was written can be
/// told by when it expires.
fn other_clock(stored: &StoredRecord, here: &Settings) -> Option<String> {
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
             wrote it, its TIME_ZONE is not the one set here ({}), its zone files differ from this host's, or its process does \
             not use its TIME_ZONE",
            view::duration(off * 60),
            here.time_zone()
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
