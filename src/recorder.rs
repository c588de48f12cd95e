//! The recorder: `seen` for the request path.

mod hook;
mod writer;

use std::{
    fmt::Display,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    error::{Error, Result},
    queue::{OnlineGuard, Queue},
    tracker::Tracker,
};
use hook::Hook;
use writer::{Command, Writer};

/// How long the last handle waits, when it is dropped, for what is queued to be written.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Queues sightings in memory and writes them from a background thread. Cheap to clone; clones share one writer.
///
/// [`seen`](Self::seen) does no I/O, never blocks on any and returns no error: it is made for code that runs on every
/// request, in any runtime or none. The writer writes each user at most once per
/// [`flush_interval`](crate::Settings::with_flush_interval), with the newest time, however many requests there were.
/// Sightings that it could not write stay queued until the server is back, for up to a day and up to
/// [`recorder_capacity`](crate::Settings::with_recorder_capacity) users; what is older, and new users beyond that, are
/// dropped and counted.
///
/// A sign-out or a `forget`, in any process, cancels every sighting from before it that is still queued anywhere, for up to
/// a day: both leave a tombstone beside the record, which the writer reads before it writes. A record never moves back in
/// time, and a second that another process has written already is not written again.
/// [docs/operating.md](https://docs.rs/crate/last-seen/latest/source/docs/operating.md), "Sign-outs and tombstones", says what
/// is not covered.
///
/// Readers of the same tracker see queued sightings: a user who made the request is online on its page.
///
/// To end a program, stop serving first, on SIGTERM as well as on Ctrl-C, and then call [`close`](Self::close), in async
/// code on a thread for blocking work. Dropping the last handle closes too, and waits for at most 2 s. A recorder in a
/// `static` is never dropped, and `std::process::exit` drops nothing: both lose what is queued, as a rule the last
/// `flush_interval`. In a program that forks, create the recorder after forking.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// use last_seen::{Recorder, Tracker};
///
/// let tracker = Tracker::in_memory();
/// let recorder = Recorder::new(tracker.clone());
/// recorder.seen("alice"); // in request code
/// recorder.flush()?; // not needed: happens every second
/// assert!(tracker.online("alice")?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Recorder {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    tracker: Tracker,
    queue: Arc<Queue>,
    invalid: AtomicU64,
    /// When an invalid user was last reported, in Unix seconds.
    reported: AtomicU64,
    failed_writes: Arc<AtomicU64>,
    /// `None` only while the handle is dropped.
    commands: Option<Sender<Command>>,
    /// Ends when the writer has; waited for once.
    ended: Mutex<Receiver<()>>,
}

impl Recorder {
    /// Creates a recorder that writes through this tracker, as often as its setting `flush_interval` says, and queues at most
    /// `recorder_capacity` users. If the system has no thread for it, it logs an error and drops every sighting.
    pub fn new(tracker: Tracker) -> Self {
        Self::start(tracker, None)
    }

    /// Creates a recorder that also calls a hook with each batch that it has written, in the order of each user's calls. Use
    /// it to keep a durable copy of the records, which [`Tracker::restore`] brings back. The hook also gets each sign-out and
    /// `forget` on any handle of the tracker. It does not get what [`Tracker::seen`] writes directly.
    ///
    /// The hook runs on a thread of its own. If it is slow or panics, that is logged and never stops the writing.
    ///
    /// ```
    /// use last_seen::{Recorder, RecorderEvent, Tracker};
    ///
    /// let recorder = Recorder::with_hook(Tracker::in_memory(), |events| {
    ///     for event in events {
    ///         match event {
    ///             RecorderEvent::Seen { user, at } => println!("keep the later of {at} and what is known of {user}"),
    ///             RecorderEvent::SignedOut { user, last_seen, .. } => {
    ///                 println!("keep the earlier of {last_seen} and what is known of {user}");
    ///             }
    ///             RecorderEvent::Forgotten { user, .. } => println!("delete {user}"),
    ///             _ => {}
    ///         }
    ///     }
    /// });
    /// recorder.seen("alice");
    /// ```
    pub fn with_hook(tracker: Tracker, on_flush: impl Fn(&[RecorderEvent]) + Send + 'static) -> Self {
        Self::start(tracker, Some(Box::new(on_flush)))
    }

    fn start(tracker: Tracker, on_flush: Option<hook::OnFlush>) -> Self {
        let capacity = tracker.settings().recorder_capacity();
        let queue = Arc::new(Queue::new(capacity, tracker.settings().online_timeout()));
        let failed_writes = Arc::new(AtomicU64::new(0));
        let (commands, received) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let hook = on_flush.map(|on_flush| Hook::start(on_flush, capacity));
        let writer = Writer::new(tracker.clone(), queue.clone(), failed_writes.clone(), hook);
        let run = move || {
            writer.run(received);
            drop(ends);
        };
        match thread::Builder::new().name("last-seen-recorder".to_owned()).spawn(run) {
            Ok(_) => tracker.queues().add(&queue),
            Err(error) => {
                tracing::error!(%error, "the recorder has no thread: nothing is recorded");
                queue.close();
            }
        }
        let (invalid, reported) = (AtomicU64::new(0), AtomicU64::new(0));
        let (commands, ended) = (Some(commands), Mutex::new(ended));
        Self {
            handle: Arc::new(Handle { tracker, queue, invalid, reported, failed_writes, commands, ended }),
        }
    }

    /// Queues a sighting of the user now. A user that cannot be a memcached key is counted, and logged at most once a minute.
    pub fn seen(&self, user: impl Display) {
        let handle = &*self.handle;
        let micros = now();
        if let Err(error) = handle.queue.enqueue(handle.tracker.settings().key_prefix(), user, micros) {
            handle.invalid(&error, micros);
        }
    }

    /// Keeps the user online from now on until the guard is dropped: for a WebSocket or a stream of server-sent events, in
    /// which no requests follow. Queues a sighting now, and another every third of `online_timeout`; several guards of a user
    /// cost as much as one. A user that cannot be a memcached key is counted and logged as by [`seen`](Self::seen), and the
    /// guard does nothing.
    ///
    /// ```
    /// use last_seen::{Recorder, Tracker};
    ///
    /// let recorder = Recorder::new(Tracker::in_memory());
    /// let guard = recorder.keep_online("alice"); // when the socket opens
    /// while !guard.ended() { // a sign-out ends it: close the socket
    ///     break; // serve the socket
    /// }
    /// drop(guard); // when it closes
    /// ```
    pub fn keep_online(&self, user: impl Display) -> OnlineGuard {
        let handle = &*self.handle;
        let micros = now();
        let kept = handle.queue.keep_online(handle.tracker.settings().key_prefix(), user, micros);
        kept.unwrap_or_else(|error| {
            handle.invalid(&error, micros);
            OnlineGuard { kept: None }
        })
    }

    /// Writes what is queued, and blocks until it is written. When it returns `Ok`, every sighting from before the call is in
    /// memcached; a hook may be called a little later.
    ///
    /// # Errors
    /// Returns the first failure; what was not written stays queued. Returns [`Error::Closed`] after
    /// [`close`](Self::close).
    pub fn flush(&self) -> Result<()> {
        self.handle.command(Command::Flush)
    }

    /// Writes what is queued, and ends the writer and the hook. Sightings from now on, through any handle, are dropped. Tries
    /// each server once, even if its circuit is open. A second call only waits for the first.
    ///
    /// # Errors
    /// Returns the first failure; what was not written is lost. Returns [`Error::System`] with a timeout if the hook is still
    /// busy 2 s later.
    pub fn close(&self) -> Result<()> {
        self.handle.queue.close();
        let closed = self.handle.command(Command::Close);
        let waited = self.handle.wait();
        match closed {
            Err(Error::Closed) => {}
            closed => closed?,
        }
        if let Err(RecvTimeoutError::Timeout) = waited {
            let told = "the hook has not had all its events yet";
            return Err(Error::system(io::Error::new(io::ErrorKind::TimedOut, told)));
        }
        Ok(())
    }

    /// Returns counters of all sightings so far, for metrics.
    pub fn stats(&self) -> RecorderStats {
        let counts = self.handle.queue.counts();
        RecorderStats {
            seen: counts.seen,
            coalesced: counts.coalesced,
            written: counts.written,
            dropped: counts.dropped,
            cancelled: counts.cancelled,
            queued: counts.queued,
            invalid_users: self.handle.invalid.load(Ordering::Relaxed),
            failed_writes: self.handle.failed_writes.load(Ordering::Relaxed),
        }
    }
}

/// In microseconds since 1970, at half the cost of `Utc::now()`, which also computes the calendar date.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().cast_signed() * 1_000_000 + i64::from(now.subsec_micros())
}

impl Handle {
    fn command(&self, command: impl FnOnce(Sender<Result<()>>) -> Command) -> Result<()> {
        let (answer, answered) = mpsc::channel();
        let sent = self.commands.as_ref().map(|commands| commands.send(command(answer)));
        match sent {
            Some(Ok(())) => answered.recv().unwrap_or(Err(Error::Closed)),
            _ => Err(Error::Closed),
        }
    }

    /// Waits until the writer has ended, for a while.
    fn wait(&self) -> Result<(), RecvTimeoutError> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(DROP_TIMEOUT)
    }

    #[cold]
    fn invalid(&self, error: &Error, micros: i64) {
        let now = micros.cast_unsigned() / 1_000_000;
        let invalid_users = self.invalid.fetch_add(1, Ordering::Relaxed) + 1;
        let last = self.reported.load(Ordering::Relaxed);
        let due = now.abs_diff(last) >= 60;
        if due && self.reported.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%error, invalid_users, "sighting ignored (invalid user); further ones are only counted for the next minute");
        }
    }
}

/// Of the last of the recorder's handles.
impl Drop for Handle {
    fn drop(&mut self) {
        let was_closed = self.queue.close();
        // The writer ends when nobody can command it any more.
        self.commands = None;
        if !was_closed {
            let _ = self.wait();
        }
    }
}

/// One thing that a hook is called with: what a recorder has written, or a sign-out or deletion. Each user's events come in
/// the order of the calls. Made by [`Recorder::with_hook`].
///
/// ```
/// use last_seen::RecorderEvent;
///
/// fn log(event: &RecorderEvent) -> String {
///     match event {
///         RecorderEvent::Seen { user, at } => format!("{user} was seen at {at}"),
///         RecorderEvent::SignedOut { user, at, .. } => format!("{user} signed out at {at}"),
///         RecorderEvent::Forgotten { user, at } => format!("{user} was forgotten at {at}"),
///         _ => String::new(),
///     }
/// }
/// # let recorder = last_seen::Recorder::with_hook(last_seen::Tracker::in_memory(), |events| {
/// #     events.iter().for_each(|event| assert!(log(event).starts_with("alice was seen at ")));
/// # });
/// # recorder.seen("alice");
/// # recorder.close().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecorderEvent {
    /// Says that the user's record was written.
    Seen {
        /// Names the user.
        user: String,
        /// Tells when the user was seen.
        at: DateTime<Utc>,
    },
    /// Says that the user was signed out.
    SignedOut {
        /// Names the user.
        user: String,
        /// Tells when the user was signed out.
        at: DateTime<Utc>,
        /// Holds the latest time that is offline: the record holds this now, unless it held an earlier one.
        last_seen: DateTime<Utc>,
    },
    /// Says that the user's record was deleted.
    Forgotten {
        /// Names the user.
        user: String,
        /// Tells when that was: delete your copy if it is of an earlier time.
        at: DateTime<Utc>,
    },
}

/// Counts the sightings of a [`Recorder`] since it was created: `seen = coalesced + written + dropped + cancelled + queued`.
///
/// ```
/// # let recorder = last_seen::Recorder::new(last_seen::Tracker::in_memory());
/// recorder.seen("alice");
/// recorder.seen("alice");
/// recorder.flush()?;
/// let stats = recorder.stats();
/// assert_eq!((stats.seen, stats.coalesced + stats.written, stats.queued), (2, 2, 0));
/// # Ok::<(), last_seen::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecorderStats {
    /// Counts sightings of valid users.
    pub seen: u64,
    /// Counts sightings of users who were queued already.
    pub coalesced: u64,
    /// Counts sightings that are in memcached.
    pub written: u64,
    /// Counts sightings that were dropped: the queue was full, they had waited for over a day, or the recorder was closed.
    pub dropped: u64,
    /// Counts sightings that a sign-out or a `forget` cancelled before they were written.
    pub cancelled: u64,
    /// Tells how many sightings are queued now.
    pub queued: u64,
    /// Counts calls with a user that cannot be a memcached key; these are not in `seen`.
    pub invalid_users: u64,
    /// Counts writes that failed; each sighting stayed queued.
    pub failed_writes: u64,
}
