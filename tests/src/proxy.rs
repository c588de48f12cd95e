//! A proxy that does to a connection what networks do.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What happens to one piece of a conversation, as it was read.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Pass,
    Late(Duration),
    /// Single bytes, each in a packet of its own, with a pause after each.
    Slices(Duration),
    /// So many bytes, and the end of the connection.
    Cut(usize),
    /// So many bytes, and a reset.
    Reset(usize),
    /// Nothing, and the connection stays open.
    Swallow,
    Garbage(&'static [u8]),
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Request,
    Answer,
}

/// A number at random, the same ones in each run.
pub type Dice<'a> = &'a mut dyn FnMut(u64) -> u64;

type Plan = dyn Fn(Way, Dice) -> Fault + Send + Sync;

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    plan: Box<Plan>,
    open: Mutex<Vec<TcpStream>>,
    ended: AtomicBool,
    seed: AtomicU64,
}

impl Proxy {
    /// In front of `target`.
    pub fn start(target: &str, plan: impl Fn(Way, Dice) -> Fault + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", target, plan)
    }

    pub fn start_at(
        address: &str,
        target: &str,
        plan: impl Fn(Way, Dice) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            plan: Box::new(plan),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
            seed: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
        });
        let (target, running) = (target.to_owned(), shared.clone());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if running.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&target)) else { continue };
                running.carry(&client, &server);
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        let streams = [client, server].map(|stream| stream.try_clone().unwrap());
        {
            let mut open = self.open.lock().unwrap();
            // What has ended has no peer any more.
            open.retain(|stream| stream.peer_addr().is_ok());
            open.extend(streams);
        }
        for (from, to, way) in [(client, server, Way::Request), (server, client, Way::Answer)] {
            let (from, to, shared) = (from.try_clone().unwrap(), to.try_clone().unwrap(), self.clone());
            to.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let _ = shared.pump(&from, &to, way);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            });
        }
    }

    /// Carries one way until an end.
    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, way: Way) -> std::io::Result<()> {
        let mut random = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut dice = move |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut bytes)?;
            let piece = &bytes[..read];
            if piece.is_empty() {
                return Ok(());
            }
            match (self.plan)(way, &mut dice) {
                Fault::Pass => to.write_all(piece)?,
                Fault::Late(by) => {
                    std::thread::sleep(by);
                    to.write_all(piece)?;
                }
                Fault::Slices(pause) => {
                    for byte in piece.chunks(1) {
                        to.write_all(byte)?;
                        std::thread::sleep(pause);
                    }
                }
                Fault::Cut(after) => return to.write_all(&piece[..after.min(read)]),
                Fault::Reset(after) => {
                    to.write_all(&piece[..after.min(read)])?;
                    return socket2::SockRef::from(to).set_linger(Some(Duration::ZERO));
                }
                Fault::Swallow => {}
                Fault::Garbage(garbage) => to.write_all(garbage)?,
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees the end.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
