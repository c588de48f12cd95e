//! The record that all programs of a site share: a key for the user, a value for the time. Contains no network code.

mod key;
mod local;
#[cfg(feature = "django")]
mod pickle;
mod ruby;
mod text;
mod tombstone;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub(crate) use key::{Key, KeyBuffer, Keys, MAX_KEY, is_key_byte};
pub(crate) use local::{Zone, named as zone_named};
#[cfg(feature = "who")]
pub(crate) use tombstone::is_tombstone;
pub(crate) use tombstone::{Kind, TOMBSTONE_TIMEOUT, Tombstone, end_of_second, next_tick};

use crate::error::{Error, InvalidRecordError, Result};

/// The longest value that is decoded, in bytes. No format of a time needs more.
pub(crate) const MAX_VALUE: usize = 1024;

/// A value as memcached stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) flags: u32,
    pub(crate) bytes: Vec<u8>,
}

/// A format in which times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    UnixSeconds,
    /// A pickled datetime without a zone, in local time.
    #[cfg(feature = "django")]
    NaiveDatetime,
    /// A pickled datetime in UTC, with its zone.
    #[cfg(feature = "django")]
    AwareDatetime,
}

/// Encodes and decodes times.
#[derive(Debug, Clone)]
pub(crate) struct Codec {
    pub(crate) form: Form,
    /// The zone of datetimes without one.
    pub(crate) zone: Zone,
    pub(crate) online_timeout: Duration,
}

impl Codec {
    /// Returns a codec that writes Unix seconds and reads datetimes without a zone as UTC.
    pub(crate) fn new(online_timeout: Duration) -> Self {
        Self { form: Form::UnixSeconds, zone: Zone::UTC, online_timeout }
    }

    /// Encodes the time at which a user was seen. Unix seconds are ASCII digits with flags 0, which the stock clients
    /// of all languages read as a number with one call. The other forms are what an unchanged Django writes.
    pub(crate) fn encode(&self, at: DateTime<Utc>) -> Result<Value> {
        if !(0..=253_402_300_799).contains(&at.timestamp()) {
            return Err(Error::InvalidTime { time: at });
        }
        Ok(match self.form {
            Form::UnixSeconds => Value { flags: 0, bytes: at.timestamp().to_string().into_bytes() },
            // Django's libraries give a pickle these flags.
            #[cfg(feature = "django")]
            Form::NaiveDatetime => Value { flags: 1, bytes: pickle::write_naive(at, &self.zone).to_vec() },
            #[cfg(feature = "django")]
            Form::AwareDatetime => Value { flags: 1, bytes: pickle::write_aware(at).to_vec() },
        })
    }

    /// Decodes the time in a value, whichever program wrote it. Recognizes the format by the bytes: each client numbers
    /// the flags in its own way, and the setting `format` applies to writing only. Returns an error if the time is more
    /// than `online_timeout` ahead of `now`.
    pub(crate) fn decode(
        &self,
        key: &str,
        flags: u32,
        bytes: &[u8],
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>> {
        let error = |source| Error::InvalidRecord { key: key.to_owned(), source };
        let unreadable = |why| error(InvalidRecordError::unreadable(flags, bytes, why));
        // The fast path for Unix seconds, the default format.
        let at = match text::whole_seconds(bytes) {
            Some(seconds) => DateTime::from_timestamp(seconds, 0).ok_or(None),
            None => self.read(bytes).map(|(at, _)| at),
        };
        let at = at.map_err(unreadable)?;
        let ahead = TimeDelta::seconds(at.timestamp() - now.timestamp());
        if ahead > seconds(self.online_timeout) {
            return Err(error(InvalidRecordError::ahead(at, ahead)));
        }
        Ok(at)
    }

    /// Returns the form of a value; `None` if it is not a time, or is in a form that is read and never written.
    pub(crate) fn form_of(&self, bytes: &[u8]) -> Option<Form> {
        self.read(bytes).ok()?.1
    }

    fn read(&self, bytes: &[u8]) -> Result<(DateTime<Utc>, Option<Form>), Option<&'static str>> {
        if bytes.len() > MAX_VALUE {
            return Err(None);
        }
        let is_pickle = bytes.starts_with(b"\x80") || bytes.starts_with(b"cdatetime\n");
        // Pickled numbers of protocols 0 and 1 begin and end with these bytes, and ordinary text may too.
        #[cfg(feature = "django")]
        if is_pickle || matches!(bytes, [b'F' | b'G' | b'I'..=b'M', .., b'.']) {
            return pickle::read(bytes, &self.zone).map_err(|why| is_pickle.then_some(why));
        }
        #[cfg(not(feature = "django"))]
        if is_pickle {
            return Err(Some("a pickle, which the feature `django` reads"));
        }
        if let Some(value) = bytes.strip_prefix(ruby::HEAD) {
            let at = ruby::read(value, &self.zone).map(|at| (at, None));
            return at.ok_or(Some("Ruby's Marshal of something else than a time"));
        }
        text::read(bytes, &self.zone).ok_or(None)
    }

    /// Returns the time to store so that a user last seen at `known` is offline at `now` for every reader. Returns
    /// `None` if the user is offline already. A `known` of `None` may be a time far ahead, which other readers take
    /// for online.
    pub(crate) fn offline(&self, known: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let window = seconds(self.online_timeout) + CLOCK_SLACK;
        match self.form {
            #[cfg(feature = "django")]
            Form::NaiveDatetime => local::offline(known, now, window, &self.zone),
            // Every reader reads the other forms as instants, so local times do not matter.
            _ => {
                let offline = now - window;
                known.is_none_or(|known| known > offline).then_some(offline)
            }
        }
    }
}

/// How much the clocks of a site's hosts may differ. Beyond that a signed-out user may show as online.
pub(crate) const CLOCK_SLACK: TimeDelta = TimeDelta::seconds(5);

/// Converts a duration from the settings. The longest is `settings::MAX_LAST_SEEN_TIMEOUT`, which fits.
fn seconds(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use arbtest::{
        arbitrary::{Result, Unstructured},
        arbtest,
    };

    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn codec() -> Codec {
        Codec::new(WINDOW)
    }

    /// The corpus holds the seeds of the fuzzer and the inputs that it has found.
    #[test]
    fn no_value_of_the_fuzzing_corpus_makes_the_reader_panic() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/value");
        let mut read = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let _ = codec().decode("seen_fuzz", bytes[0].into(), &bytes[1..], Utc::now());
            read += 1;
        }
        assert!(read >= 47, "{read} files");
    }

    /// Generates any bytes, or characters that occur in times, or an almost valid date.
    fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        match u.int_in_range(0..=2)? {
            0 => u.arbitrary(),
            1 => string(u, 40, b"-+ 0123456789.eTZ:"),
            _ => {
                let mut text = [string(u, 5, b"0123456789")?, b"-11-24T03:00:59".to_vec()].concat();
                for _ in 0..u.int_in_range(0..=2)? {
                    let at = u.choose_index(text.len())?;
                    text[at] = *u.choose(b"0123456789")?;
                }
                if u.arbitrary()? {
                    text.push(b'.');
                    text.extend(string(u, 12, b"0123456789")?);
                }
                text.extend(string(u, 7, b"Zz+-0123456789:")?);
                Ok(text)
            }
        }
    }

    fn string(u: &mut Unstructured<'_>, longest: usize, of: &[u8]) -> Result<Vec<u8>> {
        (0..u.int_in_range(0..=longest)?).map(|_| u.choose(of).copied()).collect()
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        arbtest(|u| {
            let (bytes, now) = (value(u)?, Utc::now());
            if let Ok(at) = codec().decode("seen_alice", u.arbitrary()?, &bytes, now) {
                assert!(at <= now + seconds(WINDOW) + TimeDelta::seconds(1), "{at}");
            }
            Ok(())
        })
        .budget_ms(1_000);
    }

    /// Covers every form that is read except pickles, which have their own test.
    #[test]
    fn no_change_of_a_byte_and_no_cut_makes_the_reader_panic() {
        // Trying all values of each byte takes a debug build 20 seconds.
        let step = if cfg!(debug_assertions) { 7 } else { 1 };
        for value in [
            &b"1774787696.789012"[..],
            b"\"2026-03-29T12:34:56.789+02:00\"\n",
            b"2026-03-29 14:34:56.789 +0200 CEST m=+0.0123",
            b"Sunday, 29-Mar-2026 12:34:56 UTC",
            b"Sun Mar 29 2026 14:34:56 GMT+0200 (CEST)",
            br#"s:20:"2026-03-29T12:34:56Z";"#,
            br#"O:8:"DateTime":3:{s:4:"date";s:26:"2026-03-29 12:34:56.000000";s:13:"timezone_type";i:1;s:8:"timezone";s:6:"+02:00";}"#,
            b"\x04\x08l+\x09\x14\x068\xf6(N\x06\0",
            b"\x04\x08I\"\x0f1774787696\x06:\x06ET",
            b"\x04\x08Iu:\tTime\r\xac\x8b\x1f\x80\0\0\x80\x8b\x06:\tzone0",
        ] {
            let read = |bytes: &[u8]| codec().decode("seen_alice", 0, bytes, Utc::now());
            read(value).unwrap();
            for at in 0..value.len() {
                let _ = read(&value[..at]);
                let mut changed = value.to_vec();
                for byte in (0..=u8::MAX).skip(at % step).step_by(step) {
                    changed[at] = byte;
                    let _ = read(&changed);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        arbtest(|u| {
            let at = DateTime::from_timestamp(u.int_in_range(0..=253_402_300_799)?, 0).unwrap();
            let value = codec().encode(at).unwrap();
            // Larger numbers are read as milliseconds. As seconds they are 3,000 years in the future.
            if at.timestamp() < 100_000_000_000 {
                assert_eq!(codec().decode("seen_alice", value.flags, &value.bytes, at).unwrap(), at);
            }
            Ok(())
        });
    }
}
