//! What blocking and async connections have in common. The client is written once, as async code over a [`Link`].
//! A thread runs that code with [`run_through`]: the futures of a blocking link block, and are never pending.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use event_listener::EventListener;

use super::pool::{Idle, State};
#[cfg(feature = "tls")]
use super::tls::TlsConfig;

/// A byte stream to a server. Its methods either block a thread or suspend an async task.
pub(crate) trait Link: Sized + Send + Sync {
    /// Whether [`all`](Self::all) runs its futures concurrently.
    const CONCURRENT: bool;

    /// Waits for the listener, and returns whether it was notified before the deadline.
    fn wait(listener: EventListener, until: Instant) -> impl Future<Output = bool> + Send;

    fn tcp(address: SocketAddr, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    fn unix(path: &Path, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    #[cfg(feature = "tls")]
    fn encrypt(self, tls: &TlsConfig, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    fn is_encrypted(&self) -> bool;

    fn send(&mut self, bytes: &[u8], deadline: Instant) -> impl Future<Output = io::Result<()>> + Send;

    /// Receives at least one byte, and returns how many.
    fn receive(
        &mut self,
        into: &mut [u8],
        deadline: Instant,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Returns an error if the server has closed the connection, or has sent data without a request.
    fn check_open(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Returns the results of all futures. Tasks run them concurrently, threads one after the other.
    fn all<F: Future>(futures: Vec<F>) -> impl Future<Output = Vec<F::Output>>;

    /// Runs blocking work: directly in a thread, or from a task on a thread for blocking work.
    fn on_thread<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Returns a check of whether a connection belongs to the current runtime. A blocking connection belongs to none, and
    /// passes.
    fn belongs_here() -> impl Fn(&Self) -> bool {
        |_| true
    }

    /// Moves the connection to the current runtime, since only the runtime of a connection drives it. Returns an error
    /// if the connection can no longer be used.
    fn move_here(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Returns the idle connections of this kind in a pool.
    fn idle(state: &mut State) -> &mut Vec<Idle<Self>>;

    /// Returns whether the error may mean that the connection was closed while it was idle.
    fn is_closed(error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    }
}

/// Runs a future over blocking links to its end. Such a future blocks its thread, and is never pending.
pub(crate) fn run_through<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
