//! What threads and tasks have in common. All above is written once, as async code over a [`Link`]; a thread runs it
//! through, since its links wait in place.

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

/// A stream of bytes to a server, and how to wait.
pub(crate) trait Link: Sized + Send + Sync {
    /// Whether several futures that wait take as long as the longest.
    const AT_ONCE: bool;

    /// Returns whether the listener was notified by then.
    fn wait(listener: EventListener, until: Instant) -> impl Future<Output = bool> + Send;

    fn tcp(address: SocketAddr, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    fn unix(path: &Path, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    #[cfg(feature = "tls")]
    fn encrypt(self, tls: &TlsConfig, until: Instant) -> impl Future<Output = io::Result<Self>> + Send;

    fn is_encrypted(&self) -> bool;

    fn send(&mut self, bytes: &[u8], deadline: Instant) -> impl Future<Output = io::Result<()>> + Send;

    /// At least a byte.
    fn receive(
        &mut self,
        into: &mut [u8],
        deadline: Instant,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// An error if the server has closed the connection, or has said something without being asked.
    fn look_for_end(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// The results of all: tasks wait for them at once, a thread for one after the other.
    fn all<F: Future>(futures: Vec<F>) -> impl Future<Output = Vec<F::Output>>;

    /// What only threads do: in place, or on one for blocking work.
    fn on_thread<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Where a pool keeps those of its kind.
    fn idle(state: &mut State) -> &mut Vec<Idle<Self>>;

    /// Whether a link that worked before may fail so because it was closed meanwhile.
    fn is_closed(error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
    }
}

/// Runs what waits in place and so is never pending.
pub(crate) fn run_through<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
