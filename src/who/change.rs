//! The changes that a watch reports.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Error;

/// One thing that a [`Watch`](crate::Watch) tells; a [`Roster`](crate::Roster) applies it. A clone costs little.
///
/// `server` is the server's name in the settings, or `memory:`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Change {
    /// The user came online, or was online when the watch began.
    #[non_exhaustive]
    Online {
        /// Who.
        user: Arc<str>,
        /// The user's last request, to the second.
        last_seen: DateTime<Utc>,
        /// The server that holds the record.
        server: Arc<str>,
    },
    /// A user who is online was seen again.
    #[non_exhaustive]
    Seen {
        /// Who.
        user: Arc<str>,
        /// The user's last request, to the second.
        last_seen: DateTime<Utc>,
        /// The server that holds the record.
        server: Arc<str>,
    },
    /// The user is not online any more.
    #[non_exhaustive]
    Offline {
        /// Who.
        user: Arc<str>,
        /// What the record says now; `None` if there is none.
        last_seen: Option<DateTime<Utc>>,
        /// The server that holds the record, or held it.
        server: Arc<str>,
        /// Why.
        reason: OfflineReason,
    },
    /// The user's record cannot be read or believed, so whether the user is online is unknown.
    #[non_exhaustive]
    Unreadable {
        /// Who.
        user: Arc<str>,
        /// The server that holds the record.
        server: Arc<str>,
        /// What is wrong with it.
        error: Error,
    },
    /// The server is unavailable, or refuses. Its users are unknown from here on, and the clock turns none of them
    /// offline. The watch tries again by itself.
    #[non_exhaustive]
    ServerDown {
        /// Which.
        server: Arc<str>,
        /// Why.
        error: Error,
    },
    /// The server is back and has been listed. What has changed meanwhile follows, and then [`Ready`](Self::Ready).
    #[non_exhaustive]
    ServerUp {
        /// Which.
        server: Arc<str>,
        /// How long the watch was without it.
        down_for: Duration,
    },
    /// The feed lost updates, so that some users may be wrong until the server is listed again: within about ten
    /// seconds as a rule. What has changed follows then, and [`Ready`](Self::Ready).
    #[non_exhaustive]
    Missed {
        /// Which.
        server: Arc<str>,
        /// How many at most: of any key of any program.
        updates: u64,
    },
    /// What was told so far is what is true now.
    #[non_exhaustive]
    Ready {
        /// How many users are online on the servers that are up.
        online: usize,
        /// Whether that is all: no server is down, and none has updates that are still missing.
        complete: bool,
    },
}

/// Why a user is not online any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OfflineReason {
    /// Not seen within `online_timeout`.
    TimedOut,
    /// Signed out.
    SignedOut,
    /// The record is gone: forgotten, evicted or expired.
    Gone,
}
