//! Keeps users online while their connections are open.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use event_listener::Event;

/// Keeps a user online while it lives: hold it as long as a WebSocket or a stream of server-sent events is open. Made by
/// [`Recorder::keep_online`](crate::Recorder::keep_online).
///
/// The user goes offline `online_timeout` after the guard is dropped, unless something else keeps the user online. A
/// sign-out or a `forget`, in any program, ends the guard for good: close the connection that it belongs to. The guard does
/// not keep its recorder alive.
///
/// ```
/// use last_seen::{Recorder, Tracker};
///
/// let tracker = Tracker::in_memory();
/// let recorder = Recorder::new(tracker.clone());
/// let guard = recorder.keep_online("alice");
/// assert!(!guard.ended());
/// tracker.sign_out("alice")?;
/// assert!(guard.ended());
/// # Ok::<(), last_seen::Error>(())
/// ```
#[must_use = "the user is kept online only while it lives"]
pub struct OnlineGuard {
    /// `None` if the user is invalid or the recorder was closed: the guard then does nothing.
    pub(crate) kept: Option<Arc<Kept>>,
}

impl OnlineGuard {
    /// Returns whether a sign-out or a `forget` has ended the guard. One on the recorder's tracker ends it at once, one in
    /// another program within a third of `online_timeout`.
    pub fn ended(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.ended.load(Ordering::Acquire))
    }

    /// Waits until the guard has [`ended`](Self::ended), and forever if it never does. Cancelling the wait does no harm.
    #[cfg(feature = "tokio")]
    pub async fn wait_ended(&self) {
        let Some(kept) = &self.kept else { return std::future::pending().await };
        while !kept.ended.load(Ordering::Acquire) {
            let listener = kept.event.listen();
            if !kept.ended.load(Ordering::Acquire) {
                listener.await;
            }
        }
    }
}

impl fmt::Debug for OnlineGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnlineGuard").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

/// State that the guards of one user share.
#[derive(Default)]
pub(crate) struct Kept {
    ended: AtomicBool,
    event: Event,
}

/// The queue's entry for a user who is kept online.
pub(super) struct Renewal {
    kept: Weak<Kept>,
    /// Time of the user's last real sighting, in microseconds since 1970.
    pub(super) as_of: i64,
    /// The second of the queue's lifetime in which the user is queued again.
    pub(super) due: u32,
}

impl Renewal {
    pub(super) fn new(kept: &Arc<Kept>, as_of: i64, due: u32) -> Self {
        Self { kept: Arc::downgrade(kept), as_of, due }
    }

    /// Returns the guards' shared state; `None` once the user's last guard is dropped.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.upgrade()
    }

    pub(super) fn end(&self) {
        if let Some(kept) = self.kept.upgrade() {
            kept.ended.store(true, Ordering::Release);
            kept.event.notify(usize::MAX);
        }
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("due", &self.due).finish_non_exhaustive()
    }
}
