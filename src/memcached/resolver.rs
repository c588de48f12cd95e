//! Where a server's name points to, found on a thread of its own: the system's resolver knows no deadline.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Finds the addresses of a host and port.
pub(super) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// A clone is a handle on the same name.
#[derive(Debug, Clone)]
pub(super) struct Name {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    port: u16,
    lookup: Lookup,
    /// For the dials that choose among several addresses.
    patience: Duration,
    state: Mutex<State>,
    looked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    address: Option<SocketAddr>,
    /// A thread is at it; never more than one.
    looking: bool,
    failed: Option<(io::ErrorKind, String)>,
}

impl Name {
    pub(super) fn new(host: &str, port: u16, lookup: Lookup, patience: Duration) -> Self {
        let address = host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port));
        let state = Mutex::new(State { address, ..State::default() });
        let (host, looked) = (host.to_owned(), Condvar::new());
        Self { shared: Arc::new(Shared { host, port, lookup, patience, state, looked }) }
    }

    /// As after a fork, which leaves the thread behind that looks.
    pub(super) fn anew(&self) -> Self {
        let Shared { host, port, lookup, patience, .. } = &*self.shared;
        Self::new(host, *port, lookup.clone(), *patience)
    }

    pub(super) fn known(&self) -> Option<SocketAddr> {
        self.shared.lock().address
    }

    /// The address that is known, or the one that is found by then.
    pub(super) fn find(&self, until: Instant) -> io::Result<SocketAddr> {
        match self.known() {
            Some(address) => Ok(address),
            None => self.look(until),
        }
    }

    /// Asks the resolver again. A resolver that does not know leaves the last address in use.
    pub(super) fn find_anew(&self, until: Instant) -> io::Result<SocketAddr> {
        if self.shared.host.parse::<IpAddr>().is_ok() {
            return self.find(until);
        }
        self.look(until).or_else(|error| self.known().ok_or(error))
    }

    fn look(&self, until: Instant) -> io::Result<SocketAddr> {
        let mut state = self.shared.lock();
        if !state.looking {
            let shared = self.shared.clone();
            // Not joined: a resolver may take half a minute, and holds nothing but this name.
            std::thread::Builder::new()
                .name("last-seen-resolve".to_owned())
                .spawn(move || shared.resolve())?;
            state.looking = true;
        }
        while state.looking {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its name is still being resolved"));
            }
            let woken = self.shared.looked.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        match (&state.failed, state.address) {
            (None, Some(address)) => Ok(address),
            (Some((kind, told)), _) => Err(io::Error::new(*kind, told.clone())),
            (None, None) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self) {
        let found = (self.lookup)(&self.host, self.port).map(|addresses| self.choose(&addresses));
        let mut state = self.lock();
        match found {
            Ok(Some(address)) => (state.address, state.failed) = (Some(address), None),
            Ok(None) => {
                state.failed = Some((io::ErrorKind::AddrNotAvailable, "its name has no address".to_owned()));
            }
            Err(error) => state.failed = Some((error.kind(), error.to_string())),
        }
        state.looking = false;
        self.looked.notify_all();
    }

    /// The first that takes a connection, or else the first: `localhost` is often `::1` too, where memcached
    /// does not listen.
    fn choose(&self, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        if let [] | [_] = addresses {
            return addresses.first().copied();
        }
        let share = self.patience / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let takes =
            |address: &&SocketAddr| TcpStream::connect_timeout(address, share.max(MILLISECOND)).is_ok();
        addresses.iter().find(takes).or(addresses.first()).copied()
    }
}

/// A dial without any time at all is refused by std.
const MILLISECOND: Duration = Duration::from_millis(1);

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
