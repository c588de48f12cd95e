//! The classic text protocol without I/O: encodes requests and parses answers. memcached's doc/protocol.txt describes
//! it. Every memcached since 1.2.4 and its proxies speak it.

mod change;
#[cfg(any(test, fuzzing))]
pub(super) mod deliver;
mod get;
#[cfg(test)]
mod tests;

pub(super) use change::{Change, Changes};
pub(crate) use get::Found;
pub(super) use get::{Asked, Bits, Get, SingleGets};

use crate::error::EscapedQuoted;

/// Maximum length in bytes of a line of an answer. A key has at most 250 bytes, and a longer error reply is truncated.
const MAX_LINE: usize = 2_048;

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
