//! Tests with golden pickles, which `CPython` 2.7 and 3.6 to 3.13 wrote together with the values that they load to.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::super::{
    local::{Zone, from_local, named, to_local},
    text,
};
use super::{Form, read, write_aware, write_naive};

const UTC: &Zone = &Zone::UTC;

fn zone(name: &str) -> Zone {
    named(name).unwrap()
}

/// Zones east and west of UTC, with and without daylight saving time.
fn zones() -> [Zone; 4] {
    ["UTC", "Europe/Berlin", "America/Chicago", "Asia/Kolkata"].map(zone)
}

struct Golden {
    name: &'static str,
    pickle: Vec<u8>,
    local: NaiveDateTime,
    fold: bool,
    /// Microseconds east of UTC; `None` for a datetime without a zone.
    east: Option<i64>,
}

fn golden() -> Vec<Golden> {
    let rows = include_str!("datetime-pickles.tsv").lines();
    rows.filter(|row| !row.starts_with('#')).map(parse).collect()
}

#[track_caller]
fn parse(row: &'static str) -> Golden {
    let fields: Vec<&str> = row.split('\t').collect();
    let (value, fold) = fields[3].split_once("/fold=").unwrap();
    let sign = value[10..].find(['+', '-']).map_or(value.len(), |at| at + 10);
    let (local, east) = value.split_at(sign);
    Golden {
        name: fields[0],
        pickle: unhex(fields[2]),
        local: local.parse().unwrap(),
        fold: fold == "1",
        east: (!east.is_empty()).then(|| micros(east)),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Converts an offset such as `+01:00:01.000005` to microseconds.
fn micros(offset: &str) -> i64 {
    let time: chrono::NaiveTime = match offset.len() {
        6 => format!("{}:00", &offset[1..]).parse().unwrap(),
        _ => offset[1..].parse().unwrap(),
    };
    let micros = (time - chrono::NaiveTime::MIN).num_microseconds().unwrap();
    if offset.starts_with('-') { -micros } else { micros }
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn naive(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

/// Pickles a datetime without a zone in protocol 4.
fn pickled(text: &str, fold: bool) -> Vec<u8> {
    let mut bytes = write_naive(naive(text).and_utc(), UTC).to_vec();
    bytes[39] |= u8::from(fold) << 7;
    bytes
}

#[test]
fn every_golden_pickle_loads_to_its_value() {
    for zone in &zones() {
        for Golden { name, pickle, local, fold, east } in golden() {
            let expected = match east {
                Some(east) => {
                    Ok(((local - TimeDelta::microseconds(east)).and_utc(), Some(Form::AwareDatetime)))
                }
                None => Ok((from_local(local, fold, zone).unwrap(), Some(Form::NaiveDatetime))),
            };
            let expected = if name == "du_utc" { Err("a global that is not allowed") } else { expected };
            assert_eq!(read(&pickle, zone), expected, "{name} {}", pickle.escape_ascii());
        }
    }
}

#[test]
fn no_golden_pickle_is_missing() {
    assert_eq!(golden().len(), 121);
}

/// Returns pickled numbers, each with its text in Python.
fn numbers() -> Vec<(Vec<u8>, &'static str)> {
    let rows = include_str!("number-pickles.tsv").lines().filter(|row| !row.starts_with('#'));
    rows.map(|row| row.split('\t').collect::<Vec<_>>()).map(|fields| (unhex(fields[1]), fields[2])).collect()
}

#[test]
fn a_pickled_number_is_what_it_is_as_text_and_a_bool_is_none() {
    let mut read_as_times = 0;
    for (pickle, value) in numbers() {
        let expected = text::plain(value, UTC);
        assert_eq!(
            read(&pickle, UTC).ok(),
            expected.map(|at| (at, None)),
            "{value} {}",
            pickle.escape_ascii()
        );
        read_as_times += usize::from(expected.is_some());
    }
    assert_eq!(read_as_times, 6 * 8);
}

#[test]
fn what_django_stores_is_written_byte_for_byte() {
    let mut compared = 0;
    for mut golden in golden() {
        // CPython's own output in protocol 4, or in protocol 5, which differs in the version byte only.
        if golden.east.is_none() && golden.pickle.len() == 53 {
            golden.pickle[1] = 4;
            golden.pickle[39] &= 0x7f;
            assert_eq!(write_naive(golden.local.and_utc(), UTC)[..], golden.pickle);
            compared += 1;
        }
    }
    assert_eq!(compared, 4);
    // CPython 3.11 wrote this in protocol 4.
    let aware = b"\x80\x04\x95W\0\0\0\0\0\0\0\x8c\x08datetime\x94\x8c\x08datetime\x94\x93\x94C\n\
        \x07\xea\x03\x1d\x0c\"8\x0c\n\x14\x94h\0\x8c\x08timezone\x94\x93\x94h\0\x8c\ttimedelta\x94\x93\x94\
        K\0K\0K\0\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94.";
    assert_eq!(write_aware(utc("2026-03-29T12:34:56.789012Z")), *aware);
}

#[test]
fn the_repeated_hour_is_written_and_read_with_its_fold() {
    let second = golden().into_iter().find(|golden| golden.fold && golden.pickle.len() == 53);
    let mut second = second.unwrap().pickle;
    // 2026-10-25 02:30, for the second time.
    second[37..43].copy_from_slice(&[0x07, 0xea, 0x8a, 25, 2, 30]);
    let mut first = second.clone();
    first[39] = 0x0a;
    for (pickle, at) in
        [(first, utc("2026-10-25T00:30:56.789012Z")), (second, utc("2026-10-25T01:30:56.789012Z"))]
    {
        assert_eq!(write_naive(at, &zone("Europe/Berlin"))[..], pickle);
        assert_eq!(read(&pickle, &zone("Europe/Berlin")), Ok((at, Some(Form::NaiveDatetime))));
    }
}

#[test]
fn a_naive_datetime_is_a_local_time_of_the_site() {
    for (zone, local, fold, expected) in [
        // Berlin's clocks change from 2:00 to 3:00 in spring, and from 3:00 to 2:00 in autumn.
        ("Europe/Berlin", "2026-03-29T01:59:59", false, "2026-03-29T00:59:59Z"),
        ("Europe/Berlin", "2026-03-29T02:30:00", false, "2026-03-29T01:30:00Z"),
        ("Europe/Berlin", "2026-03-29T02:30:00", true, "2026-03-29T00:30:00Z"),
        ("Europe/Berlin", "2026-03-29T03:00:00", false, "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:59:59", false, "2026-10-24T23:59:59Z"),
        ("Europe/Berlin", "2026-10-25T02:30:00", false, "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30:00", true, "2026-10-25T01:30:00Z"),
        ("Europe/Berlin", "2026-10-25T03:00:00", false, "2026-10-25T02:00:00Z"),
        ("America/Chicago", "2026-03-08T02:30:00", false, "2026-03-08T08:30:00Z"),
        ("America/Chicago", "2026-03-08T02:30:00", true, "2026-03-08T07:30:00Z"),
        ("America/Chicago", "2026-11-01T01:30:00", false, "2026-11-01T06:30:00Z"),
        ("America/Chicago", "2026-11-01T01:30:00", true, "2026-11-01T07:30:00Z"),
        ("Asia/Kolkata", "2026-03-29T02:30:00", false, "2026-03-28T21:00:00Z"),
        ("Asia/Kolkata", "2026-03-29T02:30:00", true, "2026-03-28T21:00:00Z"),
        ("UTC", "2026-03-29T02:30:00", false, "2026-03-29T02:30:00Z"),
        ("UTC", "2026-03-29T02:30:00", true, "2026-03-29T02:30:00Z"),
    ] {
        let (expected, context) = (utc(expected), format!("{local} {fold} in {zone}"));
        let zone = &self::zone(zone);
        assert_eq!(read(&pickled(local, fold), zone), Ok((expected, Some(Form::NaiveDatetime))), "{context}");
        let there_and_back = to_local(expected, zone);
        assert_eq!(from_local(there_and_back.0, there_and_back.1, zone), Some(expected), "{context}");
    }
}

#[test]
fn whatever_is_written_is_read_back() {
    for zone in &zones() {
        let start = utc("2026-01-01T00:00:00.000001Z");
        for step in 0..20_000 {
            let at = start + TimeDelta::seconds(step * 1_777);
            assert_eq!(
                read(&write_naive(at, zone), zone),
                Ok((at, Some(Form::NaiveDatetime))),
                "in {zone:?}"
            );
            assert_eq!(read(&write_aware(at), zone), Ok((at, Some(Form::AwareDatetime))), "in {zone:?}");
        }
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    for zone in &["UTC", "Asia/Tokyo", "America/Chicago"].map(zone) {
        for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let (local, fold) = to_local(at, zone);
            from_local(local, fold, zone);
            write_naive(at, zone);
            write_aware(at);
        }
        for local in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            from_local(local, false, zone);
            from_local(local, true, zone);
        }
    }
    let last = naive("9999-12-31T23:59:59.999999").and_utc();
    assert_eq!(write_naive(utc("9999-12-31T23:59:00Z"), &zone("Asia/Tokyo")), write_naive(last, UTC));
    let first = naive("0001-01-01T00:00:00").and_utc();
    assert_eq!(write_naive(utc("0001-01-01T01:00:00Z"), &zone("America/Chicago")), write_naive(first, UTC));
    let leap_second = naive("2016-12-31T23:59:60.5").and_utc();
    let second = naive("2016-12-31T23:59:59.999999").and_utc();
    assert_eq!(read(&write_naive(leap_second, UTC), UTC), Ok((second, Some(Form::NaiveDatetime))));
    assert_eq!(read(&write_aware(leap_second), UTC), Ok((second, Some(Form::AwareDatetime))));
}

#[test]
fn zones_that_the_golden_pickles_lack() {
    let at = utc("2026-03-29T12:34:56.789012Z");
    for (zone, hours_east) in [
        (&b"cpytz\nFixedOffset\nJ\x88\xff\xff\xff\x85R"[..], -2),
        (b"cpytz\n_p\nX\x09\0\0\0Etc/GMT+5\x85R", -5),
        (b"cpytz\n_p\nX\x03\0\0\0UTC\x85R", 0),
        // The pickler that is written in Python writes True, and the one in C writes 1.
        (
            b"c__builtin__\ngetattr\ncbackports.zoneinfo\nZoneInfo\nX\x09\0\0\0_unpickle\x86R\
              X\x0d\0\0\0Europe/Berlin\x88\x86R",
            2,
        ),
        (b"N", 5),
    ] {
        let state = b"\x80\x03cdatetime\ndatetime\nC\x0a\x07\xea\x03\x1d\x0c\x22\x38\x0c\x0a\x14";
        let pickle = [state, zone, b"\x86R."].concat();
        let expected = at - TimeDelta::hours(hours_east);
        let site = &named("Etc/GMT-5").unwrap();
        assert_eq!(read(&pickle, site).map(|(at, _)| at), Ok(expected), "{}", pickle.escape_ascii());
    }
}

#[test]
fn a_refusal_says_why() {
    let datetime = b"cdatetime\ndatetime\n";
    for (pickle, reason) in [
        (&b""[..], "cut short"),
        (b"\x80", "cut short"),
        (b"\x80\x06N.", "a protocol later than 5"),
        (b"N.", "not a datetime"),
        (b".", "a value that is not there"),
        (b"(.", "a value that is not there"),
        (b"h\x07.", "a value that is not there"),
        (b"t", "a value that is not there"),
        (b"0.", "an opcode that is not allowed"),
        (b"]\x94.", "an opcode that is not allowed"),
        (b"cposix\nsystem\n", "a global that is not allowed"),
        (b"N\x8c\x06system\x93", "a global without a name"),
        (b"NNR", "a call that is not allowed"),
        (b"cbuiltins\ngetattr\ncdatetime\ndatetime\n\x8c\x09_unpickle\x86R", "a call that is not allowed"),
        (b"cbuiltins\ngetattr\nczoneinfo\nZoneInfo\n\x8c\x08__init__\x86R", "a call that is not allowed"),
        // timezone(timedelta(days=-1)) is one microsecond too far west.
        (
            b"cdatetime\ntimezone\ncdatetime\ntimedelta\nJ\xff\xff\xff\xffK\0K\0\x87R\x85R",
            "a call that is not allowed",
        ),
        (b"cpytz\n_p\n\x8c\x0bMars/Phobos\x85R", "an unknown time zone"),
        (b"\x29\x85", "a tuple that is not allowed"),
        (b"C\x03abc", "bytes that are no datetime"),
        (b"\x8c\x01\xff", "text that is not UTF-8"),
        (b"V\\x\n", "an unknown escape"),
        (b"V\\ud800\n", "an unknown escape"),
        (b"Sabc\n", "a string without quotes"),
        (b"S'\n", "a string without quotes"),
        (b"L7200\n", "a number that cannot be read"),
        (b"I99999999999999999999\n", "a number that cannot be read"),
        (b"\x8a\x09123456789", "a number that cannot be read"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"),
        (&[b'N'; 33], "too many values"),
        (&b"N\x94".repeat(33), "too many values"),
        (&[b'N'; 1025], "more than 1024 bytes"),
        (&[&datetime[..], b"C\x0a\x07\xea\x02\x1d\0\0\0\0\0\0\x85R."].concat(), "a time that does not exist"),
        (&[&datetime[..], b"C\x0a\0\0\x02\x01\0\0\0\0\0\0\x85R."].concat(), "a time that does not exist"),
        (
            &[&datetime[..], b"C\x0a\x07\xea\x02\x01\x17\x3b\x3b\x0f\x42\x40\x85R."].concat(),
            "a time that does not exist",
        ),
        (&[&pickled("2026-01-01T00:00:00", false)[..], b"."].concat(), "more than a datetime"),
        (&[b"N", &pickled("2026-01-01T00:00:00", false)[..]].concat(), "more than a datetime"),
    ] {
        assert_eq!(read(pickle, UTC), Err(reason), "{}", pickle.escape_ascii());
    }
}

#[test]
fn no_change_of_a_byte_and_no_cut_is_a_panic() {
    // Trying all values of each byte takes a debug build 20 seconds.
    let (step, berlin) = (if cfg!(debug_assertions) { 5 } else { 1 }, &zone("Europe/Berlin"));
    let datetimes = golden().into_iter().map(|golden| golden.pickle);
    for pickle in datetimes.chain(numbers().into_iter().map(|(pickle, _)| pickle)) {
        for end in 0..pickle.len() {
            read(&pickle[..end], berlin).unwrap_err();
            let mut changed = pickle.clone();
            for byte in (0..=u8::MAX).skip(end % step).step_by(step) {
                changed[end] = byte;
                let _ = read(&changed, berlin);
            }
        }
    }
}

#[test]
fn no_kilobyte_takes_a_tenth_of_a_millisecond() {
    let datetime = b"cdatetime\ndatetime\nq\0C\x0a\x07\xea\x03\x1d\x0c\x22\x38\x0c\x0a\x14q\x01";
    // Each tuple is one item shorter than the one before, so that the stack is full after each.
    let tuples = |item: &[u8]| -> Vec<u8> {
        let rows = (1..=28).rev();
        rows.flat_map(|row| [b"(", &item.repeat(row)[..], b"t"].concat()).collect()
    };
    for (start, rest) in [
        (&b"N"[..], b"q\0".repeat(512)),
        (b"", b"\x80\x04".repeat(512)),
        (b"", b"(NNNNNNNNNNNNt\x94".repeat(64)),
        (b"", tuples(b"N")),
        (datetime, tuples(b"h\0h\x01\x85R")),
        (b"V", b"\xff".repeat(1024)),
    ] {
        let mut pickle = [start, &rest].concat();
        pickle.truncate(1023);
        pickle.push(b'\n');
        // The best of ten counts: slower runs measure the load of the machine.
        let best = (0..10).map(|_| {
            let start = Instant::now();
            read(&pickle, &zone("Europe/Berlin")).unwrap_err();
            start.elapsed()
        });
        let bound = Duration::from_micros(if cfg!(debug_assertions) { 1_000 } else { 100 });
        let best = best.min().unwrap();
        assert!(best < bound, "{best:?} for {}", pickle.escape_ascii());
    }
}
