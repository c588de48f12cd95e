//! Converts local times as Python does (PEP 495).

#[cfg(not(feature = "django"))]
pub(crate) use utc::{Zone, from_local, named};
#[cfg(feature = "django")]
pub(crate) use zones::*;

/// Named as the source of a zone's rules that were not read from a file.
const BUILT_IN: &str = "built in";

/// Supports UTC alone, without the feature `django`.
#[cfg(not(feature = "django"))]
mod utc {
    use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};

    #[derive(Debug, Clone)]
    pub(crate) struct Zone;

    impl Zone {
        pub(crate) const UTC: Self = Self;

        pub(crate) fn files(&self) -> &'static str {
            super::BUILT_IN
        }

        pub(crate) fn local(&self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
            at.into()
        }
    }

    pub(crate) fn named(name: &str) -> Result<Zone, &'static str> {
        (name == "UTC").then_some(Zone).ok_or("any zone but UTC needs the feature `django`")
    }

    pub(crate) fn from_local(naive: NaiveDateTime, _fold: bool, _zone: &Zone) -> Option<DateTime<Utc>> {
        Some(naive.and_utc())
    }
}

/// Takes a zone's rules from the host's zone files, as its Python does: rules compiled in would become outdated.
#[cfg(feature = "django")]
mod zones {
    use std::{env, ffi::OsString, sync::LazyLock};

    use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Offset as _, TimeDelta, Timelike, Utc};
    use jiff::{
        Timestamp, civil,
        tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
    };

    use super::BUILT_IN;

    /// A time zone. Cheap to clone.
    #[derive(Debug, Clone)]
    pub(crate) struct Zone {
        rules: TimeZone,
        files: &'static str,
    }

    /// The first folder of zone files in the C library's search order, then the built-in copy for names that it lacks.
    static DATABASES: LazyLock<Vec<(String, TimeZoneDatabase)>> = LazyLock::new(|| {
        let folders = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"].map(OsString::from);
        let folders = env::var_os("TZDIR").into_iter().chain(folders);
        let open =
            |folder: OsString| Some((folder.display().to_string(), TimeZoneDatabase::from_dir(folder).ok()?));
        let files = folders.filter_map(open);
        files.take(1).chain([(BUILT_IN.to_owned(), TimeZoneDatabase::bundled())]).collect()
    });

    impl Zone {
        pub(crate) const UTC: Self = Self { rules: TimeZone::UTC, files: BUILT_IN };

        /// Returns the folder of the zone's file, or [`BUILT_IN`].
        pub(crate) fn files(&self) -> &'static str {
            self.files
        }

        /// Returns the zone's local time at an instant.
        pub(crate) fn local(&self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
            at.with_timezone(&self.offset(at))
        }

        /// Returns the zone's offset at an instant. Outside jiff's years, -9999 to 9999, the nearest one counts.
        fn offset(&self, at: DateTime<Utc>) -> FixedOffset {
            let seconds = at.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
            let offset = Timestamp::from_second(seconds).map(|at| self.rules.to_offset(at));
            offset.map_or_else(|_| Utc.fix(), fixed)
        }

        /// Returns the possible offsets of a local time; `None` outside jiff's years.
        fn offsets(&self, local: NaiveDateTime) -> Option<AmbiguousOffset> {
            let [month, day, hour, minute, second] =
                [local.month(), local.day(), local.hour(), local.minute(), local.second()]
                    .map(|field| i8::try_from(field).unwrap_or_default());
            let year = local.year().try_into().ok()?;
            let local = civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
            Some(self.rules.to_ambiguous_timestamp(local).offset())
        }
    }

    fn fixed(offset: Offset) -> FixedOffset {
        // jiff allows up to 26 hours, chrono less than 24. No zone's offset is that large.
        FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix())
    }

    /// Returns the zone with an IANA name, which is case-sensitive here.
    pub(crate) fn named(name: &str) -> Result<Zone, &'static str> {
        // Saves a search through a folder of hundreds of files.
        if name == "UTC" {
            return Ok(Zone::UTC);
        }
        let zones = DATABASES.iter().filter_map(|(files, zones)| Some((files, zones.get(name).ok()?)));
        let mut zones = zones.filter(|(_, rules)| rules.iana_name() == Some(name) && !rules.is_unknown());
        let zone = zones.next().map(|(files, rules)| Zone { rules, files });
        zone.ok_or("unknown time zone; use an IANA name such as \"Europe/Berlin\"")
    }

    /// Returns the local time of an instant in `zone`, and Python's `fold`: whether the clocks show that time for the
    /// second time.
    ///
    /// Returns the time in UTC at the ends of chrono's range (the years ±262,000), where the local time does not fit.
    pub(crate) fn to_local(at: DateTime<Utc>, zone: &Zone) -> (NaiveDateTime, bool) {
        let (utc, offset) = (at.naive_utc(), zone.offset(at));
        let Some(local) = utc.checked_add_offset(offset) else {
            return (utc, false);
        };
        let fold = match zone.offsets(local) {
            Some(AmbiguousOffset::Fold { after, .. }) => fixed(after) == offset,
            _ => false,
        };
        (local, fold)
    }

    /// Returns the instant of a local time in `zone`. If the time occurs twice, `fold` selects the second instant.
    ///
    /// A time that the clocks skip has the offset from before the gap, or with `fold` the offset from after it. Returns
    /// `None` outside jiff's years.
    pub(crate) fn from_local(naive: NaiveDateTime, fold: bool, zone: &Zone) -> Option<DateTime<Utc>> {
        let offset = match zone.offsets(naive)? {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                if fold {
                    after
                } else {
                    before
                }
            }
        };
        Some(naive.checked_sub_offset(fixed(offset))?.and_utc())
    }

    /// Returns the time to store so that a user last seen at `known` is offline for all readers: those that subtract
    /// local times, as an unchanged Django does, and those that subtract instants. Returns `None` if the user is
    /// offline already.
    ///
    /// When the clocks are set back, an hour of local times repeats. During the second pass, only a time from before
    /// the repeated hour is `window` in the past for both kinds of reader.
    pub(crate) fn offline(
        known: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        window: TimeDelta,
        zone: &Zone,
    ) -> Option<DateTime<Utc>> {
        let instant = now - window;
        let shown = to_local(instant, zone).0;
        let back = to_local(now, zone).0 - window;
        let is_offline = |at| at <= instant && to_local(at, zone).0 <= back;
        if known.is_some_and(is_offline) {
            return None;
        }
        // The earlier of the two local times is never in a gap. If it occurs twice, the later instant is closer to the
        // truth, unless it would move the record forward.
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

    fn shown(at: DateTime<Utc>, zone: &Zone) -> chrono::NaiveDateTime {
        to_local(at, zone).0
    }

    #[test]
    fn a_signed_out_user_is_offline_by_the_instant_and_by_the_clock_on_the_wall_all_year() {
        for zone in ["Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"] {
            let zone = &named(zone).unwrap();
            // Both clock changes of 2026 in each zone, and the hours around them.
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
                        let context = format!("{zone:?} {now} {known:?} {stored}");
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
        let zone = &named("Europe/Berlin").unwrap();
        // The clocks show 02:03 for the second time. Five minutes ago they showed 02:58.
        let now: DateTime<Utc> = "2026-10-25T01:03:00Z".parse().unwrap();
        let stored = offline(Some(now), now, WINDOW + SLACK, zone).unwrap();
        assert_eq!(shown(stored, zone).to_string(), "2026-10-25 01:57:55");
    }
}
