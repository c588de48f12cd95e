//! One server: whether calls to it go through, its connections, and the words of its errors.

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

/// A connection that was idle for longer is looked at before it is used.
const CHECK_AFTER: Duration = Duration::from_millis(200);

pub(super) struct Server {
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) address: Address,
    pool: Arc<Pool>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Counts how often the circuit was closed again: what began before says nothing of the server now.
    generation: u64,
    breaker: Breaker,
    open: Option<OpenCircuit>,
}

#[derive(Debug)]
struct OpenCircuit {
    /// What a call gets.
    error: Arc<io::Error>,
    /// Ends the probing when dropped.
    _probing: Sender<()>,
}

/// What a call gets while the circuit is open.
#[derive(Debug, thiserror::Error)]
#[error("not retried yet after {FAILURES} consecutive failures; last error: {}", IoText(_0))]
struct CircuitOpen(Arc<io::Error>);

/// A call that goes through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    generation: u64,
    /// For a connection: one that is free, or an address.
    until: Instant,
    /// For the answer.
    pub(super) patience: Duration,
}

/// A connection in use.
pub(super) struct Lease<L> {
    pub(super) connection: Connection<L>,
    permit: Permit,
}

impl Server {
    /// Reads the files that its settings name.
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

    /// Resolves the name again if that is due. If the server has moved, connections to where it was are closed.
    pub(super) fn refresh(&self, now: Instant) {
        if self.address.resolver().is_some_and(|resolver| resolver.refresh(now)) {
            self.pool.renew();
        }
    }

    /// Lets a call through, or fails it at once while the circuit is open.
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

    /// One exchange. `partly` tells whether some of the answers came.
    pub(super) async fn run<L: Link, E: Exchange>(
        self: &Arc<Self>,
        exchange: &mut E,
        patience: Duration,
        partly: impl Fn(&E) -> bool,
    ) -> Result<()> {
        let call = self.begin_call(patience)?;
        // That all are in use is this process's doing, and no failure of the server's.
        let taken = self.pool.take::<L>(call.until).await.ok_or_else(|| self.all_in_use(call))?;
        let ran = self.ask(call, taken, exchange).await;
        self.record_outcome(call, &ran, partly(exchange));
        ran
    }

    async fn ask<L: Link>(&self, call: Call, taken: Taken<L>, exchange: &mut impl Exchange) -> Result<()> {
        let mut lease = self.open(call, taken).await?;
        let deadline = Instant::now() + call.patience;
        let ran = lease.connection.run(exchange, deadline).await;
        self.finish(call, lease, ran, exchange, deadline).await
    }

    /// The right to a connection, if there is one without waiting.
    pub(super) fn try_take<L: Link>(&self) -> Option<Taken<L>> {
        self.pool.try_take()
    }

    /// Opens a connection if none was idle.
    pub(super) async fn open<L: Link>(&self, call: Call, taken: Taken<L>) -> Result<Lease<L>> {
        let Taken { permit, idle } = taken;
        if let Some((mut connection, idle)) = idle
            && (idle < CHECK_AFTER || connection.link.check_open().await.is_ok())
        {
            return Ok(Lease { connection, permit });
        }
        Ok(Lease { connection: self.connect(call).await?, permit })
    }

    async fn connect<L: Link>(&self, call: Call) -> Result<Connection<L>> {
        let to = self.address.find::<L>(call.until).await;
        let to = to.map_err(|error| Error::unavailable(&self.name, error))?;
        let limit = call.patience / 2;
        let connected = self.address.connect(&to, Instant::now() + limit).await;
        connected.map_err(|broken| self.error(broken, "connection", limit))
    }

    /// Keeps the connection of an exchange that came to its end. If the server had closed it meanwhile, the exchange
    /// runs once more, on a new one.
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
            lease.connection = self.connect(Call { until: deadline, patience, ..call }).await?;
            ran = lease.connection.run(exchange, deadline).await;
        }
        ran.map_err(|broken| self.error(broken, "answer", call.patience))?;
        lease.permit.give_back(lease.connection);
        Ok(())
    }

    /// A connection beside the pool, to the server's address as it is now; also while the circuit is open.
    pub(super) fn connect_outside_pool(&self, patience: Duration) -> Result<Connection<Blocking>, Broken> {
        run_through(async {
            let half = patience / 2;
            if let Some(resolver) = self.address.resolver() {
                // While it answers there, it stays there.
                let keep = self.lock().open.is_none();
                let found = resolver.find_again::<Blocking>(Instant::now() + half, keep).await;
                found.map_err(Broken::new)?;
            }
            let to = self.address.find::<Blocking>(Instant::now() + half).await.map_err(Broken::new)?;
            self.address.connect(&to, Instant::now() + half).await
        })
    }

    /// What no answer, or another one than was asked for, is for the caller. `what` was waited for, for `limit`.
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

    /// What the server said in place of an answer.
    pub(super) fn refused(&self, words: &str) -> Error {
        if words.starts_with("ERROR Too many open connections") {
            let source = io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "the server is at its connection limit (-c)",
            );
            return Error::unavailable(&self.name, source);
        }
        // The second is what a `set` gets, which is taken for a login.
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

    /// Our own limit on connections. It is no failure of the server's.
    fn all_in_use(&self, call: Call) -> Error {
        let (half, count) = (humantime::format_duration(call.patience / 2), self.pool.limit);
        let words = format!("no free connection within {half}: all {count} (max_connections) are in use");
        Error::unavailable(&self.name, io::Error::new(io::ErrorKind::TimedOut, words))
    }

    /// Takes note of how a call ended. One that ran out of time with some of its answers there was slow, and its
    /// server is not gone.
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
            // Without a thread nobody would close the circuit again.
            state.breaker = Breaker::new(self.timeout);
            return;
        };
        let error = io::Error::new(source.kind(), CircuitOpen(source.clone()));
        state.open = Some(OpenCircuit { error: Arc::new(error), _probing: probing });
        drop(state);
        tracing::warn!(
            server = self.name,
            cause = %IoText(&source),
            "memcached is down; failing fast until a probe succeeds"
        );
    }

    /// How long to wait before the next probe; `None` if the circuit is closed.
    pub(super) fn pause(&self, now: Instant, jitter: f64) -> Option<Duration> {
        let state = self.lock();
        state.breaker.is_open().then(|| state.breaker.pause(now, jitter))
    }

    pub(super) fn is_down(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Has calls that fail fast say more than their last error does.
    pub(super) fn set_cause(&self, words: &str) {
        if let Some(open) = &mut self.lock().open {
            let source = Arc::new(io::Error::new(io::ErrorKind::InvalidData, words));
            open.error = Arc::new(io::Error::new(source.kind(), CircuitOpen(source)));
        }
    }

    /// The server answers: lets calls through again, on new connections.
    pub(super) fn recovered(&self) {
        let mut state = self.lock();
        if state.open.take().is_none() {
            return;
        }
        let down_for = state.breaker.close(Instant::now());
        state.generation += 1;
        drop(state);
        // Some may have died silently.
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
