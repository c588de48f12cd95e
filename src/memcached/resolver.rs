//! Resolves a server's name. Runs the system's resolver on a separate thread, because it has no timeout.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event_listener::Event;

use super::link::Link;

/// Finds the addresses of a host and port.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Returns the system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// Timeout for connecting to each of a name's addresses, to find one that accepts connections.
const TRY_TIMEOUT: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    /// Whether the host is a name. An IP address needs no resolver.
    is_name: bool,
    /// Time after which a name in use is resolved again.
    interval: Duration,
}

struct Shared {
    host: String,
    port: u16,
    lookup: Lookup,
    state: Mutex<State>,
    resolved: Event,
}

#[derive(Debug, Default)]
struct State {
    address: Option<SocketAddr>,
    /// When the last resolution started.
    resolve_started: Option<Instant>,
    /// Whether a thread resolves the name now. There is never more than one.
    resolving: bool,
    failed: Option<(io::ErrorKind, String)>,
    /// Whether the address has changed since the last call of [`Resolver::refresh`].
    moved: bool,
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16, lookup: Lookup, interval: Duration) -> Self {
        let address = host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port));
        let state = Mutex::new(State { address, ..State::default() });
        let shared = Arc::new(Shared { host: host.to_owned(), port, lookup, state, resolved: Event::new() });
        Self { shared, is_name: address.is_none(), interval }
    }

    /// Starts to resolve the name again if that is due, without waiting. Returns whether the address has changed since
    /// the last call.
    pub(super) fn refresh(&self, now: Instant) -> bool {
        if !self.is_name {
            return false;
        }
        let mut state = self.shared.lock();
        let due = state.resolve_started.is_some_and(|at| now.saturating_duration_since(at) >= self.interval);
        if due && state.address.is_some() {
            // If the system gives no thread now, the next call tries again.
            let _ = self.shared.start_resolving(&mut state, true);
        }
        std::mem::take(&mut state.moved)
    }

    #[cfg(feature = "who")]
    pub(super) fn known(&self) -> Option<SocketAddr> {
        self.shared.lock().address
    }

    /// Returns the known address, or resolves the name and waits until the deadline.
    pub(super) async fn find<L: Link>(&self, until: Instant) -> io::Result<SocketAddr> {
        let known = self.shared.lock().address;
        match known {
            Some(address) => Ok(address),
            None => self.resolve::<L>(until, false).await,
        }
    }

    /// Resolves the name again, and waits until the deadline. Keeps the last address if the name cannot be resolved, or
    /// if `keep` is set and the address is still among the answers.
    pub(super) async fn find_again<L: Link>(&self, until: Instant, keep: bool) -> io::Result<SocketAddr> {
        if !self.is_name {
            return self.find::<L>(until).await;
        }
        let looked = self.resolve::<L>(until, keep).await;
        looked.or_else(|error| self.shared.lock().address.ok_or(error))
    }

    async fn resolve<L: Link>(&self, until: Instant, keep: bool) -> io::Result<SocketAddr> {
        let listener = {
            let mut state = self.shared.lock();
            self.shared.start_resolving(&mut state, keep)?;
            self.shared.resolved.listen()
        };
        if !L::wait(listener, until).await {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its name is still being resolved"));
        }
        self.shared.lock().found()
    }
}

impl State {
    fn found(&self) -> io::Result<SocketAddr> {
        match (&self.failed, self.address) {
            (None, Some(address)) => Ok(address),
            (Some((kind, words)), _) => Err(io::Error::new(*kind, words.clone())),
            (None, None) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that resolves the name, unless one is running. If `keep` is set, the address in use stays as
    /// long as it is among the answers.
    fn start_resolving(self: &Arc<Self>, state: &mut State, keep: bool) -> io::Result<()> {
        if state.resolving {
            return Ok(());
        }
        let shared = self.clone();
        // The thread is not joined: a resolver may take half a minute, and the thread holds only this name's state.
        std::thread::Builder::new()
            .name("last-seen-resolve".to_owned())
            .spawn(move || shared.resolve(keep))?;
        (state.resolving, state.resolve_started) = (true, Some(Instant::now()));
        Ok(())
    }

    fn resolve(&self, keep: bool) {
        let known = self.lock().address.filter(|_| keep);
        let found = (self.lookup)(&self.host, self.port).map(|addresses| match known {
            Some(address) if addresses.contains(&address) => Some(address),
            _ => choose(&addresses),
        });
        let mut state = self.lock();
        match found {
            Ok(Some(address)) => {
                state.moved |= state.address.is_some_and(|before| before != address);
                (state.address, state.failed) = (Some(address), None);
            }
            Ok(None) => {
                state.failed = Some((io::ErrorKind::AddrNotAvailable, "its name has no address".to_owned()));
            }
            Err(error) => state.failed = Some((error.kind(), error.to_string())),
        }
        state.resolving = false;
        drop(state);
        self.resolved.notify(usize::MAX);
    }
}

/// Returns the first address that accepts a connection, or else the first. `localhost` often resolves to `::1` too,
/// where memcached does not listen.
fn choose(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let takes = |address: &&SocketAddr| TcpStream::connect_timeout(address, TRY_TIMEOUT).is_ok();
    match addresses {
        [] | [_] => addresses.first().copied(),
        _ => addresses.iter().find(takes).or(addresses.first()).copied(),
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, state, .. } = self;
        f.debug_struct("Shared")
            .field("host", host)
            .field("port", port)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
