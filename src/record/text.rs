//! Reads times that people and programs have written as text.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{
    Form,
    local::{Zone, from_local},
};

/// The formats of dates with an offset: ISO 8601, RFC 1123, PHP's cookies, the shell's `date` and JavaScript's
/// `String(new Date())`.
const WITH_OFFSET: [&str; 6] = [
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%A, %d-%b-%Y %H:%M:%S %z",
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %Y %H:%M:%S %z",
];

/// Reads a number of seconds (whole or decimal), milliseconds, microseconds or nanoseconds, told apart by magnitude.
/// Also reads dates, and numbers, strings and dates that PHP has serialized. Ignores JSON's quotes, spaces, line ends
/// and NULs around them. Returns the form too, if it is one that is also written.
pub(super) fn read(bytes: &[u8], zone: &Zone) -> Option<(DateTime<Utc>, Option<Form>)> {
    if let Some(seconds) = whole_seconds(bytes) {
        return Some((DateTime::from_timestamp(seconds, 0)?, Some(Form::UnixSeconds)));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_matches([' ', '\t', '\r', '\n', '\0']);
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Some((plain(text, zone).or_else(|| php(text, zone))?, None))
}

/// Reads a bare number or date. A date without a zone is a local time in `zone`.
pub(super) fn plain(text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
    number(text).or_else(|| date(text, zone))
}

/// Reads Unix seconds of 1 to 11 ASCII digits, the default format. Longer numbers have a finer unit.
pub(super) fn whole_seconds(bytes: &[u8]) -> Option<i64> {
    let digit = |number, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'));
    (1..=11).contains(&bytes.len()).then(|| bytes.iter().try_fold(0, digit))?
}

fn date(text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
    let begins_with_a_year = text.split('-').next().is_some_and(|year| {
        // chrono's parser also accepts longer years, signs and spaces.
        year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !begins_with_a_year && !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let with_offset = with_offset(text);
    let mut zoned =
        WITH_OFFSET.iter().filter_map(|format| DateTime::parse_from_str(&with_offset, format).ok());
    if let Some(at) = zoned.next() {
        return Some(at.to_utc());
    }
    let format = if text.contains('T') { "%Y-%m-%dT%H:%M:%S%.f" } else { "%Y-%m-%d %H:%M:%S%.f" };
    from_local(NaiveDateTime::parse_from_str(text, format).ok()?, false, zone)
}

/// Replaces `UTC` and `GMT` with an offset in digits. Removes what some programs write after an offset: the zone's
/// name, and Go's reading of the monotonic clock. Other zone names stay, so that the date is refused: `CST` means one
/// offset in Chicago and another in Shanghai.
fn with_offset(text: &str) -> String {
    let is_offset = |word: &str| word.len() == 5 && word.starts_with(['+', '-']);
    let text = text.split(" m=").next().unwrap_or(text);
    let text = text.split(" (").next().unwrap_or(text);
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        let word = word.strip_prefix("GMT").filter(|offset| is_offset(offset)).unwrap_or(word);
        match word {
            _ if words.last().is_some_and(|last| is_offset(last))
                && !word.starts_with(|c: char| c.is_ascii_digit()) => {}
            "UTC" | "GMT" => words.push("+0000"),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn number(text: &str) -> Option<DateTime<Utc>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let nine_digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    by_magnitude(
        whole.parse().ok()?,
        nine_digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')),
    )
}

/// Converts a number by its magnitude: seconds up to the year 5138, milliseconds from 1973 to 5138, and microseconds
/// and nanoseconds likewise. `nanos` is the fraction of a second, and is ignored if the unit is finer.
pub(super) fn by_magnitude(whole: i64, nanos: u32) -> Option<DateTime<Utc>> {
    match whole {
        ..0 => None,
        0..100_000_000_000 => DateTime::from_timestamp(whole, nanos),
        100_000_000_000..100_000_000_000_000 => DateTime::from_timestamp_millis(whole),
        100_000_000_000_000..100_000_000_000_000_000 => DateTime::from_timestamp_micros(whole),
        _ => Some(DateTime::from_timestamp_nanos(whole)),
    }
}

/// Reads a number, string, `DateTime` or `DateTimeImmutable` that PHP has serialized. Accepts no zones but offsets and
/// UTC: PHP has its own table of zones, and does not say which of two repeated hours it means.
fn php(text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
    if let Some(value) = text.strip_prefix("i:").or_else(|| text.strip_prefix("d:")) {
        return number(value.strip_suffix(';')?);
    }
    if let Some(string) = text.strip_prefix("s:") {
        return plain(string.split_once(":\"")?.1.strip_suffix("\";")?, zone);
    }
    let object = text
        .strip_prefix(r#"O:8:"DateTime":3:{s:4:"date";s:26:""#)
        .or_else(|| text.strip_prefix(r#"O:17:"DateTimeImmutable":3:{s:4:"date";s:26:""#))?;
    let (local, zone) = object.split_once(r#"";s:13:"timezone_type";i:"#)?;
    let offset = match zone {
        r#"3;s:8:"timezone";s:3:"UTC";}"# => "+00:00",
        _ => zone.strip_prefix(r#"1;s:8:"timezone";s:6:""#)?.strip_suffix(r#"";}"#)?,
    };
    DateTime::parse_from_str(&format!("{local}{offset}"), "%Y-%m-%d %H:%M:%S%.f%z").ok().map(Into::into)
}
