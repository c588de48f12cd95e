//! Changes of items: `set`, `add`, `replace`, `cas` and `delete`.

use std::{io::Write as _, time::SystemTime};

use super::{Exchange, Failure, Next, take_line};
use crate::{
    memcached::{When, Write},
    record::Key,
};

/// Longest expiry as a duration: 30 days in seconds. memcached reads a larger number as a Unix time.
pub(super) const MAX_RELATIVE: u32 = 2_592_000;

/// Expiry as a Unix time in the past: an item that is stored with it expires at once.
const EXPIRED: u32 = MAX_RELATIVE + 1;

/// A change of one item on a server.
#[derive(Debug, Clone, Copy)]
pub(in crate::memcached) enum Change<'a> {
    Store(&'a Write),
    /// Deletes the value, with a CAS token only if it is unchanged.
    Delete(&'a Key, Option<u64>),
}

impl Change<'_> {
    pub(super) fn write(self, out: &mut Vec<u8>) {
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
pub(in crate::memcached) struct Changes<'a, F> {
    changes: &'a [Change<'a>],
    answered: F,
    sent: usize,
    read: usize,
}

impl<'a, F: FnMut(usize, Result<bool, String>)> Changes<'a, F> {
    pub(in crate::memcached) fn new(changes: &'a [Change<'a>], answered: F) -> Self {
        Self { changes, answered, sent: 0, read: 0 }
    }

    pub(in crate::memcached) fn has_answers(&self) -> bool {
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
