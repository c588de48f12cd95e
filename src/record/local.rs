//! Local times as Python resolves them (PEP 495).

#[cfg(not(feature = "django"))]
pub(crate) use utc::{Zone, from_local, named};
#[cfg(feature = "django")]
pub(crate) use zones::*;

/// Where the rules of a zone come from if not from files.
const BUILT_IN: &str = "built in";

/// Without the feature there is no zone but UTC.
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

/// The rules of a zone are those of the host's zone files, as in its Python: a table compiled in grows old.
#[cfg(feature = "django")]
mod zones {
    use std::{env, ffi::OsString, sync::LazyLock};

    use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Offset as _, TimeDelta, Timelike, Utc};
    use jiff::{
        Timestamp, civil,
        tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
    };

    use super::BUILT_IN;

    /// A clone costs nothing.
    #[derive(Debug, Clone)]
    pub(crate) struct Zone {
        rules: TimeZone,
        files: &'static str,
    }

    /// The first folder of zone files, as the C library looks for it, and our copy for names that it lacks.
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

        /// The folder of the zone's file, or that it is built in.
        pub(crate) fn files(&self) -> &'static str {
            self.files
        }

        /// What the clocks of the zone show.
        pub(crate) fn local(&self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
            at.with_timezone(&self.offset(at))
        }

        /// Beyond the years of jiff, -9999 to 9999, the nearest.
        fn offset(&self, at: DateTime<Utc>) -> FixedOffset {
            let seconds = at.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
            let offset = Timestamp::from_second(seconds).map(|at| self.rules.to_offset(at));
            offset.map_or_else(|_| Utc.fix(), fixed)
        }

        /// Of a local time. `None` beyond the years of jiff.
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
        // jiff's are up to 26 hours; no zone's is a day.
        FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix())
    }

    /// The zone of an IANA name, in the case in which it is written.
    pub(crate) fn named(name: &str) -> Result<Zone, &'static str> {
        // Without a look into a folder of hundreds of files.
        if name == "UTC" {
            return Ok(Zone::UTC);
        }
        let zones = DATABASES.iter().filter_map(|(files, zones)| Some((files, zones.get(name).ok()?)));
        let mut zones = zones.filter(|(_, rules)| rules.iana_name() == Some(name) && !rules.is_unknown());
        let zone = zones.next().map(|(files, rules)| Zone { rules, files });
        zone.ok_or("unknown time zone; use an IANA name such as \"Europe/Berlin\"")
    }

    /// The time that the clocks of `zone` show at this instant, and Python's `fold`: whether they show
    /// it for the second time.
    ///
    /// At the ends of chrono's range (the years ±262,000), where there is no such time: the time in UTC.
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

    /// The instant at which the clocks of `zone` show this time; of two, `fold` picks the second.
    ///
    /// A time that they skip is counted on from before the gap, or with `fold` back from after it.
    /// `None` beyond the years of jiff.
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

    /// What to store so that a user seen at `known` is offline for readers who subtract in local time, as an
    /// unchanged Django does, and for those who subtract instants. `None` where that is so already.
    ///
    /// In the hour after an autumn change the clocks show times before those that they showed an hour ago,
    /// so that only a time from before the repeated hour is `window` in the past.
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

    fn shown(at: DateTime<Utc>, zone: &Zone) -> chrono::NaiveDateTime {
        to_local(at, zone).0
    }

    #[test]
    fn a_signed_out_user_is_offline_by_the_instant_and_by_the_clock_on_the_wall_all_year() {
        for zone in ["Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"] {
            let zone = &named(zone).unwrap();
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
        // 02:03 for the second time: what was shown five minutes ago is 02:58.
        let now: DateTime<Utc> = "2026-10-25T01:03:00Z".parse().unwrap();
        let stored = offline(Some(now), now, WINDOW + SLACK, zone).unwrap();
        assert_eq!(shown(stored, zone).to_string(), "2026-10-25 01:57:55");
    }
}
