//! Local times as Python resolves them (PEP 495).
//!
//! The rules of a zone are those of chrono-tz, whose tables end with the year 2099: later summers
//! are read as winters.

#[cfg(not(feature = "django"))]
pub(crate) use utc::{UTC, Zone, from_local, named};
#[cfg(feature = "django")]
pub(crate) use zones::*;

/// Without the feature there is no zone but UTC.
#[cfg(not(feature = "django"))]
mod utc {
    use chrono::{DateTime, NaiveDateTime, Utc};

    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Zone;

    pub(crate) const UTC: Zone = Zone;

    pub(crate) fn named(name: &str) -> Result<Zone, &'static str> {
        (name == "UTC").then_some(Zone).ok_or("any zone but UTC needs the feature `django`")
    }

    pub(crate) fn from_local(naive: NaiveDateTime, _fold: bool, _zone: Zone) -> Option<DateTime<Utc>> {
        Some(naive.and_utc())
    }
}

#[cfg(feature = "django")]
mod zones {
    use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
    pub(crate) use chrono_tz::Tz as Zone;
    use chrono_tz::{GapInfo, Tz};

    pub(crate) const UTC: Zone = Tz::UTC;

    /// The zone of an IANA name.
    pub(crate) fn named(name: &str) -> Result<Zone, &'static str> {
        name.parse().map_err(|_| "there is no such zone; \"Europe/Berlin\" is one")
    }

    /// The time that the clocks of `zone` show at this instant, and Python's `fold`: whether they show
    /// it for the second time.
    ///
    /// At the ends of chrono's range (the years ±262,000), where there is no such time: the time in UTC.
    pub(crate) fn to_local(at: DateTime<Utc>, zone: Tz) -> (NaiveDateTime, bool) {
        let utc = at.naive_utc();
        let offset = zone.offset_from_utc_datetime(&utc).fix();
        let Some(local) = utc.checked_add_offset(offset) else {
            return (utc, false);
        };
        let fold = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Ambiguous(_, second) => second.fix() == offset,
            _ => false,
        };
        (local, fold)
    }

    /// The instant at which the clocks of `zone` show this time; of two, `fold` picks the second.
    ///
    /// A time that they skip is counted on from before the gap, or with `fold` back from after it.
    /// `None` at the ends of chrono's range.
    pub(crate) fn from_local(naive: NaiveDateTime, fold: bool, zone: Tz) -> Option<DateTime<Utc>> {
        let offset = match zone.offset_from_local_datetime(&naive) {
            MappedLocalTime::Single(offset) => offset,
            MappedLocalTime::Ambiguous(_, second) if fold => second,
            MappedLocalTime::Ambiguous(first, _) => first,
            MappedLocalTime::None => {
                let gap = GapInfo::new(&naive, &zone)?;
                if fold { *gap.end?.offset() } else { gap.begin?.1 }
            }
        };
        Some(naive.checked_sub_offset(offset.fix())?.and_utc())
    }

    /// What to store so that a user seen at `known` is offline for readers who subtract in local time, as an
    /// unchanged Django does, and for those who subtract instants. `None` where that is so already.
    ///
    /// In the hour after an autumn change the clocks show times before those that they showed an hour ago,
    /// so that only a time from before the repeated hour is `window` in the past.
    pub(crate) fn offline(
        known: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        window: TimeDelta,
        zone: Tz,
    ) -> Option<DateTime<Utc>> {
        let instant = now - window;
        let shown = to_local(instant, zone).0;
        let back = to_local(now, zone).0 - window;
        let is_offline = |at| at <= instant && to_local(at, zone).0 <= back;
        if known.is_some_and(is_offline) {
            return None;
        }
        // Escaped on the way to `now`, so that it is in no gap. Of the two readings of a repeated time the
        // later is nearer to the truth, unless that were to move the record forward.
        let at = |fold| from_local(back.min(shown), fold, zone).filter(|at| *at <= known.unwrap_or(instant));
        Some(at(true).or_else(|| at(false)).unwrap_or(instant))
    }
}

#[cfg(all(test, feature = "django"))]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;

    const WINDOW: TimeDelta = TimeDelta::seconds(300);
    const SLACK: TimeDelta = TimeDelta::seconds(5);

    fn shown(at: DateTime<Utc>, zone: Zone) -> chrono::NaiveDateTime {
        to_local(at, zone).0
    }

    #[test]
    fn a_signed_out_user_is_offline_by_the_instant_and_by_the_clock_on_the_wall_all_year() {
        for zone in ["Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"] {
            let zone: Zone = zone.parse().unwrap();
            // Both changes of 2026 of each zone, and the hours around them.
            for start in ["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"]
            {
                let start: DateTime<Utc> = format!("{start}T00:00:00Z").parse().unwrap();
                for minute in -300..700 {
                    let now = start + TimeDelta::minutes(minute) + TimeDelta::seconds(2);
                    for known in
                        [None, Some(0), Some(60), Some(299), Some(304), Some(306), Some(3_700), Some(9_999)]
                    {
                        let known = known.map(|ago| now - TimeDelta::seconds(ago));
                        let stored = match (offline(known, now, WINDOW + SLACK, zone), known) {
                            (Some(at), _) => at,
                            (None, Some(known)) => known,
                            (None, None) => panic!("nothing is stored"),
                        };
                        let context = format!("{zone} {now} {known:?} {stored}");
                        assert!(now > stored + WINDOW, "{context}");
                        assert!(shown(now, zone) > shown(stored, zone) + WINDOW, "{context}");
                        assert!(known.is_none_or(|known| stored <= known), "{context}");
                        // What is written is read back as the same instant.
                        let (local, fold) = to_local(stored, zone);
                        assert_eq!(from_local(local, fold, zone), Some(stored), "{context}");
                    }
                }
            }
        }
    }

    #[test]
    fn after_the_autumn_change_the_time_is_from_before_the_repeated_hour() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        // 02:03 for the second time: what was shown five minutes ago is 02:58.
        let now: DateTime<Utc> = "2026-10-25T01:03:00Z".parse().unwrap();
        let stored = offline(Some(now), now, WINDOW + SLACK, zone).unwrap();
        assert_eq!(shown(stored, zone).to_string(), "2026-10-25 01:57:55");
    }
}
