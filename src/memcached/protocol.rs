//! The classic text protocol, without I/O: what is sent, and what the answers mean. memcached's doc/protocol.txt
//! describes it; every memcached since 1.2.4 and its proxies speak it.

use std::{io::Write as _, time::SystemTime};

use super::{When, Write};
use crate::{
    error::EscapedQuoted,
    record::{Key, Keys},
};

/// memcached reads a larger number as a date, not as a duration: 30 days in seconds.
const MAX_RELATIVE: u32 = 2_592_000;

/// A date in the past: what is stored with it is gone at once.
const EXPIRED: u32 = MAX_RELATIVE + 1;

/// No line of an answer is longer: a key has 250 bytes, and an error message is cut.
const MAX_LINE: usize = 2_048;

/// No memcached stores a longer value.
const MAX_VALUE: usize = 1 << 30;

/// A request and the reading of its answer.
pub(super) trait Exchange {
    /// Appends the next part of the request, of about `limit` bytes: all of it if it may be sent without reading.
    fn write(&mut self, out: &mut Vec<u8>, limit: usize);

    /// Takes what it can use from the beginning of the bytes that have come. `Ok` at the end of the answer.
    fn read(&mut self, input: &mut &[u8]) -> Result<(), Next>;

    /// Whether a second run does no harm if the first one may have arrived.
    fn repeatable(&self) -> bool;
}

/// What an exchange needs to go on.
#[derive(Debug)]
pub(super) enum Next {
    /// More bytes: so many in all, those that are not taken among them.
    More(usize),
    /// The next part of the request is to be sent.
    Send,
    /// Nothing: it is over, and the connection with it.
    Failed(Failure),
}

impl From<Failure> for Next {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// An answer that is none to what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server's words: `ERROR`, `CLIENT_ERROR ..` or `SERVER_ERROR ..`.
    Refused(String),
    /// What memcached does not say, or not to this.
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

/// The first line without its end, and how many bytes it takes; `None` if it is not whole.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let line = &input[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// Takes a line, which is the same in whatever pieces it comes.
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
    // Rust takes a plus sign too.
    digits.first().filter(|first| first.is_ascii_digit())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The keys of one `get`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    One(&'a str),
    /// Those of the indexes.
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

    /// Whether the text begins with a key and a space.
    fn is(self, nth: usize, text: &[u8]) -> bool {
        let key = self.key(nth);
        text.starts_with(key) && text.get(key.len()) == Some(&b' ')
    }
}

/// A value where it lies in what was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) flags: u32,
    pub(crate) bytes: &'a [u8],
    /// 0 if it was not asked for, and from a server without.
    pub(crate) cas: u64,
}

/// `get`, or `gets`, of keys: tells of each that is found, by its place among those asked for.
pub(super) struct Get<'a, F> {
    asked: Asked<'a>,
    cas: bool,
    found: F,
    /// Where the next answer is looked for: servers answer in the order of the request, proxies nearly.
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

    /// Which of the keys were found so far.
    pub(super) fn answered(self) -> Bits {
        self.answered
    }

    /// The place of a key that was asked for and not answered yet.
    fn place(&mut self, rest: &[u8]) -> Option<usize> {
        let unanswered = |nth: &usize| self.asked.is(*nth, rest) && !self.answered.has(*nth);
        let found = (self.next..self.asked.len()).chain(0..self.next).find(unanswered)?;
        self.answered.set(found);
        self.next = found + 1;
        Some(found)
    }
}

/// The value of the key that comes next as a rule, and what follows it: as [`take_value`], at less cost. `None` if it is
/// another key's, or not whole.
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

/// Takes the line of a value and the value; `None` at the `END`. The text begins with the key.
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
        // Of any length: memcached answers when it has the whole line.
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
            let Some(place) = self.place(key) else {
                return Err(Failure::of(take_line(&mut &*before)?).into());
            };
            (self.found)(place, found);
        }
    }

    fn repeatable(&self) -> bool {
        true
    }
}

/// Each key in a `get` of its own: a proxy refuses several together if one of its backends is down. Tells of each that is
/// found, or refused in the server's words.
pub(super) struct Singly<'a, F> {
    asked: Asked<'a>,
    answered: F,
    /// How many keys are done with.
    pub(super) read: usize,
}

impl<'a, F: FnMut(usize, Result<Found<'_>, String>)> Singly<'a, F> {
    pub(super) fn new(asked: Asked<'a>, answered: F) -> Self {
        Self { asked, answered, read: 0 }
    }
}

impl<F: FnMut(usize, Result<Found<'_>, String>)> Exchange for Singly<'_, F> {
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

/// Which of some keys were answered: no allocation for up to 64.
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

/// What is changed on a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Store(&'a Write),
    /// With a cas: if it is unchanged.
    Delete(&'a Key, Option<u64>),
}

impl Change<'_> {
    fn write(self, out: &mut Vec<u8>) {
        let _ = match self {
            Self::Store(Write { key, value, expiry, when }) => {
                let (key, flags, expiry, len) =
                    (key.as_str(), value.flags, until(*expiry), value.bytes.len());
                let word = match when {
                    When::Always => "set",
                    When::Absent => "add",
                    // A server without CAS gives 0 and refuses it for ever.
                    When::Present | When::Unchanged(0) => "replace",
                    When::Unchanged(_) => "cas",
                };
                let _ = write!(out, "{word} {key} {flags} {expiry} {len}");
                if let When::Unchanged(cas @ 1..) = when {
                    let _ = write!(out, " {cas}");
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&value.bytes);
                out.write_all(b"\r\n")
            }
            Self::Delete(key, None | Some(0)) => write!(out, "delete {}\r\n", key.as_str()),
            // The protocol has no conditional delete.
            Self::Delete(key, Some(cas)) => write!(out, "cas {} 0 {EXPIRED} 0 {cas}\r\n\r\n", key.as_str()),
        };
    }

    fn repeatable(self) -> bool {
        matches!(self, Self::Store(Write { when: When::Always | When::Present | When::Unchanged(0), .. }))
    }
}

/// Seconds from now, or the date if they are more than memcached takes for seconds.
fn until(expiry: u32) -> u32 {
    if expiry <= MAX_RELATIVE {
        return expiry;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    expiry.saturating_add(u32::try_from(now.as_secs()).unwrap_or(u32::MAX))
}

/// Changes, each answered by a line. Tells of each whether it was made, or how the server refused it.
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
        // A second run begins with the first that has no answer.
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
                // The one error after which a server is still in step.
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

/// A command that is answered by lines, the last of which is the first that `more` does not take.
pub(super) struct Lines<'a> {
    request: &'a [u8],
    prefix: &'static [u8],
    pub(super) lines: Vec<String>,
}

impl<'a> Lines<'a> {
    /// Answered by one line.
    pub(super) fn one(request: &'a [u8]) -> Self {
        Self { request, prefix: b"", lines: Vec::new() }
    }

    /// `stats`.
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

/// The no-op of the binary protocol, to tell a server that speaks nothing else (`-B binary`) from a silent one.
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

#[cfg(test)]
mod tests {
    use arbtest::{
        arbitrary::{Result as Arbitrary, Unstructured},
        arbtest,
    };

    use super::*;
    use crate::record::Value;

    /// What came of an answer that is given in such pieces, and how many bytes of it were not used.
    fn deliver(
        exchange: &mut impl Exchange,
        answer: &[u8],
        mut piece: impl FnMut() -> usize,
    ) -> (String, usize) {
        let (mut rest, mut input) = (answer, Vec::new());
        exchange.write(&mut Vec::new(), 60);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            input.extend_from_slice(now);
            rest = later;
            while !input.is_empty() {
                let mut left = &input[..];
                let read = exchange.read(&mut left);
                let used = input.len() - left.len();
                input.drain(..used);
                match read {
                    Err(Next::More(total)) => {
                        assert!(total > input.len(), "{total} bytes are here");
                        break;
                    }
                    Err(Next::Send) => exchange.write(&mut Vec::new(), 60),
                    Ok(()) => return ("done".to_owned(), input.len() + rest.len()),
                    Err(Next::Failed(failure)) => return (format!("{failure:?}"), 0),
                }
            }
        }
        ("more".to_owned(), 0)
    }

    /// The same, whole, cut at every byte and in pieces of every size.
    #[track_caller]
    fn however_it_comes<T: PartialEq + std::fmt::Debug>(
        answer: &[u8],
        run: impl Fn(&[u8], &mut dyn FnMut() -> usize) -> T,
    ) -> T {
        let whole = run(answer, &mut || answer.len());
        for at in 1..answer.len() {
            let mut first = true;
            let mut cut = || if std::mem::take(&mut first) { at } else { answer.len() };
            assert_eq!(run(answer, &mut cut), whole, "cut at {at}: {}", answer.escape_ascii());
            assert_eq!(run(answer, &mut || at), whole, "in pieces of {at}: {}", answer.escape_ascii());
        }
        whole
    }

    type Answers = Vec<(usize, u32, Vec<u8>, u64)>;

    /// What a `get` of these keys makes of an answer.
    fn get(keys: &Keys, cas: bool, answer: &[u8]) -> (Answers, (String, usize)) {
        let places: Vec<u32> = (0..keys.len() as u32).collect();
        however_it_comes(answer, |answer, piece| {
            let mut answers = Vec::new();
            let found = |nth, Found { flags, bytes, cas }: Found<'_>| {
                answers.push((nth, flags, bytes.to_vec(), cas));
            };
            let mut get = Get::new(Asked::Some(keys, &places), cas, found);
            let end = deliver(&mut get, answer, piece);
            (answers, end)
        })
    }

    /// Bytes as a broken or hostile server might send them in place of these.
    fn damage(u: &mut Unstructured<'_>, answer: &mut Vec<u8>) -> Arbitrary<bool> {
        if answer.is_empty() || u.ratio(1, 2)? {
            return Ok(false);
        }
        let at = u.choose_index(answer.len())?;
        match u.int_in_range(0..=3)? {
            0 => answer.truncate(at),
            1 => answer[at] = u.arbitrary()?,
            2 => answer.insert(at, u.arbitrary()?),
            _ => answer.extend_from_slice(u.choose(&["END\r\n", "\r\n\r\n\r", "ERROR"])?.as_bytes()),
        }
        Ok(true)
    }

    fn value(u: &mut Unstructured<'_>) -> Arbitrary<Vec<u8>> {
        Ok(match u.int_in_range(0..=3)? {
            0 => b"1795486388".to_vec(),
            1 => b"END\r\nVALUE seen_0 0 1\r\n1\r\nEND\r\n".to_vec(),
            2 => Vec::new(),
            _ => u.bytes(u.len().min(9))?.to_vec(),
        })
    }

    #[test]
    fn values_are_the_same_in_whatever_pieces_they_come() {
        arbtest(|u| {
            let (count, cas) = (u.int_in_range(1..=6)?, u.arbitrary()?);
            let keys = Keys::new("seen_", 0..count);
            let (mut answer, mut expected) = (Vec::new(), Vec::new());
            for nth in 0..count {
                if u.arbitrary()? {
                    let (flags, value) = (u.int_in_range(0..=u32::MAX)?, value(u)?);
                    let token = if cas { u.arbitrary()? } else { 0 };
                    let cas = if cas { format!(" {token}") } else { String::new() };
                    write!(answer, "VALUE seen_{nth} {flags} {}{cas}\r\n", value.len()).unwrap();
                    answer.extend_from_slice(&value);
                    answer.extend_from_slice(b"\r\n");
                    expected.push((nth, flags, value, token));
                }
            }
            answer.extend_from_slice(b"END\r\n");
            let damaged = damage(u, &mut answer)?;
            let (answers, end) = get(&keys, cas, &answer);
            if !damaged {
                assert_eq!((answers, end), (expected, ("done".to_owned(), 0)));
            }
            Ok(())
        })
        .budget_ms(1_000);
    }

    #[test]
    fn changes_are_the_same_in_whatever_pieces_their_answers_come() {
        const ANSWERS: [(&str, Option<bool>); 6] = [
            ("STORED", Some(true)),
            ("DELETED", Some(true)),
            ("NOT_STORED", Some(false)),
            ("EXISTS", Some(false)),
            ("NOT_FOUND", Some(false)),
            ("SERVER_ERROR out of memory storing object", None),
        ];
        arbtest(|u| {
            let count = u.int_in_range(1..=6)?;
            let write = |user| Write {
                key: Key::new("seen_", user).unwrap(),
                value: Value { flags: 0, bytes: b"1795486388".to_vec() },
                expiry: 60,
                when: When::Always,
            };
            let writes: Vec<Write> = (0..count).map(write).collect();
            let changes: Vec<Change<'_>> = writes.iter().map(Change::Store).collect();
            let (mut answer, mut expected) = (Vec::new(), Vec::new());
            for nth in 0..count {
                let (words, made) = *u.choose(&ANSWERS)?;
                write!(answer, "{words}\r\n").unwrap();
                expected.push((nth, made.ok_or_else(|| words.to_owned())));
            }
            let damaged = damage(u, &mut answer)?;
            let (answers, end) = however_it_comes(&answer, |answer, piece| {
                let mut answers = Vec::new();
                let mut run = Changes::new(&changes, |nth, made| answers.push((nth, made)));
                let end = deliver(&mut run, answer, piece);
                (answers, end)
            });
            if !damaged {
                assert_eq!((answers, end), (expected, ("done".to_owned(), 0)));
            }
            Ok(())
        })
        .budget_ms(1_000);
    }

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        arbtest(|u| {
            let stats = u.arbitrary()?;
            let mut answer = match stats {
                true => b"STAT pid 1\r\nSTAT version 1.6.45\r\nSTAT time 1795486388\r\nEND\r\n".to_vec(),
                false => b"VERSION 1.6.45\r\n".to_vec(),
            };
            let damaged = damage(u, &mut answer)?;
            let (lines, end) = however_it_comes(&answer, |answer, piece| {
                let mut run = if stats { Lines::stats() } else { Lines::one(b"version\r\n") };
                let end = deliver(&mut run, answer, piece);
                (run.lines, end)
            });
            if !damaged {
                assert_eq!((lines.len(), end), (if stats { 4 } else { 1 }, ("done".to_owned(), 0)));
            }
            Ok(())
        })
        .budget_ms(1_000);
    }

    #[test]
    fn a_line_that_is_too_long_fails_in_whatever_pieces_it_comes() {
        let keys = Keys::new("seen_", ["alice"]);
        for (line, expected) in [("SERVER_ERROR ", "Refused"), ("VALUE seen_alice ", "Unexpected")] {
            let answer = format!("{line}{}\r\nEND\r\n", "x".repeat(MAX_LINE));
            let places = [0];
            for size in [1, 7, MAX_LINE, MAX_LINE + 1, answer.len()] {
                let found = |_, found: Found<'_>| panic!("{found:?}");
                let mut get = Get::new(Asked::Some(&keys, &places), false, found);
                let (end, _) = deliver(&mut get, answer.as_bytes(), || size);
                assert!(end.starts_with(expected), "{end}");
            }
        }
    }

    /// What a `gets` of `alice` and `bob` finds, and how it ends.
    fn gets(answer: &str) -> (Vec<usize>, String) {
        let (answers, (end, left)) = get(&Keys::new("seen_", ["alice", "bob"]), true, answer.as_bytes());
        let end = if left == 0 { end } else { format!("{end}, {left} bytes too much") };
        (answers.into_iter().map(|(nth, ..)| nth).collect(), end)
    }

    #[test]
    fn an_answer_to_something_else_is_no_answer() {
        for answer in [
            "VALUE seen_carol 0 1 7\r\n1\r\nEND\r\n",
            "VALUE seen_alic 0 1 7\r\n1\r\nEND\r\n",
            "VALUE seen_alice2 0 1 7\r\n1\r\nEND\r\n",
            "VALUE SEEN_ALICE 0 1 7\r\n1\r\nEND\r\n",
            "VALUE  0 1 7\r\n1\r\nEND\r\n",
            "STORED\r\n",
            "VERSION 1.6.45\r\n",
            "HD\r\n",
            "END \r\n",
            "\r\n",
        ] {
            let (found, end) = gets(answer);
            assert!(found.is_empty() && end.starts_with("Unexpected"), "{answer:?}: {found:?} {end}");
        }
    }

    #[test]
    fn a_refusal_keeps_its_words() {
        for words in ["ERROR", "CLIENT_ERROR line too long", "SERVER_ERROR busy"] {
            assert_eq!(gets(&format!("{words}\r\n")), (vec![], format!("Refused({words:?})")));
        }
    }

    #[test]
    fn a_second_answer_for_the_same_key_fails() {
        let (found, end) = gets("VALUE seen_bob 0 1 7\r\n1\r\nVALUE seen_bob 0 1 7\r\n2\r\nEND\r\n");
        assert_eq!(found, [1]);
        assert!(end.starts_with("Unexpected"), "{end}");
        // Asked for twice, it may be answered twice.
        let keys = Keys::new("seen_", ["bob", "bob"]);
        let (found, end) =
            get(&keys, false, b"VALUE seen_bob 0 1\r\n1\r\nVALUE seen_bob 0 1\r\n1\r\nEND\r\n");
        assert_eq!((found.len(), end), (2, ("done".to_owned(), 0)));
    }

    #[test]
    fn what_follows_the_end_of_an_answer_is_not_taken() {
        let (found, end) = gets("VALUE seen_bob 0 1 7\r\n1\r\nEND\r\nVALUE seen_alice 0 1 7\r\n1\r\n");
        assert_eq!((found, end.as_str()), (vec![1], "done, 27 bytes too much"));
    }

    #[test]
    fn a_wrong_length_is_no_value() {
        for (len, expected) in [
            ("9", "Unexpected"),
            ("0", "Unexpected"),
            ("11", "Unexpected"),
            ("-1", "Unexpected"),
            ("+10", "Unexpected"),
            ("", "Unexpected"),
            ("ten", "Unexpected"),
            ("1073741825", "Unexpected"),
            ("99999999999999999999", "Unexpected"),
            ("500", "more"),
        ] {
            let (found, end) = gets(&format!("VALUE seen_alice 0 {len} 7\r\n1795486388\r\nEND\r\n"));
            assert!(found.is_empty() && end.starts_with(expected), "{len}: {found:?} {end}");
        }
    }

    #[test]
    fn flags_and_cas_are_numbers() {
        for fields in ["x 1 7", "4294967296 1 7", "-1 1 7", "0 1", "0 1 x", "0 1 18446744073709551616"] {
            let (found, end) = gets(&format!("VALUE seen_alice {fields}\r\n1\r\nEND\r\n"));
            assert!(found.is_empty() && end.starts_with("Unexpected"), "{fields}: {found:?} {end}");
        }
    }

    #[test]
    fn values_in_any_order_are_told_by_their_keys() {
        let keys = Keys::new("seen_", 0..130);
        let mut answer: String = (0..130).rev().map(|n| format!("VALUE seen_{n} {n} 1\r\n1\r\n")).collect();
        answer += "END\r\n";
        let places: Vec<u32> = (0..130).collect();
        let mut count = 0;
        let found = |nth: usize, found: Found<'_>| {
            assert_eq!(found.flags as usize, nth);
            count += 1;
        };
        let mut get = Get::new(Asked::Some(&keys, &places), false, found);
        assert_eq!(deliver(&mut get, answer.as_bytes(), || 1_000), ("done".to_owned(), 0));
        assert_eq!(count, 130);
    }

    #[test]
    fn a_second_run_sends_what_has_no_answer_yet() {
        let keys = [1, 2, 3].map(|user| Key::new("seen_", user).unwrap());
        let changes = keys.each_ref().map(|key| Change::Delete(key, None));
        let mut answers = Vec::new();
        let mut run = Changes::new(&changes, |nth, made| answers.push((nth, made)));
        let mut out = Vec::new();
        run.write(&mut out, 1_000);
        assert_eq!(out, b"delete seen_1\r\ndelete seen_2\r\ndelete seen_3\r\n");
        let mut input = &b"DELETED\r\nNOT_F"[..];
        let read = run.read(&mut input);
        assert!(matches!(read, Err(Next::More(_))) && input == b"NOT_F", "{read:?}");
        out.clear();
        run.write(&mut out, 1_000);
        assert_eq!(out, b"delete seen_2\r\ndelete seen_3\r\n");
        assert!(run.read(&mut &b"NOT_FOUND\r\nDELETED\r\n"[..]).is_ok());
        assert_eq!(answers, [(0, Ok(true)), (1, Ok(false)), (2, Ok(true))]);
    }
}
