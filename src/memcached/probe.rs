//! The thread that looks after a server whose circuit is open. There is none while it is closed.

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
    link::run_through,
    protocol::{BinaryNoop, Lines},
    server::Server,
};

/// Starts it. It ends when the server answers, and when the sender or the server is dropped.
pub(super) fn start(server: &Arc<Server>) -> io::Result<Sender<()>> {
    let (ended, end) = mpsc::channel();
    let server = Arc::downgrade(server);
    thread::Builder::new().name("last-seen-probe".to_owned()).spawn(move || run(&server, &end))?;
    Ok(ended)
}

fn run(server: &Weak<Server>, end: &Receiver<()>) {
    // Not held during a pause: the last handle of a tracker shall end this thread.
    while let Some(pause) = server.upgrade().and_then(|server| server.pause(Instant::now(), jitter())) {
        if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(server) = server.upgrade() else { return };
        if probe(&server) {
            return;
        }
        if speaks_binary(&server, server.timeout) {
            server.explain(BINARY);
        }
    }
}

/// Lets calls through again if the server answers.
pub(super) fn probe(server: &Server) -> bool {
    let answers = answers(server);
    if answers {
        server.recovered();
    }
    answers
}

/// Whether a memcached or a proxy is there that takes connections and lets us in.
fn answers(server: &Server) -> bool {
    let mut version = Lines::one(b"version\r\n");
    let asked = server.connect_beside(server.timeout);
    asked
        .and_then(|mut connection| run_through(connection.run(&mut version, Instant::now() + server.timeout)))
        .is_ok()
        && version.lines.first().is_some_and(|line| is_memcached(line))
}

pub(super) const BINARY: &str = "it speaks the binary protocol alone: start memcached without `-B binary`";

/// Whether the server answers in the binary protocol, which is why it is silent in the other.
pub(super) fn speaks_binary(server: &Server, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    server
        .connect_beside(server.timeout)
        .is_ok_and(|mut connection| run_through(connection.run(&mut BinaryNoop, deadline)).is_ok())
}

/// A version, or a refusal: by a server that requires a login, or by a proxy whose backend is down. At its connection
/// limit a server takes no calls.
fn is_memcached(line: &str) -> bool {
    ["VERSION ", "CLIENT_ERROR ", "SERVER_ERROR "].iter().any(|word| line.starts_with(word))
        || line == "ERROR"
}

/// 0 to 1: std seeds its hashers at random.
fn jitter() -> f64 {
    f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX)
}
