//! Errors, and how they quote text from outside.

use std::{
    fmt::{self, Write as _},
    io,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Stands for `std::result::Result` with [`Error`] as its error.
///
/// ```
/// fn sign_in(tracker: &last_seen::Tracker, user: u64) -> last_seen::Result<()> {
///     tracker.seen(user)
/// }
/// # sign_in(&last_seen::Tracker::in_memory(), 7).unwrap();
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says why a call failed.
///
/// [`Unavailable`](Error::Unavailable) and [`Server`](Error::Server) mean *unknown*, which is not the same as "never
/// seen": a missing record is `Ok(None)`, never an error. Cheap to clone: one server failure is reported for every user it
/// affects.
///
/// Displays as one sentence that includes the cause, so [`source`](std::error::Error::source) is `None`: `{error}` prints
/// everything, and so does a reporter that walks the chain. Serializes as `{"kind", "server", "message"}`: the variant in
/// snake case, the server or null, and what happened.
///
/// ```
/// let error = last_seen::Tracker::in_memory().seen("Alice Smith").unwrap_err();
/// assert_eq!(error.kind(), "invalid_user");
/// assert_eq!(error.server(), None);
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Says that the user cannot be a memcached key. Nothing was sent.
    #[error(transparent)]
    InvalidUser(#[from] InvalidUserError),

    /// Says that a setting has a value that cannot be used. Nothing was sent.
    #[error(transparent)]
    Settings(#[from] SettingsError),

    /// Says that what is stored under the key is not a valid timestamp.
    #[error("the value stored under {} is not a valid timestamp: {source}", EscapedQuoted(key))]
    InvalidRecord {
        /// Holds the key, prefix and user.
        key: String,
        /// Says what is stored instead.
        r#source: InvalidRecordError,
    },

    /// Says that the time given cannot be stored. Nothing was sent.
    #[error("{time} cannot be stored: it is not in the years 1970 to 9999")]
    InvalidTime {
        /// Holds the time.
        time: DateTime<Utc>,
    },

    /// Says that the server refused or closed the connection, was at its connection limit, did not answer in time, or gave an
    /// answer that is not memcached's; or that its name did not resolve. A write may or may not have taken effect.
    #[error("memcached at {server} is unavailable: {}", IoText(source))]
    Unavailable {
        /// Names the server as the settings do.
        server: String,
        /// Says what happened; its [`kind`](io::Error::kind) tells a timeout from a refusal.
        r#source: Arc<io::Error>,
    },

    /// Says that the server answered with an error: out of memory, a missing or wrong login, a proxy's backend that is down.
    /// The server itself is up, so its circuit stays closed.
    #[error("memcached at {server} answered {message:?}")]
    Server {
        /// Names the server as the settings do.
        server: String,
        /// Holds the server's error text, unescaped, truncated to 256 characters. Escape it before display.
        message: String,
    },

    /// Says that the recorder is closed: sightings from then on are dropped.
    #[error("the recorder is closed")]
    Closed,

    /// Says that this process failed, and no server: the system gave it no thread, its tokio runtime ended, or a hook was too
    /// slow.
    #[error("failed in this process, not on a server: {}", IoText(source))]
    System {
        /// Says what happened.
        r#source: Arc<io::Error>,
    },
}

impl Error {
    /// Returns the variant's name in snake case, such as `"unavailable"`: for logs, metrics and scripts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidUser(_) => "invalid_user",
            Self::Settings(_) => "settings",
            Self::InvalidRecord { .. } => "invalid_record",
            Self::InvalidTime { .. } => "invalid_time",
            Self::Unavailable { .. } => "unavailable",
            Self::Server { .. } => "server",
            Self::Closed => "closed",
            Self::System { .. } => "system",
        }
    }

    /// Returns the server that failed, as the settings name it; `None` if none did.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Unavailable { server, .. } | Self::Server { server, .. } => Some(server),
            _ => None,
        }
    }

    /// Returns what happened, escaped and without the server's name: for a row or a card that names the server already.
    ///
    /// ```
    /// let error = last_seen::Tracker::connect("127.0.0.1:1")?.seen("alice").unwrap_err();
    /// assert_eq!(error.reason(), "connection refused");
    /// assert_eq!(error.to_string(), "memcached at 127.0.0.1:1 is unavailable: connection refused");
    /// # Ok::<(), last_seen::Error>(())
    /// ```
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable { source, .. } => IoText(source).to_string(),
            Self::Server { message, .. } => format!("answered {message:?}"),
            error => error.to_string(),
        }
    }

    pub(crate) fn unavailable(server: &str, source: io::Error) -> Self {
        Self::Unavailable { server: server.to_owned(), source: Arc::new(source) }
    }

    /// Returns the error for a server that answered with an error `message`.
    pub(crate) fn answered(server: &str, message: &str) -> Self {
        let message = message.chars().take(MAX_MESSAGE).collect();
        Self::Server { server: server.to_owned(), message }
    }

    /// Returns whether the server had no memory for what was to be stored.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Server { message, .. } if message.starts_with("out of memory"))
    }

    pub(crate) fn system(source: io::Error) -> Self {
        Self::System { source: Arc::new(source) }
    }

    #[cfg(feature = "who")]
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(crate) fn no_thread(source: io::Error) -> Self {
        Self::system(io::Error::new(source.kind(), format!("cannot start a thread: {source}")))
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = match self {
            Self::Server { message, .. } => message.clone(),
            error => error.reason(),
        };
        let mut fields = serializer.serialize_struct("Error", 3)?;
        fields.serialize_field("kind", self.kind())?;
        fields.serialize_field("server", &self.server())?;
        fields.serialize_field("message", &message)?;
        fields.end()
    }
}

/// Displays an I/O error in lower case, without the operating system's error number.
pub(crate) struct IoText<'a>(pub(crate) &'a io::Error);

impl fmt::Display for IoText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let Some(number) = self.0.raw_os_error() else { return f.write_str(&text) };
        let text = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
        let mut chars = text.chars();
        chars.next().map_or(Ok(()), |first| write!(f, "{}", first.to_lowercase()))?;
        f.write_str(chars.as_str())
    }
}

/// Names a user that cannot be a memcached key, and says why.
///
/// ```
/// use last_seen::{Error, Tracker};
///
/// let Err(Error::InvalidUser(error)) = Tracker::in_memory().seen("Alice Smith") else { panic!() };
/// assert_eq!(error.user(), "Alice Smith");
/// println!("{}", error.reason());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("user {} cannot be a memcached key: {reason}", EscapedQuoted(user))]
pub struct InvalidUserError {
    user: String,
    reason: String,
}

impl InvalidUserError {
    /// Returns the user as it was given, unescaped, truncated to 64 characters. Escape it before display.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns why the user cannot be a key.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn new(user: &str, reason: impl Into<String>) -> Self {
        Self { user: head(user).to_owned(), reason: reason.into() }
    }
}

/// Names a setting whose value cannot be used, and says why.
///
/// ```
/// use last_seen::{Error, Settings, Tracker};
///
/// let settings = Settings::default().with_max_connections(0);
/// let Err(Error::Settings(error)) = Tracker::new(settings) else { panic!() };
/// assert_eq!((error.setting(), error.value()), ("max_connections", "0"));
/// println!("{}", error.reason());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting {setting} = {value}: {reason}")]
pub struct SettingsError {
    setting: &'static str,
    value: String,
    reason: String,
}

impl SettingsError {
    /// Returns the setting's name in files, such as `"online_timeout"`.
    pub fn setting(&self) -> &str {
        self.setting
    }

    /// Returns its value as the error shows it: text is quoted and escaped.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns why the value cannot be used.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Creates the error. `value` is shown as given, so text must come [`EscapedQuoted`].
    pub(crate) fn new(setting: &'static str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { setting, value: value.to_string(), reason: reason.into() }
    }
}

/// Says why a stored value is not a valid timestamp.
///
/// ```
/// use last_seen::{Error, Tracker, chrono::{TimeDelta, Utc}};
///
/// let tracker = Tracker::in_memory();
/// let ahead = Utc::now() + TimeDelta::hours(1); // written by a host whose clock is fast
/// tracker.seen_at("alice", ahead)?;
/// let Err(Error::InvalidRecord { source, .. }) = tracker.last_seen("alice") else { panic!() };
/// assert_eq!(source.time().unwrap().timestamp(), ahead.timestamp());
/// assert_eq!(source.bytes(), None);
/// # Ok::<(), last_seen::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRecordError(Reason);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    Unreadable {
        flags: u32,
        len: usize,
        head: Vec<u8>,
        why: Option<&'static str>,
    },
    Ahead {
        at: DateTime<Utc>,
        by: TimeDelta,
    },
    #[cfg(feature = "who")]
    TooLarge,
}

impl InvalidRecordError {
    /// Returns the first 16 bytes of a value that cannot be read; `None` if the value is a time too far in the future, or too
    /// large to be read.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Reason::Unreadable { head, .. } => Some(head),
            _ => None,
        }
    }

    /// Returns the time that is too far in the future; `None` if the value cannot be read.
    pub fn time(&self) -> Option<DateTime<Utc>> {
        match self.0 {
            Reason::Ahead { at, .. } => Some(at),
            _ => None,
        }
    }

    pub(crate) fn unreadable(flags: u32, bytes: &[u8], why: Option<&'static str>) -> Self {
        let head = bytes[..bytes.len().min(16)].to_vec();
        Self(Reason::Unreadable { flags, len: bytes.len(), head, why })
    }

    /// Returns the error for a value that is too large to be a time and was not read.
    #[cfg(feature = "who")]
    pub(crate) fn too_large() -> Self {
        Self(Reason::TooLarge)
    }

    pub(crate) fn ahead(at: DateTime<Utc>, by: TimeDelta) -> Self {
        Self(Reason::Ahead { at, by })
    }
}

impl fmt::Display for InvalidRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Unreadable { flags, len: 0, .. } => write!(f, "flags {flags}, empty"),
            Reason::Unreadable { flags, len, head, why } => {
                let unit = if *len == 1 { "byte" } else { "bytes" };
                write!(f, "flags {flags}, {len} {unit}, beginning \"{}\"", head.escape_ascii())?;
                why.map_or(Ok(()), |why| write!(f, ", {why}"))
            }
            #[cfg(feature = "who")]
            Reason::TooLarge => f.write_str("too large for a time, and not read"),
            Reason::Ahead { at, by } => {
                write!(
                    f,
                    "{at} is {} s in the future; check the clocks of the writing host and of this one",
                    by.num_seconds()
                )
            }
        }
    }
}

/// Displays text from outside in quotes, at most 64 characters of it. Escapes everything that could move a cursor,
/// break a line or change the reading direction.
pub(crate) struct EscapedQuoted<'a>(pub(crate) &'a str);

impl fmt::Display for EscapedQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` escapes the control characters (C0, C1, DEL), U+2028, U+2029 and the format characters, which include
        // the bidirectional marks.
        let head = head(self.0);
        write!(f, "{head:?}{}", if head.len() < self.0.len() { ".." } else { "" })
    }
}

/// Displays text from outside like [`EscapedQuoted`], but without quotes.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = head(self.0);
        for char in head.chars() {
            match char {
                // Harmless without surrounding quotes. Text that quotes other text has escaped it already.
                '"' | '\'' | '\\' => f.write_char(char)?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        f.write_str(if head.len() < self.0.len() { ".." } else { "" })
    }
}

/// The most characters that are kept of a server's error message. No memcached sends more, and a hostile server must
/// not fill memory or logs.
const MAX_MESSAGE: usize = 256;

/// Returns the first 64 characters.
fn head(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}
