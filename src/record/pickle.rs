//! Reads and writes pickled datetimes, as a Django site stores them in memcached.
//!
//! This is not an unpickler. It reads what Python 2.7 and 3.6 to 3.13 write for one `datetime.datetime` or one number,
//! and refuses everything else. It imports and executes nothing: [`calls`] lists what a pickle may name and call.

mod calls;
mod input;

use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};

use self::calls::{Global, Zone};
use self::input::Input;
use super::{
    Form,
    local::{self, to_local},
    text::by_magnitude,
};

type Result<T> = std::result::Result<T, &'static str>;

/// The largest pickle in bytes. Python's pickles of a datetime need about 200.
const MAX_BYTES: usize = 1024;

/// The most values on the stack, and the most in the memo. Python's pickles of a datetime need 10 and 18.
///
/// Within both limits any input takes about 25 µs and 16 KiB at most: each opcode adds one value, or moves values that
/// earlier opcodes have added into a tuple.
const MAX_VALUES: usize = 32;

const NOTHING: &str = "a value that is not there";
const TOO_MANY: &str = "too many values";
const NO_TIME: &str = "a number that is no time";

/// A value in a pickle. A clone shares its text or tuple, and a tuple never contains a tuple, because no call takes
/// one. So a pickle that repeats a value many times neither uses more memory nor nests.
#[derive(Clone)]
enum Value {
    Mark,
    None,
    Int(i64),
    Float(f64),
    /// A bool, which Python counts as a number, but which is never a time.
    Bool,
    Str(Rc<str>),
    /// The fields of a datetime in the layout of [`state`]. No other bytes are allowed.
    State([u8; 10]),
    Tuple(Rc<[Value]>),
    Global(Global),
    /// A timedelta in microseconds. It is always the offset of a zone, so at most a day.
    Delta(i64),
    Zone(Zone),
    /// The instant of a datetime, and the form that tells whether the datetime has a zone.
    Instant(DateTime<Utc>, Form),
}

impl Value {
    fn is_mark(&self) -> bool {
        matches!(self, Value::Mark)
    }

    fn never_in_a_tuple(&self) -> bool {
        matches!(self, Value::Mark | Value::Tuple(_))
    }
}

/// Reads a pickled datetime or number. Returns its instant, and the form of a datetime; or the reason why the bytes are
/// neither. A datetime without a zone is a local time in `zone`.
pub(crate) fn read(bytes: &[u8], zone: &local::Zone) -> Result<(DateTime<Utc>, Option<Form>)> {
    if bytes.len() > MAX_BYTES {
        return Err("more than 1024 bytes");
    }
    let mut input = Input(bytes);
    let mut stack = Stack(Vec::new());
    let mut memo = Memo(BTreeMap::new());
    loop {
        let value = match input.byte()? {
            // PROTO, FRAME, STOP
            0x80 => match input.byte()? {
                0..=5 => continue,
                _ => return Err("a protocol later than 5"),
            },
            0x95 => {
                input.take(8)?;
                continue;
            }
            0x2e => break,
            // MARK, NONE, NEWTRUE, NEWFALSE
            0x28 => Value::Mark,
            0x4e => Value::None,
            0x88 | 0x89 => Value::Bool,
            // INT, LONG, BININT, BININT1, BININT2, LONG1
            0x49 => input.int()?,
            0x4c => Value::Int(input.decimal("L")?),
            0x4a => Value::Int(input.signed(4)?),
            0x4b => Value::Int(input.unsigned(1)?),
            0x4d => Value::Int(input.unsigned(2)?),
            0x8a => Value::Int(input.long()?),
            // FLOAT, BINFLOAT
            0x46 => Value::Float(input.float()?),
            0x47 => Value::Float(f64::from_bits(u64::from_be_bytes(input.eight()?))),
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, UNICODE
            0x8c => Value::Str(input.utf8(1)?),
            0x58 => Value::Str(input.utf8(4)?),
            0x8d => Value::Str(input.utf8(8)?),
            0x56 => Value::Str(input.raw_unicode_escape()?),
            // SHORT_BINBYTES, BINBYTES, BINBYTES8
            0x43 => Value::State(calls::state(input.counted(1)?)?),
            0x42 => Value::State(calls::state(input.counted(4)?)?),
            0x8e => Value::State(calls::state(input.counted(8)?)?),
            // SHORT_BINSTRING, BINSTRING, STRING: the str of Python 2
            0x55 => Value::Str(input.latin1(1)?),
            0x54 => Value::Str(input.latin1(4)?),
            0x53 => Value::Str(input.repr()?),
            // GLOBAL, STACK_GLOBAL
            0x63 => calls::global(input.line()?, input.line()?)?,
            0x93 => stack.global()?,
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            0x29 => stack.tuple(0)?,
            0x85 => stack.tuple(1)?,
            0x86 => stack.tuple(2)?,
            0x87 => stack.tuple(3)?,
            0x74 => stack.tuple_from_mark()?,
            // REDUCE
            0x52 => stack.reduce(zone)?,
            // MEMOIZE, PUT, BINPUT, LONG_BINPUT: the value stays on the stack
            0x94 => memo.put(memo.next_key(), stack.pop()?)?,
            0x70 => memo.put(input.decimal("")?, stack.pop()?)?,
            0x71 => memo.put(input.unsigned(1)?, stack.pop()?)?,
            0x72 => memo.put(input.unsigned(4)?, stack.pop()?)?,
            // GET, BINGET, LONG_BINGET
            0x67 => memo.get(input.decimal("")?)?,
            0x68 => memo.get(input.unsigned(1)?)?,
            0x6a => memo.get(input.unsigned(4)?)?,
            _ => return Err("an opcode that is not allowed"),
        };
        stack.push(value)?;
    }
    match (stack.pop()?, &stack.0[..], input.0) {
        (Value::Instant(at, form), [], []) => Ok((at, Some(form))),
        (Value::Int(number), [], []) => Ok((by_magnitude(number, 0).ok_or(NO_TIME)?, None)),
        (Value::Float(number), [], []) => Ok((seconds(number).ok_or(NO_TIME)?, None)),
        (Value::Instant(..) | Value::Int(_) | Value::Float(_), ..) => Err("more than a datetime"),
        _ => Err("not a datetime"),
    }
}

/// Converts a float by its magnitude: seconds such as `time.time()`, rounded to microseconds, or a finer unit.
fn seconds(number: f64) -> Option<DateTime<Utc>> {
    if !(0.0..1e18).contains(&number) {
        return None;
    }
    if number < 1e11 {
        DateTime::from_timestamp_micros((number * 1e6).round() as i64)
    } else {
        by_magnitude(number as i64, 0)
    }
}

/// Returns what `cache.set(key, datetime.now())` stores on a site whose time zone is `zone`. Uses protocol 4, which
/// every Python since 3.4 can load.
pub(crate) fn write_naive(at: DateTime<Utc>, zone: &local::Zone) -> [u8; 53] {
    let (local, fold) = to_local(at, zone);
    let mut bytes = *b"\x80\x04\x95\x2a\0\0\0\0\0\0\0\x8c\x08datetime\x94\x8c\x08datetime\x94\
        \x93\x94C\x0a__________\x94\x85\x94R\x94.";
    bytes[37..47].copy_from_slice(&state(local, fold));
    bytes
}

/// Returns what `cache.set(key, timezone.now())` stores on a site with `USE_TZ = True`, in protocol 4. Django 3.2
/// stores pytz's UTC instead, and treats the UTC written here as equal.
pub(crate) fn write_aware(at: DateTime<Utc>) -> [u8; 98] {
    let mut bytes = *b"\x80\x04\x95\x57\0\0\0\0\0\0\0\x8c\x08datetime\x94\x8c\x08datetime\x94\
        \x93\x94C\x0a__________\x94h\0\x8c\x08timezone\x94\x93\x94h\0\x8c\x09timedelta\x94\
        \x93\x94K\0K\0K\0\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94.";
    bytes[37..47].copy_from_slice(&state(at.naive_utc(), false));
    bytes
}

/// Encodes the fields of a datetime as Python does. Python's years are 1 to 9999, and a time outside becomes the
/// nearest time in that range.
fn state(local: NaiveDateTime, fold: bool) -> [u8; 10] {
    match local.year() {
        ..1 => [0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
        10_000.. => [0x27, 0x0f, 12, 31, 23, 59, 59, 0x0f, 0x42, 0x3f],
        year => {
            let [.., y1, y0] = year.to_be_bytes();
            let [month, day, hour, minute, second] = [
                local.month() | u32::from(fold) << 7,
                local.day(),
                local.hour(),
                local.minute(),
                local.second(),
            ]
            .map(|field| field.to_le_bytes()[0]);
            // chrono's leap seconds have up to 1,999,999 microseconds.
            let [_, u2, u1, u0] = (local.nanosecond() / 1_000).min(999_999).to_be_bytes();
            [y1, y0, month, day, hour, minute, second, u2, u1, u0]
        }
    }
}

struct Stack(Vec<Value>);

impl Stack {
    fn push(&mut self, value: Value) -> Result<()> {
        if self.0.len() == MAX_VALUES {
            return Err(TOO_MANY);
        }
        self.0.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        self.0.pop_if(|top| !top.is_mark()).ok_or(NOTHING)
    }

    fn tuple(&mut self, length: usize) -> Result<Value> {
        let start = self.0.len().checked_sub(length).ok_or(NOTHING)?;
        if self.0[start..].iter().any(Value::never_in_a_tuple) {
            return Err("a tuple that is not allowed");
        }
        Ok(Value::Tuple(self.0.drain(start..).collect()))
    }

    fn tuple_from_mark(&mut self) -> Result<Value> {
        let mark = self.0.iter().rposition(Value::is_mark).ok_or(NOTHING)?;
        self.0.remove(mark);
        self.tuple(self.0.len() - mark)
    }

    fn global(&mut self) -> Result<Value> {
        match (self.pop()?, self.pop()?) {
            (Value::Str(name), Value::Str(module)) => calls::global(module.as_bytes(), name.as_bytes()),
            _ => Err("a global without a name"),
        }
    }

    fn reduce(&mut self, site: &local::Zone) -> Result<Value> {
        match (self.pop()?, self.pop()?) {
            (Value::Tuple(args), Value::Global(function)) => calls::call(function, &args, site),
            _ => Err(calls::NOT_ALLOWED),
        }
    }
}

struct Memo(BTreeMap<i64, Value>);

impl Memo {
    fn next_key(&self) -> i64 {
        self.0.len() as i64
    }

    fn put(&mut self, key: i64, value: Value) -> Result<Value> {
        if self.0.len() == MAX_VALUES {
            return Err(TOO_MANY);
        }
        self.0.insert(key, value.clone());
        Ok(value)
    }

    fn get(&self, key: i64) -> Result<Value> {
        self.0.get(&key).cloned().ok_or(NOTHING)
    }
}

#[cfg(test)]
mod tests;
