//! What came in from the servers and was not read yet: names, and news of the servers themselves.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Error, memcached::Closer};

/// Names are read back in pieces: after as long, or when as many are here.
const GATHER: Duration = Duration::from_millis(50);
const ENOUGH: usize = 100;

/// Where the reader is behind, pieces grow up to here.
pub(super) const PIECE: usize = 500;

/// Users that wait to be read back; beyond, they are counted as missed.
pub(super) const CAPACITY: usize = 100_000;

pub(super) struct Inbox {
    state: Mutex<State>,
    /// Something is here to take.
    arrived: Condvar,
    /// A server answered for the first time, or everything ends.
    turned: Condvar,
}

struct State {
    names: VecDeque<Arc<str>>,
    waiting: HashSet<Arc<str>>,
    /// When the oldest of them came.
    since: Option<Instant>,
    servers: Vec<Standing>,
    closers: Vec<Closer>,
    missed: u64,
    skipped: u64,
    closed: bool,
}

/// How a server is, as far as it was told.
struct Standing {
    server: String,
    answered: bool,
    lost: bool,
    failed_reads: u32,
    news: Option<Error>,
}

pub(super) enum Taken {
    Names(Vec<Arc<str>>),
    News(Error),
    Nothing,
    Closed,
}

impl Inbox {
    pub(super) fn new(servers: impl IntoIterator<Item = String>) -> Self {
        let standing =
            |server| Standing { server, answered: false, lost: false, failed_reads: 0, news: None };
        let state = State {
            names: VecDeque::new(),
            waiting: HashSet::new(),
            since: None,
            servers: servers.into_iter().map(standing).collect(),
            closers: Vec::new(),
            missed: 0,
            skipped: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), turned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name that is here already is read back once.
    pub(super) fn push<N: Into<Arc<str>>>(&self, names: impl IntoIterator<Item = N>) {
        let mut state = self.lock();
        let before = state.names.len();
        for name in names {
            let name = name.into();
            if state.waiting.contains(&name) {
                continue;
            }
            if state.names.len() == CAPACITY {
                state.missed += 1;
                continue;
            }
            state.waiting.insert(Arc::clone(&name));
            state.names.push_back(name);
        }
        if before == 0 && !state.names.is_empty() {
            state.since = Some(Instant::now());
        }
        if state.names.len() > before && (before == 0 || (before < ENOUGH && state.names.len() >= ENOUGH)) {
            self.arrived.notify_one();
        }
    }

    /// News of a server, or the next piece of names, as soon as it is due; by `deadline` at the latest.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Taken {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            if let Some(error) = state.servers.iter_mut().find_map(|one| one.news.take()) {
                return Taken::News(error);
            }
            let now = Instant::now();
            let due = state.since.map(|since| since + GATHER);
            if state.names.len() >= ENOUGH || due.is_some_and(|due| due <= now) {
                return Taken::Names(state.piece());
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Taken::Nothing;
            }
            state = match deadline.into_iter().chain(due).min() {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let waited = self.arrived.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The server is followed from now on.
    pub(super) fn found(&self, server: usize) {
        let mut state = self.lock();
        let standing = &mut state.servers[server];
        (standing.answered, standing.lost) = (true, false);
        self.turned.notify_all();
    }

    /// The server is not followed any more. That is told once, until it is found again.
    pub(super) fn lost(&self, server: usize, error: Error) {
        let mut state = self.lock();
        let standing = &mut state.servers[server];
        if !standing.lost && standing.failed_reads < 2 {
            standing.news = Some(error);
            self.arrived.notify_one();
        }
        (standing.answered, standing.lost) = (true, true);
        self.turned.notify_all();
    }

    /// The server did not answer a read. One failure may pass; the second in a row is told, unless the
    /// server is known to be lost.
    pub(super) fn unreadable(&self, server: &str, error: &Error) {
        let mut state = self.lock();
        let Some(standing) = state.servers.iter_mut().find(|one| one.server == server) else { return };
        standing.failed_reads = standing.failed_reads.saturating_add(1);
        if standing.failed_reads == 2 && !standing.lost {
            standing.news = Some(error.clone());
        }
    }

    /// What could not be read is read by now.
    pub(super) fn readable(&self) {
        self.lock().servers.iter_mut().for_each(|one| one.failed_reads = 0);
    }

    /// Waits until each server is followed, or known to be lost; gives those that did not answer in time.
    pub(super) fn unanswered(&self, timeout: Duration) -> Vec<usize> {
        let pending = |state: &mut State| !state.servers.iter().all(|one| one.answered);
        let waited = self.turned.wait_timeout_while(self.lock(), timeout, pending);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (0..state.servers.len()).filter(|&server| !state.servers[server].answered).collect()
    }

    /// News that `pick` finds.
    pub(super) fn news(&self, pick: impl Fn(&Error) -> bool) -> Option<Error> {
        let mut state = self.lock();
        state.servers.iter_mut().find_map(|one| one.news.take_if(|error| pick(error)))
    }

    /// Waits; says whether everything ends.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let waited = self.turned.wait_timeout_while(self.lock(), pause, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// The connection ends with the inbox; says whether it has ended.
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
        self.turned.notify_all();
        self.arrived.notify_all();
    }

    pub(super) fn miss(&self, count: u64) {
        let mut state = self.lock();
        state.missed = state.missed.saturating_add(count);
    }

    pub(super) fn skip(&self, count: u64) {
        self.lock().skipped += count;
    }

    pub(super) fn missed(&self) -> u64 {
        self.lock().missed
    }

    pub(super) fn skipped(&self) -> u64 {
        self.lock().skipped
    }
}

impl State {
    fn piece(&mut self) -> Vec<Arc<str>> {
        let count = self.names.len().min(PIECE);
        let piece: Vec<_> = self.names.drain(..count).collect();
        for name in &piece {
            self.waiting.remove(name);
        }
        if self.names.is_empty() {
            self.since = None;
        }
        piece
    }
}
