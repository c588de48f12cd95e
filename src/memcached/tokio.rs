//! The async [`Link`] on tokio. If a task is cancelled during an exchange, its connection is dropped and so closed.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::Poll,
    time::Instant,
};

use ::tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    runtime::{Handle, Id},
    time::timeout_at,
};
use event_listener::EventListener;
use socket2::{SockRef, Socket};

use super::{
    blocking::set_options,
    link::Link,
    pool::{Idle, State},
};

pub(crate) struct Tokio {
    stream: Box<dyn Stream>,
    encrypted: bool,
    runtime: Id,
}

impl Tokio {
    pub(super) fn of(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), encrypted: false, runtime: Handle::current().id() }
    }
}

/// The byte stream of a connection: TCP, a Unix socket or TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// See [`Link::move_here`].
    fn move_here(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn move_here(&mut self) -> io::Result<()> {
        *self = Self::from_std(open_clone(&*self)?.into())?;
        Ok(())
    }
}

#[cfg(unix)]
impl Stream for ::tokio::net::UnixStream {
    fn move_here(&mut self) -> io::Result<()> {
        *self = Self::from_std(std::os::fd::OwnedFd::from(open_clone(&*self)?).into())?;
        Ok(())
    }
}

#[cfg(feature = "tls")]
impl Stream for tokio_rustls::client::TlsStream<Box<dyn Stream>> {
    fn move_here(&mut self) -> io::Result<()> {
        self.get_mut().0.move_here()
    }
}

/// Returns another handle on the socket, or an error as [`Link::check_open`] does. A runtime knows nothing of a socket
/// that it has just got, so the system is asked.
fn open_clone<'a>(stream: impl Into<SockRef<'a>>) -> io::Result<Socket> {
    let socket = stream.into().try_clone()?;
    match socket.peek(&mut [MaybeUninit::uninit()]) {
        Ok(_) => Err(ErrorKind::ConnectionReset.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(socket),
        Err(error) => Err(error),
    }
}

async fn until<T>(deadline: Instant, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline.into(), io).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

impl Link for Tokio {
    const CONCURRENT: bool = true;

    async fn wait(listener: EventListener, until: Instant) -> bool {
        timeout_at(until.into(), listener).await.is_ok()
    }

    async fn tcp(address: SocketAddr, deadline: Instant) -> io::Result<Self> {
        let stream = until(deadline, TcpStream::connect(address)).await?;
        set_options(&stream)?;
        Ok(Self::of(stream))
    }

    async fn unix(path: &Path, deadline: Instant) -> io::Result<Self> {
        #[cfg(unix)]
        {
            let stream = until(deadline, ::tokio::net::UnixStream::connect(path)).await?;
            Ok(Self::of(stream))
        }
        #[cfg(not(unix))]
        until(deadline, async { Err(super::blocking::no_unix_sockets(path)) }).await
    }

    #[cfg(feature = "tls")]
    async fn encrypt(self, tls: &super::tls::TlsConfig, deadline: Instant) -> io::Result<Self> {
        let stream = until(deadline, tls.connector().connect(tls.server_name(), self.stream)).await?;
        Ok(Self { stream: Box::new(stream), encrypted: true, ..self })
    }

    fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    async fn send(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        until(deadline, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn receive(&mut self, into: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match until(deadline, self.stream.read(into)).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }

    async fn check_open(&mut self) -> io::Result<()> {
        let mut byte = [0];
        let looked = poll_fn(|context| {
            Poll::Ready(Pin::new(&mut *self.stream).poll_read(context, &mut ReadBuf::new(&mut byte)))
        });
        match looked.await {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => Err(ErrorKind::ConnectionReset.into()),
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    fn belongs_here() -> impl Fn(&Self) -> bool {
        let here = Handle::current().id();
        move |link| link.runtime == here
    }

    fn move_here(&mut self) -> io::Result<()> {
        if !Self::belongs_here()(self) {
            self.stream.move_here()?;
            self.runtime = Handle::current().id();
        }
        Ok(())
    }

    async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
        futures_util::future::join_all(futures).await
    }

    async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        ::tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
    }

    fn idle(state: &mut State) -> &mut Vec<Idle<Self>> {
        &mut state.asynchronous
    }

    fn is_closed(error: &io::Error) -> bool {
        use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Other, UnexpectedEof};
        // A connection whose runtime has ended fails with `Other`.
        matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | Other)
    }
}
