//! The changes that a watch reports.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Error;

/// Says what has changed: an item of a [`Watch`](crate::Watch), for a [`Roster`](crate::Roster) to apply. Cheap to clone.
///
/// `server` is the server's name in the settings, or `memory:`.
///
/// ```
/// use last_seen::Change;
///
/// fn log(change: &Change) {
///     match change {
///         Change::Online { user, .. } => println!("{user} is online"),
///         Change::Offline { user, reason, .. } => println!("{user} is offline: {reason:?}"),
///         Change::ServerDown { error, .. } => println!("{error}; its users are unknown"),
///         Change::Ready { online, complete: true, .. } => println!("{online} online"),
///         _ => {}
///     }
/// }
/// # let tracker = last_seen::Tracker::in_memory();
/// # log(&tracker.watch().unwrap().next().unwrap());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// Says that the user came online, or was online when the watch began.
    #[non_exhaustive]
    Online {
        /// Names the user.
        user: Arc<str>,
        /// Holds the time of the user's last request, as precisely as the record does.
        last_seen: DateTime<Utc>,
        /// Names the server that holds the record.
        server: Arc<str>,
    },
    /// Says that a user who is online was seen again.
    #[non_exhaustive]
    Seen {
        /// Names the user.
        user: Arc<str>,
        /// Holds the time of the user's last request, as precisely as the record does.
        last_seen: DateTime<Utc>,
        /// Names the server that holds the record.
        server: Arc<str>,
    },
    /// Says that the user went offline.
    #[non_exhaustive]
    Offline {
        /// Names the user.
        user: Arc<str>,
        /// Holds the time in the record now; `None` if there is no record.
        last_seen: Option<DateTime<Utc>>,
        /// Names the server that holds the record, or held it.
        server: Arc<str>,
        /// Says why.
        reason: OfflineReason,
    },
    /// Says that the user's record is not a valid timestamp, so whether the user is online is unknown.
    #[non_exhaustive]
    Unreadable {
        /// Names the user.
        user: Arc<str>,
        /// Names the server that holds the record.
        server: Arc<str>,
        /// Says what is wrong with the record.
        error: Error,
    },
    /// Says that the server is unavailable, or refuses. Its users are unknown from here on, and none goes offline by the
    /// clock. The watch tries again by itself.
    #[non_exhaustive]
    ServerDown {
        /// Names the server.
        server: Arc<str>,
        /// Says why.
        error: Error,
    },
    /// Says that the server is back and has been listed. The differences follow, and then [`Ready`](Self::Ready).
    #[non_exhaustive]
    ServerUp {
        /// Names the server.
        server: Arc<str>,
        /// Tells how long the watch was without it.
        down_for: Duration,
    },
    /// Says that the feed lost updates, so that some users may be wrong until the server is listed again, as a rule within
    /// about 10 s. Then the differences follow, and [`Ready`](Self::Ready).
    #[non_exhaustive]
    Missed {
        /// Names the server.
        server: Arc<str>,
        /// Counts the lost updates at most: of all keys, of any program.
        updates: u64,
    },
    /// Says that the changes so far add up to what is true now.
    #[non_exhaustive]
    Ready {
        /// Counts the users who are online on the servers that are up.
        online: usize,
        /// Tells whether these are all: no server is down, and none is to be listed again for lost updates.
        complete: bool,
    },
}

/// Says why a user went offline: the `reason` of [`Change::Offline`].
///
/// ```
/// # let tracker = last_seen::Tracker::in_memory();
/// use last_seen::{Change, OfflineReason};
///
/// tracker.seen("alice")?;
/// let mut watch = tracker.watch()?;
/// while !matches!(watch.next(), Some(Change::Ready { .. })) {}
/// tracker.sign_out("alice")?;
/// let Some(Change::Offline { reason, .. }) = watch.next() else { panic!() };
/// assert_eq!(reason, OfflineReason::SignedOut);
/// # Ok::<(), last_seen::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OfflineReason {
    /// Says that the user was not seen within `online_timeout`.
    TimedOut,
    /// Says that the user signed out.
    SignedOut,
    /// Says that the record is gone: deleted, evicted or expired.
    Gone,
}
