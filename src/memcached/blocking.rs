//! The blocking [`Link`]: a TCP or Unix socket, with TLS if the settings ask for it.

#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use event_listener::{EventListener, Listener};
use socket2::{SockRef, TcpKeepalive};

use super::{
    link::Link,
    pool::{Idle, State},
};

/// Idle time after which the system sends TCP keepalive probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

pub(crate) struct Blocking {
    timed: Timed,
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::ClientConnection>>,
}

/// A socket whose reads and writes share a deadline: with TLS, one call may need several reads and writes.
struct Timed {
    socket: Arc<Socket>,
    deadline: Instant,
    /// Timeouts that are set on the socket, indexed by [`Direction`].
    timeouts: [Duration; 2],
}

impl Timed {
    /// Sets the socket's timeout to the time left, if the current timeout differs by more than an eighth. It rarely
    /// does after a previous call, which saves a system call.
    fn update_timeout(&mut self, direction: Direction) -> io::Result<()> {
        let (left, current) = (left(self.deadline)?, &mut self.timeouts[direction as usize]);
        if current.abs_diff(left) > *current / 8 {
            self.socket.set_timeout(direction, left)?;
            *current = left;
        }
        Ok(())
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.update_timeout(Direction::Read)?;
        (&*self.socket).read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update_timeout(Direction::Write)?;
        (&*self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Blocking {
    fn new(socket: Socket, deadline: Instant) -> Self {
        Self {
            timed: Timed { socket: Arc::new(socket), deadline, timeouts: [Duration::ZERO; 2] },
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(all(test, unix))]
    pub(super) fn of(stream: UnixStream) -> Self {
        Self::new(Socket::Unix(stream), Instant::now())
    }

    /// Returns the socket, so that another thread can shut it down.
    #[cfg(feature = "who")]
    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.timed.socket
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let mut stream = rustls::Stream::new(tls.as_mut(), &mut self.timed);
            let count = stream.write(bytes)?;
            return stream.flush().map(|()| count);
        }
        self.timed.write(bytes)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(tls.as_mut(), &mut self.timed).read(into);
        }
        self.timed.read(into)
    }
}

impl Link for Blocking {
    const CONCURRENT: bool = false;

    async fn wait(listener: EventListener, until: Instant) -> bool {
        listener.wait_deadline(until).is_some()
    }

    async fn tcp(address: SocketAddr, until: Instant) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, left(until)?)?;
        set_options(&stream)?;
        Ok(Self::new(Socket::Tcp(stream), until))
    }

    async fn unix(path: &Path, until: Instant) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
            // `connect` waits while the server's backlog of new connections is full. Only this timeout ends that wait.
            socket.set_write_timeout(Some(left(until)?))?;
            socket.connect(&socket2::SockAddr::unix(path)?)?;
            let stream = std::os::fd::OwnedFd::from(socket).into();
            Ok(Self::new(Socket::Unix(stream), until))
        }
        #[cfg(not(unix))]
        left(until).and_then(|_| Err(no_unix_sockets(path)))
    }

    #[cfg(feature = "tls")]
    async fn encrypt(mut self, tls: &super::tls::TlsConfig, until: Instant) -> io::Result<Self> {
        let mut tls = tls.client()?;
        self.timed.deadline = until;
        while tls.is_handshaking() {
            tls.complete_io(&mut self.timed)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(self)
    }

    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    async fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        self.timed.deadline = deadline;
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn receive(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        self.timed.deadline = deadline;
        loop {
            match self.read(into) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    async fn check_open(&mut self) -> io::Result<()> {
        let mut socket = &*self.timed.socket;
        socket.set_nonblocking(true)?;
        let looked = socket.read(&mut [0]);
        socket.set_nonblocking(false)?;
        match looked {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            // The server sent data without a request. One byte of it is lost now, so the connection cannot be used.
            Ok(_) => Err(ErrorKind::ConnectionReset.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
        let mut results = Vec::with_capacity(futures.len());
        for future in futures {
            results.push(future.await);
        }
        results
    }

    async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        Ok(work())
    }

    fn idle(state: &mut State) -> &mut Vec<Idle<Self>> {
        &mut state.blocking
    }
}

pub(super) fn set_options<'a>(stream: impl Into<SockRef<'a>>) -> io::Result<()> {
    let stream = stream.into();
    stream.set_tcp_nodelay(true)?;
    stream.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

#[cfg(not(unix))]
pub(super) fn no_unix_sockets(path: &Path) -> io::Error {
    let words = format!("this system has no Unix sockets: {}", path.display());
    io::Error::new(ErrorKind::Unsupported, words)
}

/// Returns the time until the deadline, or a timeout error if it has passed.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Makes the same call on either kind of socket.
macro_rules! on_socket {
    ($self:expr, $socket:ident => $call:expr) => {
        match $self {
            Socket::Tcp($socket) => $call,
            #[cfg(unix)]
            Socket::Unix($socket) => $call,
        }
    };
}

impl Socket {
    fn set_timeout(&self, direction: Direction, timeout: Duration) -> io::Result<()> {
        on_socket!(self, socket => match direction {
            Direction::Read => socket.set_read_timeout(Some(timeout)),
            Direction::Write => socket.set_write_timeout(Some(timeout)),
        })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        on_socket!(self, socket => socket.set_nonblocking(nonblocking))
    }

    #[cfg(feature = "who")]
    pub(super) fn shutdown(&self) -> io::Result<()> {
        on_socket!(self, socket => socket.shutdown(std::net::Shutdown::Both))
    }
}

impl Read for &Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        on_socket!(self, socket => (&*socket).read(into))
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on_socket!(self, socket => (&*socket).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
