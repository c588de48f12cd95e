//! What a view shows of a user, and the rule that decides who is online.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// When a user was last seen, and whether the user is online.
///
/// Serializes as it is to be shown at that moment: `status` (`"online"` or `"offline"`), `online`, `last_seen` (RFC 3339
/// in UTC, or null), `age_s` (whole seconds since then, or null) and `ago` (its text, for templates, which call no
/// methods).
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// let tracker = last_seen::Tracker::in_memory();
/// tracker.seen("alice")?;
/// let alice = tracker.presence("alice")?;
/// assert!(alice.online);
/// assert_eq!(alice.ago().to_string(), "just now");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// The last request of the user, to the second; `None` where there is no record: not seen within
    /// `last_seen_timeout`, or forgotten by the cache.
    pub last_seen: Option<DateTime<Utc>>,
    /// Whether that was within `online_timeout`.
    pub online: bool,
}

impl Presence {
    /// Says who is online at `now`, by the rule that every stack of the site follows: a user is online unless
    /// `now > last_seen + online_timeout`, in whole seconds.
    ///
    /// A time ahead of `now`, from a host whose clock is fast, counts as online up to `online_timeout`
    /// ahead, and not beyond: nobody is online for ever by a bad clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use chrono::{TimeDelta, Utc};
    /// use last_seen::Presence;
    ///
    /// let (now, five_minutes) = (Utc::now(), Duration::from_secs(300));
    /// let seen = |ago| Presence::at(Some(now - TimeDelta::seconds(ago)), now, five_minutes);
    /// assert!(seen(300).online);
    /// assert!(!seen(301).online);
    /// ```
    pub fn at(last_seen: Option<DateTime<Utc>>, now: DateTime<Utc>, online_timeout: Duration) -> Self {
        let online =
            last_seen.is_some_and(|at| now.timestamp().abs_diff(at.timestamp()) <= online_timeout.as_secs());
        Self { last_seen, online }
    }

    /// How long ago that was, for people to read.
    pub fn ago(&self) -> Ago {
        self.ago_at(Utc::now())
    }

    /// How long before `now` that was, for people to read.
    pub fn ago_at(&self, now: DateTime<Utc>) -> Ago {
        let Some(seconds) = self.age(now) else { return Ago::NoRecord };
        match seconds {
            0..60 => Ago::JustNow,
            60..3_600 => Ago::Minutes(seconds / 60),
            3_600..86_400 => Ago::Hours(seconds / 3_600),
            _ => Ago::Days(seconds / 86_400),
        }
    }

    /// Returns the whole seconds from `last_seen` to `now`, or 0 if `last_seen` is ahead.
    fn age(&self, now: DateTime<Utc>) -> Option<u64> {
        self.last_seen.map(|at| u64::try_from(now.timestamp() - at.timestamp()).unwrap_or(0))
    }
}

impl Serialize for Presence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let now = Utc::now();
        let mut fields = serializer.serialize_struct("Presence", 5)?;
        fields.serialize_field("status", if self.online { "online" } else { "offline" })?;
        fields.serialize_field("online", &self.online)?;
        fields.serialize_field("last_seen", &self.last_seen)?;
        fields.serialize_field("age_s", &self.age(now))?;
        fields.serialize_field("ago", &self.ago_at(now))?;
        fields.end()
    }
}

/// How long ago a user was last seen. Displays in English, and serializes as that text; match on it for another
/// language.
///
/// ```
/// # use last_seen::Ago;
/// assert_eq!(Ago::Minutes(3).to_string(), "3 minutes ago");
/// assert_eq!(Ago::Hours(1).to_string(), "1 hour ago");
/// assert_eq!(Ago::NoRecord.to_string(), "awhile ago");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ago {
    /// Less than a minute, or ahead of this host's clock.
    JustNow,
    /// 1 to 59 whole minutes.
    Minutes(u64),
    /// 1 to 23 whole hours.
    Hours(u64),
    /// Whole days.
    Days(u64),
    /// No record: longer ago than is remembered, or never.
    NoRecord,
}

impl Serialize for Ago {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match *self {
            Self::JustNow => return f.pad("just now"),
            Self::NoRecord => return f.pad("awhile ago"),
            Self::Minutes(count) => (count, "minute"),
            Self::Hours(count) => (count, "hour"),
            Self::Days(count) => (count, "day"),
        };
        f.pad(&format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" }))
    }
}
