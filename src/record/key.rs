//! The key of a user's record: a prefix and the user.

use std::{
    borrow::Borrow,
    fmt::{self, Display, Write},
    sync::Arc,
};

use arrayvec::ArrayString;

use crate::error::{Error, InvalidUserError, Result};

/// memcached's limit for a key, in bytes.
pub(crate) const MAX_KEY: usize = 250;

/// The advice in errors about users that cannot be keys. docs/sharing.md has the code for each language.
const HINT: &str = "pass the user's id, not their display name, or a version 5 UUID of it";

/// A valid memcached key: prefix and user. It is checked when it is made and never again. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Arc<str>);

impl Key {
    /// Builds and checks the key. A user that cannot be a key is an error and is never rewritten: programs in other
    /// languages would have to rewrite it alike, and truncation could make one user of two.
    pub(crate) fn new(prefix: &str, user: impl Display) -> Result<Self> {
        KeyBuffer::default().key(prefix, user).map(Self::from)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Takes the text of a key that a [`KeyBuffer`] has checked.
impl From<&str> for Key {
    fn from(checked: &str) -> Self {
        Self(checked.into())
    }
}

/// Builds and checks keys without allocating.
#[derive(Default)]
pub(crate) struct KeyBuffer {
    text: ArrayString<MAX_KEY>,
    full: bool,
}

impl KeyBuffer {
    /// Builds the user's key. Returns an error if it is not a valid key.
    pub(crate) fn key(&mut self, prefix: &str, user: impl Display) -> Result<&str> {
        self.text.clear();
        self.full = false;
        let written = self.write_str(prefix).and_then(|()| write!(self, "{user}"));
        let name = &self.text[prefix.len().min(self.text.len())..];
        let reason = if self.full {
            format!("longer than {MAX_KEY} bytes with the prefix; {HINT}")
        } else if written.is_err() {
            "its Display failed".to_owned()
        } else if name.is_empty() {
            "must not be empty".to_owned()
        } else if let Some(at) = name.bytes().position(|byte| !is_key_byte(byte)) {
            match name.as_bytes()[at] {
                b' ' => format!("contains a space at byte {at}; {HINT}"),
                byte => format!("contains control byte 0x{byte:02x} at byte {at}; {HINT}"),
            }
        } else {
            return Ok(&self.text);
        };
        Err(InvalidUserError::new(name, reason).into())
    }

    /// Takes the characters that still fit.
    #[cold]
    fn cut(&mut self, part: &str) {
        self.full = true;
        let room = self.text.remaining_capacity();
        let head =
            part.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= room).last();
        self.text.push_str(&part[..head.unwrap_or_default()]);
    }
}

/// Fails at [`MAX_KEY`] bytes, so that a `Display` that writes megabytes is stopped early.
impl Write for KeyBuffer {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.try_push_str(part).is_ok() {
            return Ok(());
        }
        self.cut(part);
        Err(fmt::Error)
    }
}

/// The keys of a list of users in one buffer. A key has the index of its user in the list.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    text: String,
    /// The end of each key in `text`. The key of a refused user is empty.
    ends: Vec<u32>,
    /// The keys at the end are tombstones. These are the keys of their records, whose servers hold the tombstones.
    homes: Vec<Key>,
    /// The index and the error of each user that cannot be a key.
    pub(crate) refused: Vec<(usize, Error)>,
}

impl Keys {
    pub(crate) fn new<U: Display>(prefix: &str, users: impl IntoIterator<Item = U>) -> Self {
        let (users, mut buffer) = (users.into_iter(), KeyBuffer::default());
        let count = users.size_hint().0;
        let mut keys = Self::with_capacity(count, count * (prefix.len() + 16));
        for (place, user) in users.enumerate() {
            match buffer.key(prefix, user) {
                Ok(key) => keys.push(key),
                Err(error) => {
                    keys.push("");
                    keys.refused.push((place, error));
                }
            }
        }
        keys
    }

    pub(crate) fn of<'a>(keys: impl ExactSizeIterator<Item = &'a Key>) -> Self {
        let mut all = Self::with_capacity(keys.len(), keys.len() * 24);
        keys.for_each(|key| all.push(key.as_str()));
        all
    }

    /// Returns the keys of the records' tombstones, in order.
    pub(crate) fn of_tombstones<'a>(records: impl ExactSizeIterator<Item = &'a Key>) -> Self {
        let mut all = Self::with_capacity(records.len(), records.len() * 24);
        for record in records {
            all.push_tombstone(record.clone());
        }
        all
    }

    /// Returns two keys: the record's and its tombstone's.
    pub(crate) fn pair(record: &Key) -> Self {
        let mut all = Self::of([record].into_iter());
        all.push_tombstone(record.clone());
        all
    }

    /// Appends the key of the record's tombstone. Tombstones come after all other keys.
    pub(crate) fn push_tombstone(&mut self, record: Key) {
        self.push(record.tombstone().as_str());
        self.homes.push(record);
    }

    fn with_capacity(count: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count), ..Self::default() }
    }

    fn push(&mut self, checked: &str) {
        self.text.push_str(checked);
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the key at an index; empty if the user was refused.
    pub(crate) fn get(&self, place: u32) -> &str {
        &self.text[self.range(place)]
    }

    /// Returns the bytes of the key at an index, without the check for character boundaries that a `str` needs.
    pub(crate) fn bytes(&self, place: u32) -> &[u8] {
        &self.text.as_bytes()[self.range(place)]
    }

    /// Returns the key that selects the server for the key at an index: the record's key if that is a tombstone.
    pub(crate) fn home(&self, place: u32) -> &str {
        let first = self.len() - self.homes.len();
        (place as usize).checked_sub(first).map_or_else(|| self.get(place), |nth| self.homes[nth].as_str())
    }

    fn range(&self, place: u32) -> std::ops::Range<usize> {
        let place = place as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[place] as usize
    }
}

/// Returns whether memcached's text protocol allows the byte in a key.
pub(crate) fn is_key_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use arbtest::{arbitrary::Result, arbtest};

    use super::*;

    #[test]
    fn a_key_is_legal_or_refused() {
        arbtest(|u| {
            let ascii = u.arbitrary()?;
            let char = |char: char| if ascii { char::from(char as u8 & 0x7f) } else { char };
            let user = u.arbitrary_iter()?.map(|one| one.map(char)).collect::<Result<String>>()?;
            let user = user.repeat(u.int_in_range(1..=40)?);
            let fits = !user.is_empty() && user.len() <= MAX_KEY - 5 && user.bytes().all(is_key_byte);
            match Key::new("seen_", &user) {
                Ok(key) => {
                    assert!(fits);
                    assert_eq!(key.as_str(), format!("seen_{user}"));
                }
                Err(error) => assert!(!fits, "{error}"),
            }
            Ok(())
        });
    }
}
