//! One server: its circuit breaker, its connections and the texts of its errors.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::{Duration, Instant},
};

use super::{
    Intervals,
    address::Address,
    blocking::Blocking,
    breaker::{Breaker, FAILURES},
    connection::{Broken, Cause, Connection},
    link::{Link, run_through},
    pool::{Permit, Pool, Taken},
    probe,
    protocol::{Exchange, Failure},
    resolver::Lookup,
};
use crate::{
    error::{Error, IoText, Result},
    settings::{self, Settings},
};

pub(super) struct Server {
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) address: Address,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Counts how often the circuit has closed again. The outcome of a call that began before that is ignored, because
    /// it says nothing about the server now.
    generation: u64,
    breaker: Breaker,
    open: Option<OpenCircuit>,
}

#[derive(Debug)]
struct OpenCircuit {
    /// Error of the calls that fail fast.
    error: Arc<io::Error>,
    /// Ends the probe thread when dropped.
    _probing: Sender<()>,
}

/// Error of a call while the circuit is open, with the server's last error.
#[derive(Debug, thiserror::Error)]
#[error("not retried yet after {FAILURES} consecutive failures; last error: {}", IoText(_0))]
struct CircuitOpen(Arc<io::Error>);

/// A call that the circuit breaker has let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    generation: u64,
    /// Deadline for a free connection, or for the address of a new one.
    until: Instant,
    /// Timeout of the answer; connecting may take half of it.
    pub(super) patience: Duration,
}

/// A connection in use.
pub(super) struct Lease<L> {
    pub(super) connection: Connection<L>,
    permit: Permit,
}

impl Server {
    /// Reads the password and certificate files that the server's settings name.
    pub(super) fn new(
        server: settings::Server,
        settings: &Settings,
        lookup: &Lookup,
        intervals: Intervals,
    ) -> Result<Arc<Self>> {
        let timeout = settings.server_timeout();
        Ok(Arc::new(Self {
            address: Address::new(&server, lookup, intervals)?,
            name: server.name,
            timeout,
            pool: Pool::new(settings.max_connections(), intervals.idle),
            state: Mutex::new(State { generation: 0, breaker: Breaker::new(timeout), open: None }),
        }))
    }

    /// Starts to resolve the name again if that is due. If the address has changed, closes the connections to the old
    /// address.
    pub(super) fn refresh(&self, now: Instant) {
        if self.address.resolver().is_some_and(|resolver| resolver.refresh(now)) {
            self.pool.renew();
        }
    }

    /// Lets a call through, or returns an error at once while the circuit is open.
    pub(super) fn begin_call(&self, patience: Duration) -> Result<Call> {
        let now = Instant::now();
        self.refresh(now);
        let state = self.lock();
        match &state.open {
            None => Ok(Call { generation: state.generation, until: now + patience / 2, patience }),
            Some(open) => {
                let source = open.error.clone();
                drop(state);
                Err(Error::Unavailable { server: self.name.clone(), source })
            }
        }
    }

    /// Runs one exchange. `partly` returns whether some of the answers arrived.
    pub(super) async fn run<L: Link, E: Exchange>(
        self: &Arc<Self>,
        exchange: &mut E,
        patience: Duration,
        partly: impl Fn(&E) -> bool,
    ) -> Result<()> {
        let call = self.begin_call(patience)?;
        // All connections in use is this process's own limit, so it does not count as a failure of the server.
        let taken = self.pool.take::<L>(call.until).await.ok_or_else(|| self.all_in_use(call))?;
        let ran = self.ask(call, taken, exchange).await;
        self.record_outcome(call, &ran, partly(exchange));
        ran
    }

    async fn ask<L: Link>(
        &self,
        call: Call,
        mut taken: Taken<L>,
        exchange: &mut impl Exchange,
    ) -> Result<()> {
        taken.check().await;
        let mut lease = self.open(call, taken).await?;
        let deadline = Instant::now() + call.patience;
        let ran = lease.connection.run(exchange, deadline).await;
        self.finish(call, lease, ran, exchange, deadline).await
    }

    /// Takes a permit for a connection if one is free without waiting.
    pub(super) fn try_take<L: Link>(&self) -> Option<Taken<L>> {
        self.pool.try_take()
    }

    /// Returns the idle connection, or opens a new one.
    pub(super) async fn open<L: Link>(&self, call: Call, taken: Taken<L>) -> Result<Lease<L>> {
        let Taken { permit, idle } = taken;
        if let Some((connection, _)) = idle {
            return Ok(Lease { connection, permit });
        }
        // Boxed here and below: this is rare, and with its TLS handshake larger than the rest of the call's future.
        Ok(Lease { connection: Box::pin(self.connect(call)).await?, permit })
    }

    async fn connect<L: Link>(&self, call: Call) -> Result<Connection<L>> {
        let to = self.address.find::<L>(call.until).await;
        let to = to.map_err(|error| Error::unavailable(&self.name, error))?;
        let limit = call.patience / 2;
        let connected = self.address.connect(&to, Instant::now() + limit).await;
        connected.map_err(|broken| self.error(broken, "connection", limit))
    }

    /// Completes an exchange and returns its connection to the pool. If the server had closed that connection while it
    /// was idle, the exchange first runs once more, on a new connection.
    pub(super) async fn finish<L: Link>(
        &self,
        call: Call,
        mut lease: Lease<L>,
        mut ran: Result<(), Broken>,
        exchange: &mut impl Exchange,
        deadline: Instant,
    ) -> Result<()> {
        if ran.as_ref().is_err_and(|broken| broken.stale) {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
            let patience = Duration::from_millis(left);
            let again = async {
                lease.connection = self.connect(Call { until: deadline, patience, ..call }).await?;
                Ok::<_, Error>(lease.connection.run(exchange, deadline).await)
            };
            ran = Box::pin(again).await?;
        }
        ran.map_err(|broken| self.error(broken, "answer", call.patience))?;
        lease.permit.give_back(lease.connection);
        Ok(())
    }

    /// Opens a connection outside the pool, to the server's current address, even while the circuit is open.
    pub(super) fn connect_outside_pool(&self, patience: Duration) -> Result<Connection<Blocking>, Broken> {
        run_through(async {
            let half = patience / 2;
            if let Some(resolver) = self.address.resolver() {
                // While the circuit is closed, the server answers at its known address, so that is kept.
                let keep = self.lock().open.is_none();
                let found = resolver.find_again::<Blocking>(Instant::now() + half, keep).await;
                found.map_err(Broken::new)?;
            }
            let to = self.address.find::<Blocking>(Instant::now() + half).await.map_err(Broken::new)?;
            self.address.connect(&to, Instant::now() + half).await
        })
    }

    /// Returns the caller's error for an exchange without a proper answer. `what` was waited for, for `limit`.
    pub(super) fn error(&self, broken: Broken, what: &str, limit: Duration) -> Error {
        match broken.cause {
            Cause::TimedOut => {
                let words = format!("no {what} within {}", humantime::format_duration(limit));
                Error::unavailable(&self.name, io::Error::new(io::ErrorKind::TimedOut, words))
            }
            Cause::Io(error) => Error::unavailable(&self.name, error),
            Cause::Failure(Failure::Refused(words)) => self.refused(&words),
            Cause::Failure(Failure::Unexpected(words)) => {
                Error::unavailable(&self.name, io::Error::new(io::ErrorKind::InvalidData, words))
            }
        }
    }

    /// Returns the error for an error reply of the server.
    pub(super) fn refused(&self, words: &str) -> Error {
        if words.starts_with("ERROR Too many open connections") {
            let source = io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the server is at its connection limit (-c)",
            );
            return Error::unavailable(&self.name, source);
        }
        // The second is the reply to a `set`, which a server that requires a login reads as an attempt to log in.
        let wants_login = ["CLIENT_ERROR unauthenticated", "CLIENT_ERROR bad authentication token format"];
        let hint = if wants_login.iter().any(|login| words.starts_with(login)) {
            "; it requires a login, as in \"memcache://user:password@host\""
        } else {
            ""
        };
        Error::answered(
            &self.name,
            &format!("{}{hint}", words.strip_prefix("SERVER_ERROR ").unwrap_or(words)),
        )
    }

    /// Returns the error of reaching `max_connections`, which is this process's own limit.
    fn all_in_use(&self, call: Call) -> Error {
        let (half, count) = (humantime::format_duration(call.patience / 2), self.pool.limit);
        let words = format!("no free connection within {half}: all {count} (max_connections) are in use");
        Error::unavailable(&self.name, io::Error::new(io::ErrorKind::TimedOut, words))
    }

    /// Reports the outcome of a call to the circuit breaker. A timeout after some of the answers is not a failure: the
    /// server is slow, but not down.
    pub(super) fn record_outcome(self: &Arc<Self>, call: Call, ran: &Result<()>, partly: bool) {
        match ran {
            Err(Error::Unavailable { source, .. }) => {
                if !(partly && source.kind() == io::ErrorKind::TimedOut) {
                    self.failed(call, source);
                }
            }
            Err(Error::System { .. }) => {}
            _ => {
                let mut state = self.lock();
                if state.generation == call.generation {
                    state.breaker.answered();
                }
            }
        }
    }

    fn failed(self: &Arc<Self>, call: Call, source: &Arc<io::Error>) {
        let mut state = self.lock();
        if state.generation != call.generation || !state.breaker.failed(Instant::now()) {
            return;
        }
        let Ok(probing) = probe::start(self) else {
            // Without the probe thread nothing would close the circuit again, so it stays closed.
            state.breaker = Breaker::new(self.timeout);
            return;
        };
        let error = io::Error::new(source.kind(), CircuitOpen(source.clone()));
        state.open = Some(OpenCircuit { error: Arc::new(error), _probing: probing });
        drop(state);
        tracing::warn!(
            server = self.name,
            cause = %IoText(source),
            "memcached is down; failing fast until a probe succeeds"
        );
    }

    /// Returns how long to wait before the next probe; `None` if the circuit is closed.
    pub(super) fn pause(&self, now: Instant, jitter: f64) -> Option<Duration> {
        let state = self.lock();
        state.breaker.is_open().then(|| state.breaker.pause(now, jitter))
    }

    pub(super) fn is_down(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Replaces the cause in the error of calls that fail fast, if more is known than the last error says.
    pub(super) fn set_cause(&self, words: &str) {
        if let Some(open) = &mut self.lock().open {
            let source = Arc::new(io::Error::new(io::ErrorKind::InvalidData, words));
            open.error = Arc::new(io::Error::new(source.kind(), CircuitOpen(source)));
        }
    }

    /// Closes the circuit after the server has answered. Calls go through again, on new connections.
    pub(super) fn recovered(&self) {
        let mut state = self.lock();
        if state.open.take().is_none() {
            return;
        }
        let down_for = state.breaker.close(Instant::now());
        state.generation += 1;
        drop(state);
        // Some of the old connections may be dead without an error.
        self.pool.renew();
        tracing::info!(server = self.name, down_ms = down_for.as_millis() as u64, "memcached has recovered");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("state", &*self.lock())
            .finish_non_exhaustive()
    }
}
