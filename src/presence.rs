//! What a view shows of a user, and the rule that decides who is online.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Tells when a user was last seen, and whether the user is online.
///
/// Serializes as it is at that moment: `status` (`"online"` or `"offline"`), `online`, `last_seen` (RFC 3339 in UTC, or
/// null), `age_s` (whole seconds since then, or null) and `ago` (text, for templates, which call no methods).
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
    /// Holds the time of the user's last request: to the second, unless a Django site or other code stored a fraction. `None`
    /// if there is no record: the user was not seen within `last_seen_timeout`, or memcached evicted the record.
    pub last_seen: Option<DateTime<Utc>>,
    /// Tells whether that was within `online_timeout`.
    pub online: bool,
}

impl Presence {
    /// Works out the presence at `now`, by the rule that all programs of a site follow: a user is online unless
    /// `now > last_seen + online_timeout`, in whole seconds.
    ///
    /// A time in the future (the writer's clock is fast) counts as online if it is at most `online_timeout` ahead, and as
    /// offline beyond that, so that a bad clock cannot keep a user online forever.
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

    /// Returns how long ago the user was last seen, for people to read.
    pub fn ago(&self) -> Ago {
        self.ago_at(Utc::now())
    }

    /// Returns how long before `now` the user was last seen, for people to read.
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

/// Tells how long ago a user was last seen. Displays in English, and serializes as that text; match on it for another
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
    /// Stands for less than a minute, and for times ahead of this host's clock.
    JustNow,
    /// Counts whole minutes, 1 to 59.
    Minutes(u64),
    /// Counts whole hours, 1 to 23.
    Hours(u64),
    /// Counts whole days, 1 or more.
    Days(u64),
    /// Stands for a user without a record, who was never seen, or longer ago than is remembered; displays as "awhile ago".
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
