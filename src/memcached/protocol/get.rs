//! `get` and `gets`, and the parsers of their values.

use super::{Exchange, Failure, Next, number, take_line};
use crate::record::Keys;

/// Maximum length of a value in bytes. No memcached stores a longer one.
const MAX_VALUE: usize = 1 << 30;

/// The keys of one `get`.
#[derive(Debug, Clone, Copy)]
pub(in crate::memcached) enum Asked<'a> {
    One(&'a str),
    /// The keys at these indexes.
    Some(&'a Keys, &'a [u32]),
}

impl<'a> Asked<'a> {
    fn len(self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Some(_, indexes) => indexes.len(),
        }
    }

    fn key(self, nth: usize) -> &'a [u8] {
        match self {
            Self::One(key) => key.as_bytes(),
            Self::Some(keys, indexes) => keys.bytes(indexes[nth]),
        }
    }

    /// Returns whether the text starts with the key at this index and a space.
    fn is(self, nth: usize, text: &[u8]) -> bool {
        let key = self.key(nth);
        text.starts_with(key) && text.get(key.len()) == Some(&b' ')
    }
}

/// A value, borrowed from the input buffer or from the in-memory store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) flags: u32,
    pub(crate) bytes: &'a [u8],
    /// CAS token; 0 if it was not requested, or if the server does not support CAS.
    pub(crate) cas: u64,
}

/// `get` or `gets` of several keys. Calls `found` for each value, with the index of its key in the request.
pub(in crate::memcached) struct Get<'a, F> {
    asked: Asked<'a>,
    cas: bool,
    found: F,
    /// Index of the key that is expected next. Servers answer in the order of the request, and proxies nearly do.
    next: usize,
    answered: Bits,
}

impl<'a, F: FnMut(usize, Found<'_>)> Get<'a, F> {
    pub(in crate::memcached) fn new(asked: Asked<'a>, cas: bool, found: F) -> Self {
        Self { asked, cas, found, next: 0, answered: Bits::new(asked.len()) }
    }

    pub(in crate::memcached) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(in crate::memcached) fn has_answers(&self) -> bool {
        self.next > 0
    }

    /// Returns which keys have been found so far.
    pub(in crate::memcached) fn answered(self) -> Bits {
        self.answered
    }

    /// Returns the index of the requested key with which `rest` starts, and marks it as answered. `None` if there is no
    /// such key without an answer.
    fn mark_answered(&mut self, rest: &[u8]) -> Option<usize> {
        let unanswered = |nth: &usize| self.asked.is(*nth, rest) && !self.answered.has(*nth);
        let found = (self.next..self.asked.len()).chain(0..self.next).find(unanswered)?;
        self.answered.set(found);
        self.next = found + 1;
        Some(found)
    }
}

/// Returns the value of the key that usually comes next, and the rest of the input. It costs less than [`take_value`].
/// `None` if the value belongs to another key or is incomplete.
fn expected_value<'i>(input: &'i [u8], key: &[u8], cas: bool) -> Option<(Found<'i>, &'i [u8])> {
    let mut rest = input.strip_prefix(b"VALUE ")?.strip_prefix(key)?.strip_prefix(b" ")?;
    let mut number = |end: u8| {
        let digits = rest.iter().take(20).position(|&byte| byte == end)?;
        let digit = |number: u64, byte: &u8| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        };
        let number = rest[..digits].iter().try_fold(0, digit).filter(|_| digits > 0);
        rest = &rest[digits + 1..];
        number
    };
    let flags = u32::try_from(number(b' ')?).ok()?;
    let len = usize::try_from(number(if cas { b' ' } else { b'\r' })?).ok()?;
    let cas = if cas { number(b'\r')? } else { 0 };
    let (bytes, rest) = rest.strip_prefix(b"\n")?.split_at_checked(len)?;
    Some((Found { flags, bytes, cas }, rest.strip_prefix(b"\r\n")?))
}

/// Consumes a value with its `VALUE` line, and returns `None` at `END`. The returned text starts with the key.
fn take_value<'i>(input: &mut &'i [u8], cas: bool) -> Result<Option<(&'i [u8], Found<'i>)>, Next> {
    let mut rest = *input;
    let line = take_line(&mut rest)?;
    if line == b"END" {
        *input = rest;
        return Ok(None);
    }
    let failed = || Failure::of(line);
    let key = line.strip_prefix(b"VALUE ").ok_or_else(failed)?;
    let mut fields = key.split(|&byte| byte == b' ').skip(1);
    let mut field = || fields.next().and_then(number::<u64>).ok_or_else(failed);
    let (flags, len) = (field()?, field()?);
    let cas = if cas { field()? } else { 0 };
    let (Ok(flags), Ok(len @ ..=MAX_VALUE)) = (u32::try_from(flags), usize::try_from(len)) else {
        return Err(failed().into());
    };
    let Some((bytes, after)) = rest.split_at_checked(len).filter(|(_, after)| after.len() >= 2) else {
        return Err(Next::More(input.len() - rest.len() + len + 2));
    };
    let Some(after) = after.strip_prefix(b"\r\n") else {
        let words = "a value of another length than its line says";
        return Err(Failure::Unexpected(words.to_owned()).into());
    };
    *input = after;
    Ok(Some((key, Found { flags, bytes, cas })))
}

impl<F: FnMut(usize, Found<'_>)> Exchange for Get<'_, F> {
    fn write(&mut self, out: &mut Vec<u8>, _: usize) {
        // The limit does not apply: memcached sends no answer before it has read the whole line.
        out.extend_from_slice(if self.cas { b"gets" } else { b"get" });
        for nth in 0..self.asked.len() {
            out.push(b' ');
            out.extend_from_slice(self.asked.key(nth));
        }
        out.extend_from_slice(b"\r\n");
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        loop {
            if self.next < self.asked.len()
                && !self.answered.has(self.next)
                && let Some((found, rest)) = expected_value(input, self.asked.key(self.next), self.cas)
            {
                (self.found)(self.next, found);
                self.answered.set(self.next);
                self.next += 1;
                *input = rest;
                continue;
            }
            let before = *input;
            let Some((key, found)) = take_value(input, self.cas)? else { return Ok(()) };
            let Some(index) = self.mark_answered(key) else {
                return Err(Failure::of(take_line(&mut &*before)?).into());
            };
            (self.found)(index, found);
        }
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// A separate `gets` for each key: a proxy refuses several keys together if one of its backends is down. Calls
/// `answered` for each value and for each error reply.
pub(in crate::memcached) struct SingleGets<'a, F> {
    asked: Asked<'a>,
    answered: F,
    sent: usize,
    /// Number of keys whose answer is complete.
    pub(in crate::memcached) read: usize,
}

impl<'a, F: FnMut(usize, Result<Found<'_>, String>)> SingleGets<'a, F> {
    pub(in crate::memcached) fn new(asked: Asked<'a>, answered: F) -> Self {
        Self { asked, answered, sent: 0, read: 0 }
    }
}

impl<F: FnMut(usize, Result<Found<'_>, String>)> Exchange for SingleGets<'_, F> {
    fn write(&mut self, out: &mut Vec<u8>, limit: usize) {
        self.sent = self.read;
        while self.sent < self.asked.len() && (self.sent == self.read || out.len() < limit) {
            out.extend_from_slice(b"gets ");
            out.extend_from_slice(self.asked.key(self.sent));
            out.extend_from_slice(b"\r\n");
            self.sent += 1;
        }
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        while self.read < self.sent {
            let mut rest = *input;
            let line = take_line(&mut rest)?;
            if line.starts_with(b"SERVER_ERROR ") {
                (self.answered)(self.read, Err(String::from_utf8_lossy(line).into_owned()));
                (*input, self.read) = (rest, self.read + 1);
                continue;
            }
            match take_value(input, true)? {
                None => self.read += 1,
                Some((key, found)) if self.asked.is(self.read, key) => (self.answered)(self.read, Ok(found)),
                Some(_) => return Err(Failure::of(line).into()),
            }
        }
        if self.read < self.asked.len() { Err(Next::Send) } else { Ok(()) }
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Marks which keys of a request were answered. Allocates only for more than 64 keys.
pub(in crate::memcached) struct Bits {
    first: u64,
    rest: Vec<u64>,
}

impl Bits {
    fn new(len: usize) -> Self {
        Self { first: 0, rest: vec![0; len.saturating_sub(1) / 64] }
    }

    pub(in crate::memcached) fn has(&self, nth: usize) -> bool {
        let word = if nth < 64 { self.first } else { self.rest[nth / 64 - 1] };
        word >> (nth % 64) & 1 == 1
    }

    fn set(&mut self, nth: usize) {
        let word = if nth < 64 { &mut self.first } else { &mut self.rest[nth / 64 - 1] };
        *word |= 1 << (nth % 64);
    }
}
