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

/// Notes who is seen, and leaves the writing to a thread of its own. A clone is a handle on the same writer.
///
/// `seen` does no I/O, never blocks on any, and has nothing to handle: it is made for code that runs on every
/// request, in any runtime or none. The writer writes each user once in every `flush_interval`, with the newest
/// time, however many requests there were. What it could not write it keeps, up to `recorder_capacity` users,
/// and writes when the server is back; beyond that the newest comers are dropped and counted.
///
/// No sighting undoes a sign-out or a `forget` that came after it, in whichever process and for however long it was
/// queued, up to a day: both leave a tombstone beside the record, which the writer reads before it writes. A record never
/// moves back in time, and a second that another process has written already is not written again. What is not covered is
/// in `docs/sharing.md`, "Sign-outs".
///
/// The tracker that it writes through shows what is queued: a user who is seen in a request is online in its page.
///
/// To end a program, stop serving first, on SIGTERM as on Ctrl-C, and then call [`close`](Self::close), in async code on a
/// thread for blocking work: the example `axum` shows it. Dropping the last handle closes too, for 2 s at most, but a
/// recorder in a `static` is never dropped, and `std::process::exit` drops nothing: both lose what is queued, which is the
/// last `flush_interval`. A process that forks has its writer in the parent alone: make the recorder after the fork.
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
    ended: Mutex<Option<Receiver<()>>>,
}

impl Recorder {
    /// A recorder that writes through this tracker. Its knobs are the tracker's settings `flush_interval` and
    /// `recorder_capacity`.
    pub fn new(tracker: Tracker) -> Self {
        Self::start(tracker, None)
    }

    /// A recorder that tells the hook what it has written, batch by batch, in the order of each user's calls:
    /// the way to a durable copy of what a cache forgets. [`Tracker::restore`] brings the copy back. A sign-out
    /// and a `forget` on any handle of the tracker are told too; what [`Tracker::seen`] writes itself is not, so
    /// note it here as well.
    ///
    /// The hook runs on a thread of its own. One that is slow or panics is reported, and never stops the
    /// writing.
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
            writer.run(&received);
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
        let (commands, ended) = (Some(commands), Mutex::new(Some(ended)));
        Self {
            handle: Arc::new(Handle { tracker, queue, invalid, reported, failed_writes, commands, ended }),
        }
    }

    /// Notes that the user is here now. A user that cannot be a key is counted, and reported through `tracing`
    /// at most once a minute.
    pub fn seen(&self, user: impl Display) {
        let handle = &*self.handle;
        let micros = now();
        if let Err(error) = handle.queue.enqueue(handle.tracker.settings().key_prefix(), user, micros) {
            handle.invalid(&error, micros);
        }
    }

    /// Notes that the user is here now, and for as long as the guard lives: for a WebSocket or a stream of server-sent
    /// events, where no requests tell. The user is written again every third of `online_timeout`; several guards of a
    /// user are as one. A user who cannot be a key is reported as by [`seen`](Self::seen), and the guard does nothing.
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

    /// Writes what is queued. What was seen before this call is in memcached when it returns `Ok`; a hook may
    /// be told a little later.
    ///
    /// # Errors
    /// The first failure; what was not written stays queued.
    pub fn flush(&self) -> Result<()> {
        self.handle.command(Command::Flush)
    }

    /// Writes what is queued and ends the writer and the hook; what is noted from now on, through whichever handle, is
    /// dropped. Each server is tried, also one whose circuit is open. A second call does nothing, and waits for the first.
    ///
    /// # Errors
    /// The first failure; what was not written is lost. [`Error::System`] with a timeout where the hook has
    /// not had all its events 2 s later.
    pub fn close(&self) -> Result<()> {
        self.handle.queue.close();
        match self.handle.command(Command::Close) {
            Err(Error::Closed) => {}
            closed => closed?,
        }
        if let Err(RecvTimeoutError::Timeout) = self.handle.wait() {
            let told = "the hook has not had all its events yet";
            return Err(Error::system(io::Error::new(io::ErrorKind::TimedOut, told)));
        }
        Ok(())
    }

    /// What has become of the sightings so far.
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
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        ended.map_or(Ok(()), |ended| ended.recv_timeout(DROP_TIMEOUT))
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
        self.queue.close();
        // The writer ends when nobody can command it any more.
        self.commands = None;
        let _ = self.wait();
    }
}

/// What a recorder has written, or what was done beside it, in the order of each user's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecorderEvent {
    /// The user's record was written.
    Seen {
        /// The user.
        user: String,
        /// When the user was seen.
        at: DateTime<Utc>,
    },
    /// The user signed out.
    SignedOut {
        /// The user.
        user: String,
        /// When that was.
        at: DateTime<Utc>,
        /// The latest time that is offline: what the record holds now, unless it held an earlier one.
        last_seen: DateTime<Utc>,
    },
    /// The user was forgotten.
    Forgotten {
        /// The user.
        user: String,
        /// When that was: what is of an earlier time is to be deleted.
        at: DateTime<Utc>,
    },
}

/// What has become of the calls of [`Recorder::seen`]:
/// `seen = coalesced + written + dropped + cancelled + queued`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecorderStats {
    /// Calls with a user that can be a key.
    pub seen: u64,
    /// Those of a user who was queued already.
    pub coalesced: u64,
    /// Those that are in the store.
    pub written: u64,
    /// Those beyond `recorder_capacity`.
    pub dropped: u64,
    /// Those that a sign-out or a `forget` took back before they were written.
    pub cancelled: u64,
    /// Those still to be written.
    pub queued: u64,
    /// Calls with a user that cannot be a key.
    pub invalid_users: u64,
    /// Writes that failed; each stayed queued.
    pub failed_writes: u64,
}
