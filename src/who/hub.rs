//! Where the followers of all servers leave their changes for the one who reads them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener, Listener};

use super::change::Change;
use crate::memcached::Closer;

/// While as many wait for a reader who is behind, nobody is read: who is seen again meanwhile is read once, later.
const ENOUGH: usize = 1_000;

pub(super) struct Hub {
    state: Mutex<State>,
    /// A change has come.
    changed: Event,
    ended: Event,
}

struct State {
    changes: VecDeque<Change>,
    servers: Vec<Standing>,
    /// A server's users were read after its list, which is not told yet.
    news: bool,
    closers: Vec<Closer>,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    phase: Phase,
    online: usize,
}

/// How far a server is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being listed, at the start or after an outage.
    Starting,
    /// Everyone who is online was told.
    Complete,
    /// But for what was lost in the feed.
    Lossy,
    Down,
}

impl Hub {
    pub(super) fn new(servers: usize) -> Self {
        let standing = Standing { phase: Phase::Starting, online: 0 };
        let state = State {
            changes: VecDeque::new(),
            servers: vec![standing; servers],
            news: false,
            closers: Vec::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Event::new(), ended: Event::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a server's changes. `swept`: everyone whom its list named was read.
    pub(super) fn publish(
        &self,
        server: usize,
        changes: Vec<Change>,
        phase: Phase,
        online: usize,
        swept: bool,
    ) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.servers[server], Standing { phase, online });
        state.news |= swept || (phase == Phase::Down && before.phase == Phase::Starting);
        state.changes.extend(changes);
        if state.news && state.servers.iter().all(|server| server.phase != Phase::Starting) {
            state.news = false;
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

    /// Whether the reader is not far behind.
    pub(super) fn has_room(&self) -> bool {
        self.lock().changes.len() < ENOUGH
    }

    /// The next change, or what to wait for.
    pub(super) fn take(&self) -> Result<Change, EventListener> {
        let take = || self.lock().changes.pop_front();
        // Looked at once more with the listener there: it may have come in between.
        take().map_or_else(
            || {
                let listener = self.changed.listen();
                take().ok_or(listener)
            },
            Ok,
        )
    }

    /// The next change, waited for until then.
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

    /// Waits; returns whether everything ends.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let ended = self.ended.listen();
        self.is_closed() || ended.wait_timeout(pause).is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The connection ends with the hub; returns whether it has ended.
    pub(super) fn adopt(&self, closer: Closer) -> bool {
        let mut state = self.lock();
        state.closers.retain(|closer| !closer.is_closed());
        state.closers.push(closer);
        state.closed
    }

    /// Ends every connection and thread.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.closers.drain(..).for_each(|closer| closer.close());
        drop(state);
        self.ended.notify(usize::MAX);
    }
}
