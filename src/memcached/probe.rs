//! The background thread that probes a server while its circuit is open.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    connection::{Broken, Cause},
    link::run_through,
    protocol::{BinaryNoop, Failure, Lines},
    server::Server,
};

/// Starts the probe thread. It ends when the server answers, or when the returned sender or the server is dropped.
pub(super) fn start(server: &Arc<Server>) -> io::Result<Sender<()>> {
    let (ended, end) = mpsc::channel();
    let server = Arc::downgrade(server);
    thread::Builder::new().name("last-seen-probe".to_owned()).spawn(move || run(&server, &end))?;
    Ok(ended)
}

fn run(server: &Weak<Server>, end: &Receiver<()>) {
    // The server is not held during a pause, so that dropping the tracker's last handle ends this thread.
    while let Some(pause) = server.upgrade().and_then(|server| server.pause(Instant::now(), jitter())) {
        if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(server) = server.upgrade() else { return };
        if probe(&server) {
            return;
        }
        if speaks_binary(&server, server.timeout) {
            server.set_cause(BINARY);
        }
    }
}

/// Probes the server once, and closes its circuit if it answers. Returns whether it does.
pub(super) fn probe(server: &Server) -> bool {
    let answers = answers(server);
    if answers {
        server.recovered();
    }
    answers
}

/// Returns whether a memcached or a proxy accepts a new connection and answers a command or the login.
fn answers(server: &Server) -> bool {
    let mut version = Lines::one(b"version\r\n");
    let asked = server.connect_outside_pool(server.timeout).and_then(|mut connection| {
        run_through(connection.run(&mut version, Instant::now() + server.timeout))
    });
    match asked {
        Ok(()) => version.lines.first().is_some_and(|line| is_memcached(line)),
        // A refused login is an answer, and the error of each call until somebody corrects the password.
        Err(Broken { cause: Cause::Failure(Failure::Refused(words)), .. }) => is_memcached(&words),
        Err(_) => false,
    }
}

pub(super) const BINARY: &str = "it speaks the binary protocol alone: start memcached without `-B binary`";

/// Returns whether the server answers in the binary protocol. If so, it does not answer in the text protocol.
pub(super) fn speaks_binary(server: &Server, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    server
        .connect_outside_pool(server.timeout)
        .is_ok_and(|mut connection| run_through(connection.run(&mut BinaryNoop, deadline)).is_ok())
}

/// Returns whether the line is a version or an error reply. A server that requires a login and a proxy whose backend is
/// down reply with an error too. `ERROR` with more text, as at the connection limit, is not enough: such a server
/// accepts no calls.
fn is_memcached(line: &str) -> bool {
    ["VERSION ", "CLIENT_ERROR ", "SERVER_ERROR "].iter().any(|word| line.starts_with(word))
        || line == "ERROR"
}

/// Returns a random number from 0 to 1, from the random seed of the standard library's hashers.
fn jitter() -> f64 {
    f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX)
}
