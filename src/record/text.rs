//! Times that people and programs write as text.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{
    Form,
    local::{Zone, from_local},
};

/// Whole or decimal seconds, milliseconds and microseconds by magnitude, RFC 3339 and ISO 8601; a date
/// without a zone is a local time of `zone`. With the form, if that is written too.
pub(super) fn read(bytes: &[u8], zone: &Zone) -> Option<(DateTime<Utc>, Option<Form>)> {
    if let Some(seconds) = whole_seconds(bytes) {
        return Some((DateTime::from_timestamp(seconds, 0)?, Some(Form::UnixSeconds)));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some((number(text).or_else(|| date(text, zone))?, None))
}

/// The form that is written, at less cost than the others.
fn whole_seconds(bytes: &[u8]) -> Option<i64> {
    let digit = |number, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'));
    (1..=11).contains(&bytes.len()).then(|| bytes.iter().try_fold(0, digit))?
}

fn date(text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
    // The parser below takes longer years, signs and blanks too.
    if !text.as_bytes().iter().take(4).all(u8::is_ascii_digit) || text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    let zoned = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"));
    if let Ok(at) = zoned {
        return Some(at.to_utc());
    }
    let format = if text.contains('T') { "%Y-%m-%dT%H:%M:%S%.f" } else { "%Y-%m-%d %H:%M:%S%.f" };
    from_local(NaiveDateTime::parse_from_str(text, format).ok()?, false, zone)
}

fn number(text: &str) -> Option<DateTime<Utc>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    match whole {
        // Seconds up to the year 5138, milliseconds from 1973 to 5138, microseconds from 1973.
        ..100_000_000_000 => {
            let nine_digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
            let nanos = nine_digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
            DateTime::from_timestamp(whole, nanos)
        }
        100_000_000_000..100_000_000_000_000 => DateTime::from_timestamp_millis(whole),
        _ => DateTime::from_timestamp_micros(whole),
    }
}
