//! Where a server's name points to, found on a thread of its own: the system's resolver knows no deadline.

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

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// For each of several addresses of a name, to see which one takes a connection.
const TRY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    /// An address needs no resolver.
    is_name: bool,
    /// A name in use is resolved again after as long.
    interval: Duration,
}

struct Shared {
    host: String,
    port: u16,
    lookup: Lookup,
    state: Mutex<State>,
    looked: Event,
}

#[derive(Debug, Default)]
struct State {
    address: Option<SocketAddr>,
    /// When it was last resolved, or the attempt began.
    at: Option<Instant>,
    /// A thread resolves it; never more than one.
    looking: bool,
    failed: Option<(io::ErrorKind, String)>,
    /// The address has changed, and nobody was told so far.
    moved: bool,
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16, lookup: Lookup, interval: Duration) -> Self {
        let address = host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port));
        let state = Mutex::new(State { address, ..State::default() });
        let shared = Arc::new(Shared { host: host.to_owned(), port, lookup, state, looked: Event::new() });
        Self { shared, is_name: address.is_none(), interval }
    }

    /// Resolves the name again if that is due, without waiting. Returns whether the address has changed since the
    /// last time that this was asked.
    pub(super) fn refresh(&self, now: Instant) -> bool {
        if !self.is_name {
            return false;
        }
        let mut state = self.shared.lock();
        let due = state.at.is_some_and(|at| now.saturating_duration_since(at) >= self.interval);
        if due && state.address.is_some() {
            // Without a thread now, there is one the next time.
            let _ = self.shared.look(&mut state, true);
        }
        std::mem::take(&mut state.moved)
    }

    #[cfg(feature = "who")]
    pub(super) fn known(&self) -> Option<SocketAddr> {
        self.shared.lock().address
    }

    /// The address that is known, or the one that is found by then.
    pub(super) async fn find<L: Link>(&self, until: Instant) -> io::Result<SocketAddr> {
        let known = self.shared.lock().address;
        match known {
            Some(address) => Ok(address),
            None => self.look::<L>(until, false).await,
        }
    }

    /// Resolves the name again, and waits for that until then. The last address stays in use if the resolver does
    /// not know, or if `keep` says so and it is still among the answers.
    pub(super) async fn find_again<L: Link>(&self, until: Instant, keep: bool) -> io::Result<SocketAddr> {
        if !self.is_name {
            return self.find::<L>(until).await;
        }
        let looked = self.look::<L>(until, keep).await;
        looked.or_else(|error| self.shared.lock().address.ok_or(error))
    }

    async fn look<L: Link>(&self, until: Instant, keep: bool) -> io::Result<SocketAddr> {
        let listener = {
            let mut state = self.shared.lock();
            self.shared.look(&mut state, keep)?;
            self.shared.looked.listen()
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

    /// Starts a thread that resolves the name, unless there is one. It keeps the address that is in use if that is
    /// still among the answers and `keep` says so.
    fn look(self: &Arc<Self>, state: &mut State, keep: bool) -> io::Result<()> {
        if state.looking {
            return Ok(());
        }
        let shared = self.clone();
        // Not joined: a resolver may take half a minute, and holds nothing but this name.
        std::thread::Builder::new()
            .name("last-seen-resolve".to_owned())
            .spawn(move || shared.resolve(keep))?;
        (state.looking, state.at) = (true, Some(Instant::now()));
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
        state.looking = false;
        drop(state);
        self.looked.notify(usize::MAX);
    }
}

/// The first that takes a connection, or else the first: `localhost` is often `::1` too, where memcached
/// does not listen.
fn choose(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let takes = |address: &&SocketAddr| TcpStream::connect_timeout(address, TRY).is_ok();
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
