//! Track who is online and when users were last seen, in memcached.
//!
//! The record of a user is one small item that every language reads and writes with one call, so all programs of a site can
//! share it. It is updated when the user makes a request, and expires after a week. A user counts as online for five
//! minutes after the last request.
//!
//! # Quick start
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! use last_seen::Tracker;
//!
//! let tracker = Tracker::in_memory(); // or Tracker::connect("127.0.0.1:11211")?
//! tracker.seen("alice")?;
//! let alice = tracker.presence("alice")?;
//! println!("alice was last seen {}; online: {}", alice.ago(), alice.online);
//! // alice was last seen just now; online: true
//! # assert_eq!((alice.ago().to_string(), alice.online), ("just now".to_owned(), true));
//! # Ok(()) }
//! ```
//!
//! # Which type do I need?
//!
//! | in | use | which |
//! | --- | --- | --- |
//! | a request | [`Recorder`], or [`SeenLayer`] in axum and other tower services | queues the sighting: no I/O, no error |
//! | a WebSocket or an event stream | [`Recorder::keep_online`] | gives an [`OnlineGuard`], which keeps the user online while it lives |
//! | a blocking view, a job, a script | [`Tracker`] | reads and writes at once, and blocks |
//! | an async view | [`AsyncTracker`] | has the same methods as `async fn` |
//! | a report on everyone who is online | [`Tracker::online_users`] | lists them, once |
//! | a dashboard | [`Tracker::watch`] and a [`Roster`] | follows who comes online and goes offline, live |
//! | code that has no place to keep a tracker | [`global()`] | is the program's one |
//!
//! Each is cheap to clone, and clones share one store. Make one [`Tracker`] for a process, and everything else from it.
//!
//! # Three answers
//!
//! "memcached is down" and "this user has no record" are different answers. Show them differently, so that an outage never
//! makes a user look offline:
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! use last_seen::Tracker;
//!
//! fn status(tracker: &Tracker, user: &str) -> String {
//!     match tracker.presence(user) {
//!         Ok(presence) if presence.online => "online".to_owned(),
//!         Ok(presence) if presence.last_seen.is_some() => format!("last seen {}", presence.ago()),
//!         // Not seen in the last week, or memcached evicted the record.
//!         Ok(_) => "no record".to_owned(),
//!         // memcached is down or does not answer, or something that is not a time is stored there.
//!         Err(error) => format!("unknown: {error}"),
//!     }
//! }
//!
//! let tracker = Tracker::in_memory();
//! tracker.seen("alice")?;
//! assert_eq!(status(&tracker, "alice"), "online");
//! assert_eq!(status(&tracker, "bob"), "no record");
//!
//! let down = Tracker::connect("127.0.0.1:1")?; // nothing listens there
//! assert!(status(&down, "alice").starts_with("unknown: "));
//! # Ok(()) }
//! ```
//!
//! # In a web framework
//!
//! A complete axum site, with the features `tokio` and `tower`:
//!
#![cfg_attr(not(doctest), doc = "```")]
#![cfg_attr(not(doctest), doc = include_str!("../docs/recipes/axum.rs"))]
#![cfg_attr(not(doctest), doc = "```")]
//!
//! [`recipes`] has the others: axum-login, tower-sessions, JSON Web Tokens, tonic, Actix Web, poem, warp, loco, a WebSocket
//! and server-sent events.
//!
//! # A page of users
//!
//! [`Tracker::presences`] reads a page of users in one round trip. Match on each result, since the servers of some users
//! may be down and those of others not:
//!
//! ```
//! # let tracker = last_seen::Tracker::in_memory();
//! let users = ["alice", "bob"];
//! for (user, presence) in users.iter().zip(tracker.presences(users)) {
//!     match presence {
//!         Ok(presence) => println!("{user}: {}", presence.ago()),
//!         Err(_) => println!("{user}: unknown"),
//!     }
//! }
//! ```
//!
//! # Sign-out
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
//! The record says only when a user was last seen, and every reader works out "online" from that. So [`Tracker::sign_out`]
//! moves the time back to just outside the online window: `online_timeout` and 5 s ago, the 5 s for hosts whose clocks
//! differ. It also cancels sightings that a [`Recorder`] in any process has queued. [`Tracker::forget`] deletes the record.
//!
//! # Who is online
//!
//! The feature `who` uses memcached's own crawler and log: no index, no extra write, and users recorded in any language are
//! included.
//!
//! * [`Tracker::online_users`] makes every server list all its keys: about 1 s for a million, or 3 s if all were stored or
//!   read within `online_timeout`. Use it in jobs and on administrators' pages, not in request handlers.
//! * [`Tracker::watch`] lists once, then follows the log on one connection per server, with one read for each user who is
//!   stored. A [`Roster`] applies its changes. Use one per process: a server serves 20 at most.
//!
//! # Sharing the record
//!
//! | | |
//! | --- | --- |
//! | key | `seen_` and the user: at most 250 bytes, no spaces or control characters |
//! | value | Unix time in seconds, in ASCII digits, such as `1795486388` |
//! | flags | 0 |
//! | expiry | 604,800 s (7 days) |
//! | online | unless `now > last_seen + 300`, in whole seconds |
//!
//! [docs/sharing.md](https://docs.rs/crate/last-seen/latest/source/docs/sharing.md) has programs in eight languages. To
//! share records with an unmodified Django site, which stores pickled datetimes, enable the feature `django` and start from
//! [`Settings::django`] or [`Settings::django_aware`]. Anyone who can write to memcached can forge these times: do not use
//! them for authorization.
//!
//! # Configuration
//!
//! [`Settings`] come from code, from any serde format, or from `LAST_SEEN_*` environment variables
//! ([`Tracker::from_env`]); [`Settings::with_servers`] has every form of a server's address.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use last_seen::{Settings, Tracker};
//!
//! let file: Settings = toml::from_str(r#"
//!     servers = "memory:"
//!     online_timeout = "10m"
//! "#)?;
//! let code = Settings::default().with_servers(["memory:"]).with_online_timeout(Duration::from_secs(600));
//! assert_eq!(file, code);
//! let tracker = Tracker::new(file)?;
//! # Ok(()) }
//! ```
//!
//! # When memcached fails
//!
//! * [`Tracker::seen`], or a read of up to 1,000 users, waits at most twice
//!   [`server_timeout`](Settings::with_server_timeout) (100 ms), also if several servers are down. [`Tracker::sign_out`] and
//!   [`Tracker::forget`] make about four such exchanges, and [`Tracker::inspect`] makes two.
//! * After three consecutive failures a circuit breaker opens: calls to that server fail fast, until a background probe,
//!   which resolves its name again each time, gets an answer.
//! * [`Error::Unavailable`], [`Error::Server`] and [`Error::InvalidRecord`] mean "unknown". One server down affects only its
//!   own users.
//! * A [`Recorder`] keeps what it could not write, the newest time of up to 100,000 users, for up to a day, and writes it when
//!   the server is back.
//! * Each outage is one `tracing` event when it begins and one when it ends; [`Tracker::server_status`] and
//!   [`Recorder::stats`] are for health checks and metrics.
//!
//! [docs/operating.md](https://docs.rs/crate/last-seen/latest/source/docs/operating.md) has each kind of failure, capacity
//! planning and alarms.
//!
//! # Testing your application
//!
//! [`Tracker::in_memory`] needs no memcached, and `Tracker::connect("127.0.0.1:1")` is one that is down. Time is an
//! argument: write the past with [`Tracker::seen_at`]. The clock is the system's; tokio's paused clock does not move it.
//!
//! ```
//! # fn main() -> Result<(), last_seen::Error> {
//! use last_seen::{Recorder, Tracker, chrono::{TimeDelta, Utc}};
//!
//! let tracker = Tracker::in_memory();
//! tracker.seen_at("bob", Utc::now() - TimeDelta::minutes(6))?;
//! assert!(!tracker.online("bob")?);
//! assert_eq!(tracker.presence("bob")?.ago().to_string(), "6 minutes ago");
//!
//! let recorder = Recorder::new(tracker.clone());
//! recorder.seen("bob"); // what a request does
//! recorder.flush()?; // not needed for readers of the same tracker
//! assert!(tracker.online("bob")?);
//! # Ok(()) }
//! ```
//!
//! # Feature flags
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `meta` | yes | what [`Tracker::inspect`] tells by memcached's meta commands: time to live, idle time, whether it was read |
//! | `tokio` | | [`AsyncTracker`], [`AsyncWatch`] (with `who`) and [`OnlineGuard::wait_ended`] |
//! | `tower` | | [`SeenLayer`], for axum and other tower services |
//! | `who` | | [`Tracker::online_users`], [`Tracker::watch`] and [`Roster`] |
//! | `django` | | the records of an unmodified Django site: [`Settings::django`], [`Settings::django_aware`] |
//! | `tls` | | servers named `tls://…`, by rustls with ring, which needs a C compiler |
//!
//! # Panics, unsafe code, minimum Rust, systems
//!
//! Nothing in this crate panics, except that tokio does if an [`AsyncTracker`] is awaited outside its runtime. There is no
//! `unsafe` code in it (`unsafe_code = "forbid"`). It needs Rust 1.95 or later, and 1.88 without the feature `meta`.
//!
//! It is tested on Linux, and only compiled for Windows and, without `tls`, for macOS and FreeBSD. On Windows it has no Unix
//! sockets.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod async_tracker;
mod error;
mod global;
mod memcached;
mod presence;
mod queue;
mod record;
// For readers of the docs alone. Its code is compiled where it has the frameworks: in recipes/.
#[cfg(all(doc, not(doctest)))]
pub mod recipes;
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
