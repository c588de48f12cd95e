//! The thread that looks after a server at rest. There is none while a server serves.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Instant,
};

use super::{peer::Peer, status};

/// Starts it. It ends when the server is found, and when the sender or the peer is dropped.
pub(super) fn start(peer: &Arc<Peer>) -> io::Result<Sender<()>> {
    let (ended, end) = mpsc::channel();
    let peer = Arc::downgrade(peer);
    thread::Builder::new().name("last-seen-probe".to_owned()).spawn(move || run(&peer, &end))?;
    Ok(ended)
}

fn run(peer: &Weak<Peer>, end: &Receiver<()>) {
    // Not held while it sleeps: the last handle of a tracker shall end this thread.
    while let Some(pause) = peer.upgrade().and_then(|peer| peer.pause(Instant::now(), jitter())) {
        if end.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(peer) = peer.upgrade() else { return };
        if answers(&peer) {
            peer.reopen(Instant::now());
            return;
        }
    }
}

/// Asks for its address again, and then the server there for a sign of life.
fn answers(peer: &Peer) -> bool {
    let now = Instant::now;
    let Ok(address) = peer.name().find_anew(now() + peer.timeout / 2) else { return false };
    status::alive(address, now() + peer.timeout)
}

/// 0 to 1: std seeds its hashers at random.
fn jitter() -> f64 {
    f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX)
}
