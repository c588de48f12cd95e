//! One server, as the clients of both kinds know it: where it is, and whether calls to it go through.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::{Duration, Instant},
};

use memcache::exp::{Error as ClientError, MetaClient, MetaClientBuilder};

use super::{
    When, Write,
    breaker::{Breaker, FAILURES},
    probe,
    resolver::{Lookup, Name},
    status, wire,
};
use crate::{
    error::{Error, Result},
    settings::{Server, Settings},
};

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) server: Server,
    pub(super) timeout: Duration,
    pub(super) max_connections: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    era: Era,
    breaker: Breaker,
    name: Name,
    /// `None` where the system has no room for one more handler of forks.
    guard: Option<forkguard::Guard>,
    rest: Option<Rest>,
    full: Option<Full>,
}

/// A client serves one era. It ends where a server is found again, since only a new client looks for its
/// address and forgets connections that died silently; and where the process is forked, since a connection
/// used by two processes gives each the other's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Era {
    pub(super) forks: u64,
    opening: u64,
}

#[derive(Debug)]
struct Rest {
    /// What a call gets.
    error: Arc<io::Error>,
    /// Ends the probing when dropped.
    _probing: Sender<()>,
}

/// A server that had no memory for a write, for as long as it is not asked again. It is there, so it gets no
/// rest, but the client crate dials anew after each refusal, and that for each request would use up the ports.
#[derive(Debug)]
struct Full {
    until: Instant,
    error: Error,
}

/// What a call to a server at rest is told.
#[derive(Debug, thiserror::Error)]
#[error("the server is at rest after {FAILURES} failures in a row, the last of them")]
struct AtRest {
    source: Arc<io::Error>,
}

/// A call that goes through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) era: Era,
    pub(super) began: Instant,
}

impl Peer {
    pub(super) fn new(server: Server, settings: &Settings, lookup: Lookup) -> Self {
        let (timeout, max_connections) = (settings.server_timeout(), settings.max_connections());
        let name = Name::new(server.host(), server.port(), lookup, timeout / 2);
        let state = State {
            era: Era { forks: 0, opening: 0 },
            breaker: Breaker::new(timeout),
            name,
            guard: forkguard::Guard::try_new().ok(),
            rest: None,
            full: None,
        };
        Self { server, timeout, max_connections, state: Mutex::new(state) }
    }

    /// A client for this server, still to be connected. The number of its connections is limited by the
    /// caller.
    pub(super) fn builder(&self, timeout: Duration) -> MetaClientBuilder {
        MetaClient::builder()
            .io_timeout(Some(timeout))
            .connect_timeout(Some(timeout / 2))
            .max_idle(self.max_connections)
    }

    /// Lets a call through, or fails it at once where the server is at rest.
    pub(super) fn admit(&self) -> Result<Call> {
        let mut state = self.lock();
        if state.guard.as_mut().is_some_and(forkguard::Guard::detected_fork) {
            state.forked(self.timeout);
        }
        match &state.rest {
            None => Ok(Call { era: state.era, began: Instant::now() }),
            Some(rest) => {
                let source = rest.error.clone();
                drop(state);
                Err(Error::Unavailable { server: self.server.name().to_owned(), source })
            }
        }
    }

    /// Lets writes go out, or refuses them as the server has refused another less than a `server_timeout` ago.
    pub(super) fn has_room(&self, writes: &[&Write]) -> Result<()> {
        // Refused or not, the write of a sign-out removes the record that says "online", so it is sent.
        let may_wait = |write: &&Write| matches!(write.when, When::Always | When::Absent);
        match &self.lock().full {
            Some(full) if Instant::now() < full.until && writes.iter().any(may_wait) => {
                Err(full.error.clone())
            }
            _ => Ok(()),
        }
    }

    /// Where the server is; waits until then for its name to be resolved. Takes note of a failure itself.
    pub(super) fn address(self: &Arc<Self>, call: Call, until: Instant) -> Result<SocketAddr> {
        let found = self.name().find(until);
        let found = found.map_err(|error| Error::unavailable(self.server.name(), error));
        if found.is_err() {
            self.record(call, &found);
        }
        found
    }

    /// What the call failed with that was sent at `asked`; `None` for the bare `ERROR` that only
    /// [`explain`](Self::explain) explains.
    pub(super) fn error(&self, timeout: Duration, asked: Instant, failed: ClientError) -> Option<Error> {
        wire::error(&self.server, timeout, asked.elapsed(), failed)
    }

    /// Asks the server what its `ERROR` meant, in what is left of the call's two timeouts.
    pub(super) fn explain(&self, call: Call, timeout: Duration) -> Error {
        let until = (Instant::now() + timeout).min(call.began + timeout * 2);
        match self.name().known() {
            Some(address) => status::explain_error(&self.server, address, until),
            None => Error::answered(self.server.name(), "ERROR"),
        }
    }

    /// What our own limit on connections tells a call that found none free. It is no failure of the server's.
    pub(super) fn all_in_use(&self, timeout: Duration) -> Error {
        let (half, count) = (humantime::format_duration(timeout / 2), self.max_connections);
        let told = format!("all {count} connections of this process were in use for {half}");
        Error::unavailable(self.server.name(), io::Error::new(io::ErrorKind::TimedOut, told))
    }

    /// Takes note of how a call ended that was sent to the server.
    pub(super) fn record<T>(self: &Arc<Self>, call: Call, outcome: &Result<T>) {
        self.record_many(call, std::slice::from_ref(outcome));
    }

    /// Takes note of how a batch ended. One that ran out of time with some of its answers there was slow, and
    /// its server is not gone.
    pub(super) fn record_many<T>(self: &Arc<Self>, call: Call, outcomes: &[Result<T>]) {
        let failure = outcomes.iter().find_map(|outcome| match outcome {
            Err(Error::Unavailable { source, .. }) => Some(source),
            _ => None,
        });
        let slow = |source: &io::Error| {
            source.kind() == io::ErrorKind::TimedOut && outcomes.iter().any(Result::is_ok)
        };
        if let Some(Err(error)) = outcomes.iter().find(|outcome| out_of_memory(outcome)) {
            let full = Full { until: Instant::now() + self.timeout, error: error.clone() };
            self.lock().full = Some(full);
        }
        match failure {
            None => self.answered(call),
            Some(source) if slow(source) => {}
            Some(source) => self.failed(call, source),
        }
    }

    fn answered(&self, call: Call) {
        let mut state = self.lock();
        if state.era == call.era {
            state.breaker.answered();
        }
    }

    fn failed(self: &Arc<Self>, call: Call, source: &Arc<io::Error>) {
        let mut state = self.lock();
        // What began before the server was found, or in the parent of a fork, says nothing of it now.
        if state.era != call.era || !state.breaker.failed(Instant::now()) {
            return;
        }
        let Ok(probing) = probe::start(self) else {
            // Without a thread nobody would find it again.
            state.breaker = Breaker::new(self.timeout);
            return;
        };
        let error = io::Error::new(source.kind(), AtRest { source: source.clone() });
        state.rest = Some(Rest { error: Arc::new(error), _probing: probing });
        drop(state);
        tracing::warn!(
            server = self.server.name(),
            cause = %source,
            "memcached lost: calls to it fail at once until it answers again"
        );
    }

    /// How long to wait before the next probe; `None` where the server is not at rest.
    pub(super) fn pause(&self, now: Instant, jitter: f64) -> Option<Duration> {
        let state = self.lock();
        state.breaker.is_open().then(|| state.breaker.pause(now, jitter))
    }

    /// Lets calls through again.
    pub(super) fn reopen(&self, now: Instant) {
        let mut state = self.lock();
        if state.rest.take().is_none() {
            return;
        }
        let rested = state.breaker.close(now);
        state.era.opening += 1;
        drop(state);
        tracing::info!(server = self.server.name(), rested_ms = rested.as_millis() as u64, "memcached found");
    }

    pub(super) fn name(&self) -> Name {
        self.lock().name.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn out_of_memory<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Server { message, .. }) if message.starts_with("out of memory"))
}

impl State {
    /// The parent's threads, its probe and resolver among them, are not in the child.
    fn forked(&mut self, timeout: Duration) {
        self.era.forks += 1;
        self.breaker = Breaker::new(timeout);
        self.name = self.name.anew();
        (self.rest, self.full) = (None, None);
    }
}

/// Why a server is not asked for the rest: it was lost in the middle.
pub(super) fn lost<T>(outcomes: &[Result<T>]) -> Option<Error> {
    match outcomes.last() {
        Some(Err(error @ Error::Unavailable { .. })) => Some(error.clone()),
        _ => None,
    }
}
