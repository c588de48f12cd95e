//! Remember when each user was last seen, and say who is online, in a memcached that every language stack of
//! a site can share.
//!
//! # In request code
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! use last_seen::Tracker;
//!
//! # const SERVERS: &str = "memory:";
//! # let _ = stringify!(
//! let tracker = Tracker::connect("127.0.0.1:11211")?;
//! # );
//! # let tracker = Tracker::connect(SERVERS)?;
//! tracker.seen("alice")?;
//! assert!(tracker.online("alice")?);
//! # Ok(()) }
//! ```
//!
//! # In a view that must not fail
//!
//! "memcached is down" and "never seen" are different answers. Show them differently:
//!
//! ```
//! # let tracker = last_seen::Tracker::in_memory();
//! let text = match tracker.presence("alice").ok() {
//!     Some(presence) if presence.online => "online".to_owned(),
//!     Some(presence) => format!("last seen {}", presence.ago()),
//!     None => "unknown".to_owned(),
//! };
//! assert_eq!(text, "last seen awhile ago");
//! ```
//!
//! # For a page of users
//!
//! ```
//! # let tracker = last_seen::Tracker::in_memory();
//! let online = tracker.presences(["alice", "bob", "carol"]).into_iter().flatten().filter(|p| p.online);
//! assert_eq!(online.count(), 0);
//! ```
//!
//! # At sign-out
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! # let tracker = last_seen::Tracker::in_memory();
//! tracker.seen("alice")?;
//! tracker.sign_out("alice")?;
//! assert!(!tracker.online("alice")?);
//! assert!(tracker.last_seen("alice")?.is_some());
//! # Ok(()) }
//! ```
//!
//! # What is shared
//!
//! Key `seen_<user>`, value the Unix time in ASCII digits, client flags 0, expiry 7 days. Every memcached
//! client of every language reads and writes that with one call.
//!
//! # Where memcached is
//!
//! memcached 1.4 or later, or twemproxy, by the classic text protocol: over TCP, a Unix socket or, with the feature
//! `tls`, TLS; with or without a password; one server or several. [`Settings::with_servers`] has every form of an
//! address. Blocking calls, async calls and recorder share the connections of a tracker, and a circuit breaker for
//! each server makes calls fail fast while it is down. A program that forks creates its tracker after forking.
//!
//! The feature `meta`, which is on by default, adds to [`Tracker::inspect`] what only memcached's meta commands tell.
//!
//! # Who is online
//!
//! With the feature `who` a tracker lists everyone who is online (`Tracker::online_users`), and follows who comes and goes
//! in a `Roster` that heals itself (`Tracker::watch`), without an index.
//!
//! # Settings
//!
//! From a file through serde ([`Settings`]), from the environment ([`Tracker::from_env`]), or in code:
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! use std::time::Duration;
//! use last_seen::{Settings, Tracker};
//!
//! let settings = Settings::default().with_servers(["memory:"]).with_online_timeout(Duration::from_secs(60));
//! let tracker = Tracker::new(settings)?;
//! # Ok(()) }
//! ```

#[cfg(feature = "tokio")]
mod async_tracker;
mod error;
mod global;
mod memcached;
mod presence;
mod queue;
mod record;
mod recorder;
#[cfg(feature = "tower")]
mod seen_layer;
mod settings;
mod store;
mod tracker;
#[cfg(feature = "who")]
mod who;

#[cfg(feature = "tokio")]
pub use async_tracker::AsyncTracker;
/// The crate whose times the public API takes and gives.
pub use chrono;
pub use error::{Error, InvalidRecordError, InvalidUserError, Result, SettingsError};
pub use global::{global, set_global};
pub use memcached::{ServerInfo, ServerStatus};
pub use presence::{Ago, Presence};
pub use queue::OnlineGuard;
pub use recorder::{Recorder, RecorderEvent, RecorderStats};
#[cfg(feature = "tower")]
pub use seen_layer::{SeenLayer, SeenService};
pub use settings::{Format, Settings, Sharding};
pub use tracker::{RecordInfo, RestoreSummary, StoredRecord, Tracker};
#[cfg(all(feature = "tokio", feature = "who"))]
pub use who::AsyncWatch;
#[cfg(feature = "who")]
pub use who::{
    Change, OfflineReason, OnlineUser, OnlineUsers, Roster, RosterServer, RosterUser, Status, Watch,
};

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(all(doctest, feature = "django"))]
#[doc = include_str!("../docs/sharing.md")]
struct Sharing;
