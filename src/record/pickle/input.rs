//! Reads the arguments of opcodes: numbers and text, as protocols 0 to 5 encode them.

use std::rc::Rc;

use super::{Result, Value};

const CUT_SHORT: &str = "cut short";
const NUMBER: &str = "a number that cannot be read";

/// The bytes that are not read yet.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.0.split_first().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Reads a length in `width` bytes, and then that many bytes.
    pub(super) fn counted(&mut self, width: usize) -> Result<&'a [u8]> {
        let length = usize::try_from(self.unsigned(width)?);
        self.take(length.map_err(|_| CUT_SHORT)?)
    }

    /// Reads a line and its line feed. Returns the line without the line feed.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let line = self.take(end.ok_or(CUT_SHORT)?)?;
        self.byte()?;
        Ok(line)
    }

    pub(super) fn unsigned(&mut self, width: usize) -> Result<i64> {
        little_endian(self.take(width)?, 0)
    }

    pub(super) fn signed(&mut self, width: usize) -> Result<i64> {
        twos_complement(self.take(width)?)
    }

    /// Reads a length in one byte, and then a signed integer of that many bytes.
    pub(super) fn long(&mut self) -> Result<i64> {
        twos_complement(self.counted(1)?)
    }

    /// Reads a line that contains a decimal integer and then `suffix`.
    pub(super) fn decimal(&mut self, suffix: &str) -> Result<i64> {
        let line = std::str::from_utf8(self.line()?).ok();
        let digits = line.and_then(|line| line.strip_suffix(suffix));
        digits.and_then(|digits| digits.parse().ok()).ok_or(NUMBER)
    }

    /// Reads a line that contains a decimal integer, or a bool, which Python writes as `00` or `01`.
    pub(super) fn int(&mut self) -> Result<Value> {
        if self.0.starts_with(b"0") && self.0.get(2) == Some(&b'\n') {
            self.line()?;
            return Ok(Value::Bool);
        }
        Ok(Value::Int(self.decimal("")?))
    }

    /// Reads a line that contains a number with a fraction or an exponent.
    pub(super) fn float(&mut self) -> Result<f64> {
        let line = std::str::from_utf8(self.line()?).ok();
        line.and_then(|line| line.parse().ok()).ok_or(NUMBER)
    }

    pub(super) fn eight(&mut self) -> Result<[u8; 8]> {
        self.take(8)?.try_into().map_err(|_| CUT_SHORT)
    }

    pub(super) fn utf8(&mut self, width: usize) -> Result<Rc<str>> {
        let text = std::str::from_utf8(self.counted(width)?);
        Ok(text.map_err(|_| "text that is not UTF-8")?.into())
    }

    pub(super) fn latin1(&mut self, width: usize) -> Result<Rc<str>> {
        let bytes = self.counted(width)?.iter();
        Ok(bytes.copied().map(char::from).collect::<String>().into())
    }

    /// Reads a line in which `\uXXXX` and `\UXXXXXXXX` are escapes and all other bytes are Latin-1.
    pub(super) fn raw_unicode_escape(&mut self) -> Result<Rc<str>> {
        unescape(self.line()?, |escape, digits| match escape {
            b'u' => hex(digits, 4),
            b'U' => hex(digits, 8),
            _ => None,
        })
    }

    /// Reads a line that contains a string in quotes, as Python 2's `repr` writes it.
    pub(super) fn repr(&mut self) -> Result<Rc<str>> {
        let ([b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"']) = self.line()? else {
            return Err("a string without quotes");
        };
        unescape(inside, |escape, digits| match escape {
            b'x' => hex(digits, 2),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            b'\\' | b'\'' | b'"' => Some(char::from(escape)),
            _ => None,
        })
    }
}

fn twos_complement(bytes: &[u8]) -> Result<i64> {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    little_endian(bytes, if negative { 0xff } else { 0 })
}

fn little_endian(bytes: &[u8], fill: u8) -> Result<i64> {
    let mut all = [fill; 8];
    let low = all.get_mut(..bytes.len()).ok_or(NUMBER)?;
    low.copy_from_slice(bytes);
    Ok(i64::from_le_bytes(all))
}

type Bytes<'a> = std::iter::Copied<std::slice::Iter<'a, u8>>;

fn unescape(text: &[u8], escaped: fn(u8, &mut Bytes<'_>) -> Option<char>) -> Result<Rc<str>> {
    let mut bytes = text.iter().copied();
    let mut text = String::new();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => {
                bytes.next().and_then(|escape| escaped(escape, &mut bytes)).ok_or("an unknown escape")?
            }
            _ => char::from(byte),
        });
    }
    Ok(text.into())
}

fn hex(bytes: &mut Bytes<'_>, digits: usize) -> Option<char> {
    let number =
        (0..digits).try_fold(0, |number, _| Some(number << 4 | char::from(bytes.next()?).to_digit(16)?));
    char::from_u32(number?)
}
