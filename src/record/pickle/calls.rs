//! The names that a pickle may use, and the calls that it may make.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::super::local::{self, from_local};
use super::{Form, Result, Value};

pub(super) const NOT_ALLOWED: &str = "a call that is not allowed";

const DAY: i64 = 86_400_000_000;

#[derive(Clone, Copy)]
pub(super) enum Global {
    DateTime,
    TimeDelta,
    TimeZone,
    Encode,
    GetAttr,
    ZoneInfo,
    /// `getattr(ZoneInfo, '_unpickle')`. A pickle cannot name it directly.
    ZoneInfoUnpickle,
    PytzUtc,
    PytzZone,
    PytzFixedOffset,
}

#[derive(Clone)]
pub(super) enum Zone {
    /// Microseconds east of UTC.
    Fixed(i64),
    Named(local::Zone),
}

pub(super) fn global(module: &[u8], name: &[u8]) -> Result<Value> {
    Ok(Value::Global(match (module, name) {
        (b"datetime", b"datetime") => Global::DateTime,
        (b"datetime", b"timedelta") => Global::TimeDelta,
        (b"datetime", b"timezone") => Global::TimeZone,
        (b"_codecs", b"encode") => Global::Encode,
        (b"builtins" | b"__builtin__", b"getattr") => Global::GetAttr,
        (b"zoneinfo" | b"backports.zoneinfo", b"ZoneInfo") => Global::ZoneInfo,
        (b"pytz", b"_UTC") => Global::PytzUtc,
        (b"pytz", b"_p") => Global::PytzZone,
        (b"pytz", b"FixedOffset") => Global::PytzFixedOffset,
        _ => return Err("a global that is not allowed"),
    }))
}

pub(super) fn call(function: Global, args: &[Value], site: &local::Zone) -> Result<Value> {
    use Value::{Bool, Delta, Int, None, State, Str};

    Ok(match (function, args) {
        (Global::DateTime, [state] | [state, None]) => {
            datetime(state, &Zone::Named(site.clone()), Form::NaiveDatetime)?
        }
        (Global::DateTime, [state, Value::Zone(zone)]) => datetime(state, zone, Form::AwareDatetime)?,
        (Global::Encode, [Str(text), Str(codec)]) if **codec == *"latin1" => State(encode(text)?),
        // Python normalizes a timedelta: minus one hour is minus one day plus 23 hours.
        (Global::TimeDelta, [Int(d @ -1..=0), Int(s @ 0..86_400), Int(us @ 0..1_000_000)]) => {
            Delta(d * DAY + s * 1_000_000 + us)
        }
        (Global::TimeZone, [Delta(east)] | [Delta(east), Str(_)]) if *east > -DAY => fixed(*east),
        (Global::GetAttr, [Value::Global(Global::ZoneInfo), Str(name)]) if **name == *"_unpickle" => {
            Value::Global(Global::ZoneInfoUnpickle)
        }
        // The second argument says whether zoneinfo may use its cache.
        (Global::ZoneInfoUnpickle, [Str(key), Int(0 | 1) | Bool]) => named(key)?,
        (Global::PytzUtc, []) => fixed(0),
        (Global::PytzZone, [Str(key)]) => named(key)?,
        // These arguments state the offset, so the zone is not looked up.
        (Global::PytzZone, [Str(_), Int(s @ -86_399..86_400), Int(_), Str(_)]) => fixed(s * 1_000_000),
        (Global::PytzFixedOffset, [Int(minutes @ -1_439..1_440)]) => fixed(minutes * 60_000_000),
        _ => return Err(NOT_ALLOWED),
    })
}

fn fixed(east: i64) -> Value {
    Value::Zone(Zone::Fixed(east))
}

fn named(key: &str) -> Result<Value> {
    let zone = local::named(key).map_err(|_| "an unknown time zone")?;
    Ok(Value::Zone(Zone::Named(zone)))
}

fn datetime(state: &Value, zone: &Zone, form: Form) -> Result<Value> {
    let state = match state {
        Value::State(state) => *state,
        // Python 2 wrote the bytes as a str.
        Value::Str(text) => encode(text)?,
        _ => return Err(NOT_ALLOWED),
    };
    let at = instant(state, zone).ok_or("a time that does not exist")?;
    Ok(Value::Instant(at, form))
}

fn instant(state: [u8; 10], zone: &Zone) -> Option<DateTime<Utc>> {
    let [y1, y0, month, day, hour, minute, second, u2, u1, u0] = state;
    let year = u16::from_be_bytes([y1, y0]);
    let fold = month & 0x80 != 0;
    let micros = u32::from_be_bytes([0, u2, u1, u0]);
    // Unlike Python, chrono accepts the year 0, and leap seconds with up to 1,999,999 microseconds.
    if !(1..10_000).contains(&year) || micros >= 1_000_000 {
        return None;
    }
    let local = NaiveDate::from_ymd_opt(year.into(), (month & 0x7f).into(), day.into())?.and_hms_micro_opt(
        hour.into(),
        minute.into(),
        second.into(),
        micros,
    )?;
    match zone {
        Zone::Fixed(east) => {
            let utc = local.checked_sub_signed(TimeDelta::microseconds(*east))?;
            Some(utc.and_utc())
        }
        Zone::Named(zone) => from_local(local, fold, zone),
    }
}

pub(super) fn state(bytes: &[u8]) -> Result<[u8; 10]> {
    bytes.try_into().map_err(|_| "bytes that are no datetime")
}

/// Encodes text as Latin-1.
fn encode(text: &str) -> Result<[u8; 10]> {
    let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    state(&bytes.unwrap_or_default())
}
