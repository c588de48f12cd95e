//! Passes changes from the followers of all servers to the reader of the watch.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener, Listener};

use super::change::Change;
use crate::memcached::Closer;

/// While this many changes wait for the reader, followers read no records. A user who is seen several times meanwhile
/// is then read only once.
const MAX_WAITING: usize = 1_000;

pub(super) struct Hub {
    state: Mutex<State>,
    /// Notified when there is a change.
    changed: Event,
    /// Notified when the hub is closed.
    closed: Event,
}

struct State {
    changes: VecDeque<Change>,
    servers: Vec<ServerState>,
    /// Whether [`Change::Ready`] is due: a server was resynced, or was down from the start.
    ready_due: bool,
    /// Handles that close the followers' connections.
    closers: Vec<Closer>,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct ServerState {
    phase: Phase,
    online: usize,
}

/// How completely a server's users are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The server is being listed, at the start or after an outage.
    Starting,
    /// Every user who is online has been reported.
    Complete,
    /// Updates were lost, so users may be missing or wrong until the server is listed again.
    Lossy,
    Down,
}

impl Hub {
    pub(super) fn new(servers: usize) -> Self {
        let state = ServerState { phase: Phase::Starting, online: 0 };
        let state = State {
            changes: VecDeque::new(),
            servers: vec![state; servers],
            ready_due: false,
            closers: Vec::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Event::new(), closed: Event::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a server's changes and stores its state. `resynced` says whether a resync of the server has just ended.
    pub(super) fn publish(
        &self,
        server: usize,
        changes: Vec<Change>,
        phase: Phase,
        online: usize,
        resynced: bool,
    ) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.servers[server], ServerState { phase, online });
        state.ready_due |= resynced || (phase == Phase::Down && before.phase == Phase::Starting);
        state.changes.extend(changes);
        if state.ready_due && state.servers.iter().all(|server| server.phase != Phase::Starting) {
            state.ready_due = false;
            let up = state.servers.iter().filter(|server| server.phase != Phase::Down);
            let online = up.map(|server| server.online).sum();
            let complete = state.servers.iter().all(|server| server.phase == Phase::Complete);
            state.changes.push_back(Change::Ready { online, complete });
        }
        if !state.changes.is_empty() {
            drop(state);
            self.changed.notify(usize::MAX);
        }
    }

    /// Returns whether fewer than [`MAX_WAITING`] changes wait for the reader.
    pub(super) fn has_room(&self) -> bool {
        self.lock().changes.len() < MAX_WAITING
    }

    /// Returns the next change, or a listener that is notified when there is one.
    pub(super) fn take(&self) -> Result<Change, EventListener> {
        let take = || self.lock().changes.pop_front();
        // Look again once the listener exists, because a change may have come in between.
        take().map_or_else(
            || {
                let listener = self.changed.listen();
                take().ok_or(listener)
            },
            Ok,
        )
    }

    /// Waits for the next change, at most until `until`.
    pub(super) fn wait(&self, until: Option<Instant>) -> Option<Change> {
        loop {
            match self.take() {
                Ok(change) => return Some(change),
                Err(listener) => match until {
                    None => listener.wait(),
                    Some(until) => drop(listener.wait_deadline(until)?),
                },
            }
        }
    }

    /// Waits for `pause`, or until the hub is closed. Returns whether it is closed.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let closed = self.closed.listen();
        self.is_closed() || closed.wait_timeout(pause).is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Registers a connection to be closed with the hub. Returns whether the hub is closed already.
    pub(super) fn register(&self, closer: Closer) -> bool {
        let mut state = self.lock();
        state.closers.retain(|closer| !closer.is_closed());
        state.closers.push(closer);
        state.closed
    }

    /// Closes every connection and ends every follower.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.closers.drain(..).for_each(|closer| closer.close());
        drop(state);
        self.closed.notify(usize::MAX);
    }
}
