//! The classic text protocol without I/O: encodes requests and parses answers. memcached's doc/protocol.txt describes
//! it. Every memcached since 1.2.4 and its proxies speak it.

use std::{io::Write as _, time::SystemTime};

use super::{When, Write};
use crate::{
    error::EscapedQuoted,
    record::{Key, Keys},
};

/// Longest expiry as a duration: 30 days in seconds. memcached reads a larger number as a Unix time.
const MAX_RELATIVE: u32 = 2_592_000;

/// Expiry as a Unix time in the past: an item that is stored with it expires at once.
const EXPIRED: u32 = MAX_RELATIVE + 1;

/// Maximum length in bytes of a line of an answer. A key has at most 250 bytes, and a longer error reply is truncated.
const MAX_LINE: usize = 2_048;

/// Maximum length of a value in bytes. No memcached stores a longer one.
const MAX_VALUE: usize = 1 << 30;

/// A request and the parser of its answer.
pub(super) trait Exchange {
    /// Appends the next part of the request, of about `limit` bytes. Appends all of it if no answer has to be read in
    /// between.
    fn write(&mut self, out: &mut Vec<u8>, limit: usize);

    /// Consumes what it can use from the start of the received bytes. Returns `Ok` at the end of the answer.
    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next>;

    /// Returns whether the exchange can be repeated safely if the server may have received the first attempt.
    fn repeatable(&self) -> bool;
}

/// What an exchange needs before it can continue.
#[derive(Debug)]
pub(super) enum Next {
    /// More input: this many bytes in total, including those that are not consumed yet.
    More(usize),
    /// The next part of the request must be sent.
    Send,
    /// Nothing: the exchange failed, and its connection cannot be used any more.
    Failed(Failure),
}

impl From<Failure> for Next {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A reply that does not answer the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server's error reply: `ERROR`, `CLIENT_ERROR ..` or `SERVER_ERROR ..`.
    Refused(String),
    /// Anything else, as a text for the error. memcached never sends it, or not in reply to this request.
    Unexpected(String),
}

impl Failure {
    pub(super) fn of(line: &[u8]) -> Self {
        let words = String::from_utf8_lossy(line);
        let error = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|word| {
            line.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b' ')
        });
        match error {
            true => Self::Refused(words.into_owned()),
            false => Self::Unexpected(format!("not an answer to what was asked: {}", EscapedQuoted(&words))),
        }
    }
}

/// Returns the first line without its end, and its length in bytes including its end; `None` if it is incomplete.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// Consumes a line. The result does not depend on the pieces in which the line arrives.
fn take_line<'i>(input: &mut &'i [u8]) -> Result<&'i [u8], Next> {
    match line(input) {
        Some((line, taken)) if taken <= MAX_LINE => {
            *input = &input[taken..];
            Ok(line)
        }
        None if input.len() < MAX_LINE => Err(Next::More(input.len() + 1)),
        _ => Err(Failure::of(&input[..MAX_LINE]).into()),
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    // `parse` would accept a plus sign too.
    digits.first().filter(|first| first.is_ascii_digit())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The keys of one `get`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
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
pub(super) struct Get<'a, F> {
    asked: Asked<'a>,
    cas: bool,
    found: F,
    /// Index of the key that is expected next. Servers answer in the order of the request, and proxies nearly do.
    next: usize,
    answered: Bits,
}

impl<'a, F: FnMut(usize, Found<'_>)> Get<'a, F> {
    pub(super) fn new(asked: Asked<'a>, cas: bool, found: F) -> Self {
        Self { asked, cas, found, next: 0, answered: Bits::new(asked.len()) }
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn has_answers(&self) -> bool {
        self.next > 0
    }

    /// Returns which keys have been found so far.
    pub(super) fn answered(self) -> Bits {
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
pub(super) struct SingleGets<'a, F> {
    asked: Asked<'a>,
    answered: F,
    /// Number of keys whose answer is complete.
    pub(super) read: usize,
}

impl<'a, F: FnMut(usize, Result<Found<'_>, String>)> SingleGets<'a, F> {
    pub(super) fn new(asked: Asked<'a>, answered: F) -> Self {
        Self { asked, answered, read: 0 }
    }
}

impl<F: FnMut(usize, Result<Found<'_>, String>)> Exchange for SingleGets<'_, F> {
    fn write(&mut self, out: &mut Vec<u8>, _: usize) {
        for nth in self.read..self.asked.len() {
            out.extend_from_slice(b"gets ");
            out.extend_from_slice(self.asked.key(nth));
            out.extend_from_slice(b"\r\n");
        }
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        while self.read < self.asked.len() {
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
        Ok(())
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Marks which keys of a request were answered. Allocates only for more than 64 keys.
pub(super) struct Bits {
    first: u64,
    rest: Vec<u64>,
}

impl Bits {
    fn new(len: usize) -> Self {
        Self { first: 0, rest: vec![0; len.saturating_sub(1) / 64] }
    }

    pub(super) fn has(&self, nth: usize) -> bool {
        let word = if nth < 64 { self.first } else { self.rest[nth / 64 - 1] };
        word >> (nth % 64) & 1 == 1
    }

    fn set(&mut self, nth: usize) {
        let word = if nth < 64 { &mut self.first } else { &mut self.rest[nth / 64 - 1] };
        *word |= 1 << (nth % 64);
    }
}

/// A change of one item on a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Store(&'a Write),
    /// Deletes the value, with a CAS token only if it is unchanged.
    Delete(&'a Key, Option<u64>),
}

impl Change<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Store(Write { key, value, expiry, when, .. }) => {
                let word: &[u8] = match when {
                    When::Always => b"set ",
                    When::Absent => b"add ",
                    // A server without CAS reports 0 as the token, and would refuse a `cas` with it every time.
                    When::Unchanged(0) => b"replace ",
                    When::Unchanged(_) => b"cas ",
                };
                out.extend_from_slice(word);
                out.extend_from_slice(key.as_str().as_bytes());
                push_number(out, value.flags.into());
                push_number(out, exptime(*expiry).into());
                push_number(out, value.bytes.len() as u64);
                if let When::Unchanged(cas @ 1..) = when {
                    push_number(out, *cas);
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&value.bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Delete(key, None | Some(0)) => {
                let _ = write!(out, "delete {}\r\n", key.as_str());
            }
            // The protocol has no conditional delete, so this stores an empty value that expires at once.
            Self::Delete(key, Some(cas)) => {
                let _ = write!(out, "cas {} 0 {EXPIRED} 0 {cas}\r\n\r\n", key.as_str());
            }
        }
    }

    fn repeatable(self) -> bool {
        matches!(self, Self::Store(Write { when: When::Always | When::Unchanged(0), .. }))
    }
}

/// Appends a space and the number. Costs a third of `write!`, which matters because a recorder does this for every
/// user.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let (mut digits, mut first) = ([0; 20], 20);
    while first == 20 || number > 0 {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.push(b' ');
    out.extend_from_slice(&digits[first..]);
}

/// Returns the expiry as memcached expects it: as a duration up to [`MAX_RELATIVE`], and beyond that as a Unix time.
fn exptime(expiry: u32) -> u32 {
    if expiry <= MAX_RELATIVE {
        return expiry;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    expiry.saturating_add(u32::try_from(now.as_secs()).unwrap_or(u32::MAX))
}

/// Several changes, each answered by one line. Calls `answered` for each change: with whether it was made, or with the
/// server's error reply.
pub(super) struct Changes<'a, F> {
    changes: &'a [Change<'a>],
    answered: F,
    sent: usize,
    read: usize,
}

impl<'a, F: FnMut(usize, Result<bool, String>)> Changes<'a, F> {
    pub(super) fn new(changes: &'a [Change<'a>], answered: F) -> Self {
        Self { changes, answered, sent: 0, read: 0 }
    }

    pub(super) fn has_answers(&self) -> bool {
        self.read > 0
    }
}

impl<F: FnMut(usize, Result<bool, String>)> Exchange for Changes<'_, F> {
    fn write(&mut self, out: &mut Vec<u8>, limit: usize) {
        // A second run starts with the first change that has no answer.
        self.sent = self.read;
        while self.sent < self.changes.len() && (self.sent == self.read || out.len() < limit) {
            self.changes[self.sent].write(out);
            self.sent += 1;
        }
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        while self.read < self.sent {
            let answer = match take_line(input)? {
                b"STORED" | b"DELETED" => Ok(true),
                b"NOT_STORED" | b"EXISTS" | b"NOT_FOUND" => Ok(false),
                // The only error reply after which the server's answers still match the commands.
                line if line.starts_with(b"SERVER_ERROR out of memory") => {
                    Err(String::from_utf8_lossy(line).into_owned())
                }
                line => return Err(Failure::of(line).into()),
            };
            (self.answered)(self.read, answer);
            self.read += 1;
        }
        if self.read < self.changes.len() { Err(Next::Send) } else { Ok(()) }
    }

    fn repeatable(&self) -> bool {
        self.changes[self.read..].iter().all(|change| change.repeatable())
    }
}

/// A command that is answered by one line, or by lines with a prefix and a last line without it.
pub(super) struct Lines<'a> {
    request: &'a [u8],
    prefix: &'static [u8],
    pub(super) lines: Vec<String>,
}

impl<'a> Lines<'a> {
    /// Returns a command that is answered by one line.
    pub(super) fn one(request: &'a [u8]) -> Self {
        Self { request, prefix: b"", lines: Vec::new() }
    }

    pub(super) fn stats() -> Self {
        Self { request: b"stats\r\n", prefix: b"STAT ", lines: Vec::new() }
    }
}

impl Exchange for Lines<'_> {
    fn write(&mut self, out: &mut Vec<u8>, _: usize) {
        self.lines.clear();
        out.extend_from_slice(self.request);
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        loop {
            let line = take_line(input)?;
            self.lines.push(String::from_utf8_lossy(line).into_owned());
            if self.prefix.is_empty() || !line.starts_with(self.prefix) {
                return Ok(());
            }
            if self.lines.len() > 1_000 {
                return Err(Failure::Unexpected("too many lines".to_owned()).into());
            }
        }
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// The no-op of the binary protocol. A server that speaks only that protocol (`-B binary`) answers it, while a server
/// that is down does not.
#[derive(Default)]
pub(super) struct BinaryNoop;

impl Exchange for BinaryNoop {
    fn write(&mut self, out: &mut Vec<u8>, _: usize) {
        let mut header = [0; 24];
        (header[0], header[1]) = (0x80, 0x0a);
        out.extend_from_slice(&header);
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next> {
        match input {
            [0x81, 0x0a, rest @ ..] if rest.len() >= 22 => {
                *input = &rest[22..];
                Ok(())
            }
            [0x81] | [0x81, 0x0a, ..] => Err(Next::More(24)),
            other => Err(Failure::of(&other[..other.len().min(64)]).into()),
        }
    }

    fn repeatable(&self) -> bool {
        true
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod deliver;
#[cfg(test)]
mod tests;
