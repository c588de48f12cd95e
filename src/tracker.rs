//! The tracker: who was seen, when, and who is online.

use std::{fmt::Display, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    error::{Error, Result},
    pending::{Kind, Recorders},
    presence::Presence,
    record::{Codec, Key, Value},
    settings::Settings,
    store::{ServerStatus, Store, When, Write},
};

/// Records go to a server in pieces of as many, each one round trip.
pub(crate) const PIECE: usize = 1_000;

/// Remembers when each user was last seen. A clone is a handle on the same store.
///
/// A user is anything that displays, such as a name, a number or a UUID: at most 250 bytes together with the
/// prefix, without blanks and control bytes. A `User` that displays as "Alice Smith" is refused: pass its id.
///
/// Calls block for at most the two `server_timeout`s that [`Settings::with_server_timeout`] tells of; in an
/// async handler they belong on a thread for blocking work.
///
/// Three answers are never mixed up: `Ok(Some(..))`, seen then; `Ok(None)`, no record; `Err(..)`, not known
/// now. A view that must not fail uses `.ok()` and shows "not known" for `None`.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// let tracker = last_seen::Tracker::connect("memory:")?;
/// tracker.seen("alice")?;
/// assert!(tracker.online("alice")?);
/// assert_eq!(tracker.last_seen("bob")?, None);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Tracker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    codec: Codec,
    store: Store,
    recorders: Recorders,
}

impl Tracker {
    /// A tracker on `"host"` (port 11211), `"host:port"`, `"[::1]:11211"`, `"memcache://host:port"`,
    /// `"host:port?weight=2"`, a comma-separated list of these, or `"memory:"`, with the default settings. Dials at the first call, so it succeeds without a memcached.
    ///
    /// # Errors
    /// [`Error::Settings`] where the text names no server.
    pub fn connect(servers: &str) -> Result<Self> {
        Self::new(Settings::default().with_servers([servers]))
    }

    /// A tracker in the memory of this process alone, for tests and small sites: at most a million users,
    /// of whom the ones that were not asked for long make room.
    pub fn in_memory() -> Self {
        let settings = Settings::default().with_servers(["memory:"]);
        let codec = Codec::new(settings.online_timeout());
        Self {
            shared: Arc::new(Shared {
                settings,
                codec,
                store: Store::memory(),
                recorders: Recorders::default(),
            }),
        }
    }

    /// A tracker with these settings. Dials at the first call, so it succeeds without a memcached.
    ///
    /// # Errors
    /// [`Error::Settings`] where a setting cannot be used, with its name and value.
    pub fn new(settings: Settings) -> Result<Self> {
        let (servers, codec) = (settings.check()?, settings.codec()?);
        let store = Store::new(servers, &settings);
        Ok(Self { shared: Arc::new(Shared { settings, codec, store, recorders: Recorders::default() }) })
    }

    /// A tracker with the settings in the environment, as [`Settings::from_env`] reads them.
    ///
    /// # Errors
    /// [`Error::Settings`] where a variable cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::new(Settings::from_env()?)
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Notes that the user is here now: the line for request code.
    ///
    /// # Errors
    /// As every verb with a user: [`Error::InvalidUser`] before anything is sent, [`Error::Unavailable`] and
    /// [`Error::Rejected`] where the server did not take it.
    pub fn seen(&self, user: impl Display) -> Result<()> {
        self.seen_at(user, Utc::now())
    }

    /// Notes that the user was here at `at`, to the second, in place of what was known.
    ///
    /// # Errors
    /// As [`seen`](Self::seen); [`Error::Value`] where `at` is not in the years 1970 to 9999.
    pub fn seen_at(&self, user: impl Display, at: DateTime<Utc>) -> Result<()> {
        let key = self.key(user)?;
        let write = self.write(key, at, self.settings().last_seen_timeout(), When::Always)?;
        self.shared.recorders.seen(&write.key, at);
        self.store().set(&write).map(drop)
    }

    /// When the user was last seen, to the second; `None` where there is no record: not seen within
    /// `last_seen_timeout`, or forgotten by the cache.
    ///
    /// # Errors
    /// As [`seen`](Self::seen); [`Error::Value`] where something else is stored under the user's key, or a
    /// time that is ahead of this host's clock by more than `online_timeout`.
    pub fn last_seen(&self, user: impl Display) -> Result<Option<DateTime<Utc>>> {
        Ok(self.presence(user)?.last_seen)
    }

    /// Whether the user was seen within `online_timeout`.
    ///
    /// # Errors
    /// As [`last_seen`](Self::last_seen).
    pub fn online(&self, user: impl Display) -> Result<bool> {
        Ok(self.presence(user)?.online)
    }

    /// When the user was last seen and whether the user is online, in one read.
    ///
    /// # Errors
    /// As [`last_seen`](Self::last_seen).
    pub fn presence(&self, user: impl Display) -> Result<Presence> {
        let key = self.key(user)?;
        let value = self.store().get(&key)?;
        self.presence_in(&key, value)
    }

    /// A page of users in one round trip a server: one answer a user, in the order asked. A lost server
    /// costs only its own users.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let page = ["alice", "bob"];
    /// for (user, presence) in page.iter().zip(tracker.presences(page)) {
    ///     match presence {
    ///         Ok(presence) => println!("{user}: {}", presence.ago()),
    ///         Err(_) => println!("{user}: not known"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn presences<U: Display>(&self, users: impl IntoIterator<Item = U>) -> Vec<Result<Presence>> {
        let keys: Vec<Result<Key>> = users.into_iter().map(|user| self.key(user)).collect();
        let legal: Vec<&Key> = keys.iter().flatten().collect();
        let mut values = self.store().get_many(legal).into_iter();
        let presence = |key: Result<Key>| {
            let key = key?;
            // The store gives one answer a key.
            let value = values.next().transpose()?.flatten();
            self.presence_in(&key, value)
        };
        keys.into_iter().map(presence).collect()
    }

    /// Makes the user offline now, for every reader in every language, and keeps last seen as near as that
    /// allows: 5 s outside `online_timeout`, or earlier where it was earlier. A user without a record gets
    /// none.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn signed_out(&self, user: impl Display) -> Result<()> {
        let (key, now) = (self.key(user)?, Utc::now());
        self.shared.recorders.strike(&key, Kind::SignedOut, now);
        let Some(value) = self.store().get(&key)? else { return Ok(()) };
        let known = self.decode(&key, &value, now).ok();
        let Some(offline) = self.shared.codec.offline(known, now) else { return Ok(()) };
        let write = self.write(key, offline, self.settings().last_seen_timeout(), When::Present)?;
        self.store().set(&write).map(drop)
    }

    /// Removes the user's record; says whether there was one.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn forget(&self, user: impl Display) -> Result<bool> {
        let key = self.key(user)?;
        self.shared.recorders.strike(&key, Kind::Forgotten, Utc::now());
        self.store().delete(&key, None)
    }

    /// Refills the cache from a copy kept elsewhere, say after a restart of memcached. Only what is absent
    /// is written, each record for the rest of its `last_seen_timeout`, a thousand in a round trip.
    ///
    /// ```
    /// # use chrono::{TimeDelta, Utc};
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let copy = [("alice", Utc::now() - TimeDelta::hours(1)), ("bob", Utc::now() - TimeDelta::days(9))];
    /// let restored = tracker.restore(copy);
    /// assert_eq!((restored.written, restored.skipped, restored.failed), (1, 1, 0));
    /// ```
    pub fn restore<U: Display>(&self, records: impl IntoIterator<Item = (U, DateTime<Utc>)>) -> Restored {
        let mut restored = Restored::default();
        let mut piece = Vec::with_capacity(PIECE);
        for (user, at) in records {
            match self.restoring(user, at) {
                Ok(Some(write)) => piece.push(write),
                Ok(None) => restored.skipped += 1,
                Err(_) => restored.failed += 1,
            }
            if piece.len() == PIECE {
                restored.count(self.store().set_many(&piece));
                piece.clear();
            }
        }
        restored.count(self.store().set_many(&piece));
        restored
    }

    /// The record as it is stored, for finding out why another program does not see it.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn inspect(&self, user: impl Display) -> Result<Inspection> {
        let key = self.key(user)?;
        let stored = self.store().inspect(&key)?.map(|item| StoredValue {
            last_seen: self.decode(&key, &item.value, Utc::now()),
            flags: item.value.flags,
            bytes: item.value.bytes,
            expires_in: item.expires_in,
        });
        let server = self.store().server_of(&key).to_owned();
        Ok(Inspection { server, key: key.as_str().to_owned(), stored })
    }

    /// How each server is, for health checks; none for a tracker in memory. Asks them in turn, each on a
    /// connection of its own.
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.store().servers()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    fn key(&self, user: impl Display) -> Result<Key> {
        Key::new(self.settings().key_prefix(), user)
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.shared.codec
    }

    pub(crate) fn recorders(&self) -> &Recorders {
        &self.shared.recorders
    }

    pub(crate) fn decode(&self, key: &Key, value: &Value, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        self.shared.codec.decode(key, value, now)
    }

    fn presence_in(&self, key: &Key, value: Option<Value>) -> Result<Presence> {
        let now = Utc::now();
        let last_seen = value.map(|value| self.decode(key, &value, now)).transpose()?;
        Ok(Presence::at(last_seen, now, self.settings().online_timeout()))
    }

    /// The write of a copied record; `None` where it has expired by now.
    fn restoring(&self, user: impl Display, at: DateTime<Utc>) -> Result<Option<Write>> {
        let key = self.key(user)?;
        let age = Utc::now().timestamp().saturating_sub(at.timestamp());
        let left = self.settings().last_seen_timeout().as_secs().saturating_sub_signed(age);
        if left == 0 {
            return Ok(None);
        }
        self.write(key, at, Duration::from_secs(left), When::Absent).map(Some)
    }

    pub(crate) fn write(&self, key: Key, at: DateTime<Utc>, expiry: Duration, when: When) -> Result<Write> {
        let value = self.shared.codec.encode(&key, at)?;
        let expiry = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        Ok(Write { key, value, expiry, when })
    }
}

/// What [`Tracker::restore`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Records written.
    pub written: usize,
    /// Records left alone: the cache had one of that user, or it would have expired by now.
    pub skipped: usize,
    /// Records that could not be written: the server lost, the user no key, the time not in the years 1970
    /// to 9999.
    pub failed: usize,
}

impl Restored {
    fn count(&mut self, answers: Vec<Result<bool, Error>>) {
        for answer in answers {
            match answer {
                Ok(true) => self.written += 1,
                Ok(false) => self.skipped += 1,
                Err(_) => self.failed += 1,
            }
        }
    }
}

/// What is stored of a user, and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The server that holds the key, or `memory:`.
    pub server: String,
    /// The whole key, prefix and user.
    pub key: String,
    /// What is there; `None` where nothing is.
    pub stored: Option<StoredValue>,
}

/// A value as the store keeps it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredValue {
    /// The client flags, which each client numbers in its own way.
    pub flags: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How long it will be kept, in whole seconds; `None` for as long as there is room.
    pub expires_in: Option<Duration>,
    /// What it decodes to, or why it is no time that can be believed.
    pub last_seen: Result<DateTime<Utc>>,
}
