//! What Ruby's Marshal makes of a time, a number and a string.

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    local::Zone,
    text::{by_magnitude, plain},
};

/// Marshal's version, 4.8.
pub(super) const HEAD: &[u8] = b"\x04\x08";

/// What stands after the [`HEAD`].
pub(super) fn read(bytes: &[u8], zone: &Zone) -> Option<DateTime<Utc>> {
    match bytes {
        // An Integer beyond 30 bits, in words of 16.
        [b'l', b'+', words @ 7..=9, number @ ..] if number.len() == (usize::from(*words) - 5) * 2 => {
            let mut all = [0; 8];
            all[..number.len()].copy_from_slice(number);
            by_magnitude(i64::from_le_bytes(all), 0)
        }
        [b'f', length, number @ ..] => {
            plain(std::str::from_utf8(counted(*length, number, &[b""])?).ok()?, zone)
        }
        // A String, and that its encoding is UTF-8 or ASCII.
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

/// As many bytes as the length says, in the one byte that it has up to 122, with one of these behind them.
fn counted<'a>(length: u8, bytes: &'a [u8], ends: &[&[u8]]) -> Option<&'a [u8]> {
    let (text, end) = bytes.split_at_checked(usize::from(length.checked_sub(5)?))?;
    (length < 128 && ends.contains(&end)).then_some(text)
}

/// A Time, which is in UTC whatever the zone that is noted behind it.
fn packed(date: u32, time: u32) -> Option<DateTime<Utc>> {
    let bits = |word: u32, from: u32, count: u32| word >> from & ((1 << count) - 1);
    if bits(date, 31, 1) == 0 {
        return None;
    }
    let year = i32::try_from(bits(date, 14, 16)).ok()? + 1900;
    let day = NaiveDate::from_ymd_opt(year, bits(date, 10, 4) + 1, bits(date, 5, 5))?;
    let micros = bits(time, 0, 20);
    // chrono would take two million for a leap second.
    let at = (micros < 1_000_000)
        .then(|| day.and_hms_micro_opt(bits(date, 0, 5), bits(time, 26, 6), bits(time, 20, 6), micros))??;
    Some(at.and_utc())
}
