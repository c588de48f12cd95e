//! Reads times, numbers and strings that Ruby's Marshal has written.

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    local::Zone,
    text::{by_magnitude, plain},
};

/// The version bytes at the start of Marshal's format, for version 4.8.
pub(super) const HEAD: &[u8] = b"\x04\x08";

/// Reads a value without its [`HEAD`].
pub(super) fn read(bytes: &[u8], zone: &Zone) -> Option<DateTime<Utc>> {
    match bytes {
        // An Integer of more than 30 bits, in 16-bit words.
        [b'l', b'+', words @ 7..=9, number @ ..] if number.len() == (usize::from(*words) - 5) * 2 => {
            let mut all = [0; 8];
            all[..number.len()].copy_from_slice(number);
            by_magnitude(i64::from_le_bytes(all), 0)
        }
        [b'f', length, number @ ..] => {
            plain(std::str::from_utf8(counted(*length, number, &[b""])?).ok()?, zone)
        }
        // A String whose encoding is UTF-8 or ASCII.
        [b'I', b'"', length, rest @ ..] => {
            let text = counted(*length, rest, &[b"\x06:\x06ET", b"\x06:\x06EF"])?;
            plain(std::str::from_utf8(text).ok()?, zone)
        }
        _ => {
            let time = bytes.strip_prefix(b"Iu:\x09Time\x0d")?;
            let (date, time) =
                (u32::from_le_bytes(*time.first_chunk()?), u32::from_le_bytes(*time[4..].first_chunk()?));
            packed(date, time)
        }
    }
}

/// Reads the text before the end, which must be one of `ends`. Marshal encodes a length up to 122 as one byte, plus 5.
fn counted<'a>(length: u8, bytes: &'a [u8], ends: &[&[u8]]) -> Option<&'a [u8]> {
    let (text, end) = bytes.split_at_checked(usize::from(length.checked_sub(5)?))?;
    (length < 128 && ends.contains(&end)).then_some(text)
}

/// Decodes a Time, which is in UTC regardless of the zone that follows it.
fn packed(date: u32, time: u32) -> Option<DateTime<Utc>> {
    let bits = |word: u32, from: u32, count: u32| word >> from & ((1 << count) - 1);
    if bits(date, 31, 1) == 0 {
        return None;
    }
    let year = i32::try_from(bits(date, 14, 16)).ok()? + 1900;
    let day = NaiveDate::from_ymd_opt(year, bits(date, 10, 4) + 1, bits(date, 5, 5))?;
    let micros = bits(time, 0, 20);
    // chrono takes 1,000,000 to 1,999,999 microseconds for a leap second.
    let at = (micros < 1_000_000)
        .then(|| day.and_hms_micro_opt(bits(date, 0, 5), bits(time, 26, 6), bits(time, 20, 6), micros))??;
    Some(at.and_utc())
}
