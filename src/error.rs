//! What can go wrong, and how outside text is shown.

use std::{
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// [`Unavailable`](Error::Unavailable) and [`Rejected`](Error::Rejected) mean *not known now*, which is not
/// the same as "never seen": a missing record is `Ok(None)`, never an error. A clone costs little, so that
/// one lost server can answer for many users.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The user cannot be a memcached key. Nothing was sent.
    #[error(transparent)]
    InvalidUser(#[from] InvalidUser),

    /// A setting has a value that cannot be used. Nothing was sent.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// The server refused the connection, cut it, was at its connection limit, gave no answer in time or gave
    /// one that is not memcached's; or its name did not resolve. Whether a write arrived is not known.
    #[error("memcached at {server} is unavailable")]
    Unavailable {
        /// The server as the settings name it.
        server: String,
        /// What happened; its [`kind`](io::Error::kind) tells a timeout from a refusal.
        source: Arc<io::Error>,
    },

    /// The server answered with an error: out of memory, a value too large, meta commands unknown (memcached
    /// before 1.6).
    #[error("memcached at {server} answered {}", Quoted(message))]
    Rejected {
        /// The server as the settings name it.
        server: String,
        /// The server's words, at most 256 characters of them, as it sent them: to be escaped where they
        /// are shown.
        message: String,
    },

    /// What is stored under the key is not a time that can be believed, or the time given cannot be stored.
    #[error("the value under {} is not a time that can be believed", Quoted(key))]
    Value {
        /// The key, prefix and user.
        key: String,
        /// What is there instead.
        source: ValueError,
    },
}

impl Error {
    pub(crate) fn unavailable(server: &str, source: io::Error) -> Self {
        Self::Unavailable { server: server.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn rejected(server: &str, message: &str) -> Self {
        let message = message.chars().take(MAX_MESSAGE).collect();
        Self::Rejected { server: server.to_owned(), message }
    }
}

/// A user that cannot be a memcached key, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("user {} cannot be a memcached key: {reason}", Quoted(user))]
pub struct InvalidUser {
    user: String,
    reason: String,
}

impl InvalidUser {
    pub(crate) fn new(user: &str, reason: impl Into<String>) -> Self {
        Self { user: head(user).to_owned(), reason: reason.into() }
    }
}

/// A setting whose value cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {setting} = {value}: {reason}")]
pub struct SettingsError {
    setting: &'static str,
    value: String,
    reason: String,
}

impl SettingsError {
    /// `value` as it stands in the sentence: text comes [`Quoted`].
    pub(crate) fn new(setting: &'static str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { setting, value: value.to_string(), reason: reason.into() }
    }
}

/// Why a value is no time that can be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ValueError(Reason);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Unreadable { flags: u32, len: usize, head: Vec<u8>, why: Option<&'static str> },
    Ahead { at: DateTime<Utc>, by: TimeDelta },
    Unwritable { at: DateTime<Utc> },
}

impl ValueError {
    pub(crate) fn unreadable(flags: u32, bytes: &[u8], why: Option<&'static str>) -> Self {
        let head = bytes[..bytes.len().min(16)].to_vec();
        Self(Reason::Unreadable { flags, len: bytes.len(), head, why })
    }

    pub(crate) fn ahead(at: DateTime<Utc>, by: TimeDelta) -> Self {
        Self(Reason::Ahead { at, by })
    }

    pub(crate) fn unwritable(at: DateTime<Utc>) -> Self {
        Self(Reason::Unwritable { at })
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Unreadable { flags, len: 0, .. } => write!(f, "flags {flags}, empty"),
            Reason::Unreadable { flags, len, head, why } => {
                let unit = if *len == 1 { "byte" } else { "bytes" };
                write!(f, "flags {flags}, {len} {unit}, beginning \"{}\"", head.escape_ascii())?;
                why.map_or(Ok(()), |why| write!(f, ", {why}"))
            }
            Reason::Ahead { at, by } => {
                write!(f, "{at} is {} s ahead of this host's clock", by.num_seconds())
            }
            Reason::Unwritable { at } => write!(f, "{at} is not in the years 1970 to 9999"),
        }
    }
}

/// Text from outside in quotes, at most 64 characters of it, with everything escaped that could move a cursor,
/// break a line or turn the reading direction.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` escapes the controls (C0, C1, DEL), U+2028 and U+2029 and the format characters, which the
        // bidirectional marks are.
        let head = head(self.0);
        write!(f, "{head:?}{}", if head.len() < self.0.len() { ".." } else { "" })
    }
}

/// Text from outside that stands in a sentence of its own: as [`Quoted`], without the quotes.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = head(self.0);
        for char in head.chars() {
            match char {
                // Harmless here, and escaped already where the text quotes some other.
                '"' | '\'' | '\\' => f.write_char(char)?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        f.write_str(if head.len() < self.0.len() { ".." } else { "" })
    }
}

/// No server says more in an error; a hostile one fills no memory or log.
const MAX_MESSAGE: usize = 256;

/// The first 64 characters.
fn head(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}
