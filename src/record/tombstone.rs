//! The tombstone that a sign-out or a `forget` stores for a day. It cancels older sightings that any process has yet to
//! write. It contains a hash of the user's name, not the name.

use arrayvec::ArrayString;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::{DateTime, TimeDelta, Utc};

use super::{CLOCK_SLACK, Key, Value};

/// The lifetime of a tombstone. A sighting that was queued for longer is dropped.
pub(crate) const TOMBSTONE_TIMEOUT: TimeDelta = TimeDelta::days(1);

/// Base64 digits of a time. Their 48 bits count ticks of 16 µs since 1970, up to the year 2112.
const DIGITS: usize = 8;
const TICK_MICROS: i64 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SignedOut,
    Forgotten,
}

/// The times when the user last signed out and was last forgotten, in ticks since 1970; 0 means never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tombstone {
    signed_out: u64,
    forgotten: u64,
}

impl Key {
    /// Returns the key of the record's tombstone, which is stored on the record's server. With its value the tombstone
    /// is as large as a record, so that memcached does not evict it earlier.
    pub(crate) fn tombstone(&self) -> ArrayString<21> {
        let md5 = md5::compute(self.as_str()).0;
        let mut text = *b"gone:0123456789abcdef";
        let encoded = BASE64.encode_slice(&md5[..12], &mut text[5..]);
        debug_assert_eq!(encoded, Ok(16));
        ArrayString::from_byte_string(&text).unwrap_or_default()
    }
}

/// Returns whether the key belongs to a tombstone, not to a user's record.
#[cfg(any(test, feature = "who"))]
pub(crate) fn is_tombstone(key: &str) -> bool {
    key.len() == 21 && key.starts_with("gone:")
}

impl Tombstone {
    /// Decodes a tombstone. A value in any other format reads as an empty tombstone. A time more than [`CLOCK_SLACK`]
    /// ahead of `now` is ignored.
    pub(crate) fn read(bytes: &[u8], now: DateTime<Utc>) -> Self {
        let latest = ticks(end_of_second(now + CLOCK_SLACK));
        let time = |digits: &[u8]| {
            let (mut ticks, mut six) = ([0; 8], [0; 6]);
            BASE64.decode_slice(digits, &mut six).ok().filter(|&len| len == 6)?;
            ticks[2..].copy_from_slice(&six);
            Some(u64::from_be_bytes(ticks)).filter(|&ticks| ticks <= latest)
        };
        match bytes.split_at_checked(DIGITS) {
            Some((signed_out, forgotten)) if forgotten.len() == DIGITS => Self {
                signed_out: time(signed_out).unwrap_or_default(),
                forgotten: time(forgotten).unwrap_or_default(),
            },
            _ => Self::default(),
        }
    }

    pub(crate) fn value(self) -> Value {
        let mut bytes = vec![0; 2 * DIGITS];
        for (time, digits) in [self.signed_out, self.forgotten].iter().zip(bytes.chunks_mut(DIGITS)) {
            let encoded = BASE64.encode_slice(&time.to_be_bytes()[2..], digits);
            debug_assert_eq!(encoded, Ok(DIGITS));
        }
        Value { flags: 0, bytes }
    }

    /// Adds a sign-out or a `forget`. Keeps the later time of each kind.
    #[must_use]
    pub(crate) fn with(mut self, kind: Kind, at: DateTime<Utc>) -> Self {
        let time = match kind {
            Kind::SignedOut => &mut self.signed_out,
            Kind::Forgotten => &mut self.forgotten,
        };
        *time = (*time).max(ticks(at));
        self
    }

    /// Returns whether the tombstone cancels a sighting of that time. A sighting later in the tombstone's tick counts,
    /// because the process that signed the user out may see the user again within that tick.
    pub(crate) fn beats(self, seen: DateTime<Utc>) -> bool {
        seen <= self.latest()
    }

    /// Returns whether the user was forgotten at that time or later.
    pub(crate) fn forgets(self, seen: DateTime<Utc>) -> bool {
        seen <= time(self.forgotten)
    }

    /// Returns when the user last signed out or was forgotten, whichever is later.
    pub(crate) fn latest(self) -> DateTime<Utc> {
        time(self.signed_out.max(self.forgotten))
    }

    /// Returns when the user last signed out.
    pub(crate) fn signed_out(self) -> DateTime<Utc> {
        time(self.signed_out)
    }
}

/// Returns the start of the next tick. A tombstone of that time cancels a sighting of the time `at`.
pub(crate) fn next_tick(at: DateTime<Utc>) -> DateTime<Utc> {
    time(ticks(at) + 1)
}

pub(crate) fn end_of_second(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 999_999_999).unwrap_or(time)
}

fn ticks(at: DateTime<Utc>) -> u64 {
    at.timestamp_micros().max(0).cast_unsigned() / TICK_MICROS.cast_unsigned()
}

/// Converts ticks to a time. 0, which means never, becomes the earliest time.
fn time(ticks: u64) -> DateTime<Utc> {
    let micros = ticks.cast_signed().saturating_mul(TICK_MICROS);
    let time = (ticks > 0).then(|| DateTime::from_timestamp_micros(micros)).flatten();
    time.unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn what_is_written_is_read_back_and_has_the_size_of_a_record() {
        let now = at(1_795_489_200_120);
        let tombstone = Tombstone::default().with(Kind::SignedOut, now).with(Kind::Forgotten, at(7));
        let value = tombstone.value();
        assert_eq!(Tombstone::read(&value.bytes, now), tombstone);
        let key = Key::new("seen_", "alice").unwrap().tombstone();
        assert_eq!((key.as_str().len(), value.bytes.len()), (21, 16));
        assert!(!key.as_str().contains("alice") && is_tombstone(key.as_str()));
        assert_ne!(key, Key::new("seen_", "alicf").unwrap().tombstone());
        assert_eq!(tombstone.signed_out(), now);
    }

    #[test]
    fn the_latest_of_several_counts() {
        let tombstone = Tombstone::default().with(Kind::SignedOut, at(9)).with(Kind::SignedOut, at(5));
        assert_eq!(tombstone, Tombstone::default().with(Kind::SignedOut, at(9)));
    }

    #[test]
    fn it_beats_what_was_seen_before_it_and_no_more() {
        let tombstone = Tombstone::default().with(Kind::SignedOut, at(9_000));
        assert!(tombstone.beats(at(9_000)) && !tombstone.forgets(at(9_000)));
        assert!(!tombstone.beats(at(9_000) + TimeDelta::microseconds(1)));
        assert!(
            Tombstone::default()
                .with(Kind::SignedOut, next_tick(at(9_000)))
                .beats(at(9_000) + TimeDelta::microseconds(15))
        );
        let tombstone = tombstone.with(Kind::Forgotten, at(8_000));
        assert!(tombstone.forgets(at(8_000)) && !tombstone.forgets(at(8_001)));
        assert!(!Tombstone::default().beats(DateTime::UNIX_EPOCH));
    }

    #[test]
    fn what_is_none_of_ours_or_far_ahead_says_nothing() {
        let now = at(1_795_489_200_000);
        for bytes in [
            &b""[..],
            b"1795489200",
            b"////////////////",
            b"AAAAAAAAAAAAAAA",
            b"\xff\xff\xff\xff\xff\xff\xff\xff00000000",
        ] {
            assert_eq!(Tombstone::read(bytes, now), Tombstone::default(), "{bytes:?}");
        }
        let ahead = Tombstone::default().with(Kind::Forgotten, now + TimeDelta::seconds(6));
        assert_eq!(Tombstone::read(&ahead.value().bytes, now), Tombstone::default());
        let ahead = Tombstone::default().with(Kind::Forgotten, now + TimeDelta::seconds(5));
        assert_eq!(Tombstone::read(&ahead.value().bytes, now), ahead);
    }
}
