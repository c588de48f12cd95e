//! A server behind a name that appears late, moves or never resolves. The tests provide the resolver.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Lookup;
use crate::{
    error::{Error, Result},
    memcached::{Blocking, Intervals, Memcached, run_through},
    record::Key,
    settings::{Servers, Settings},
};

/// A memcached without records. Dropping it closes its connections too.
struct Empty {
    address: SocketAddr,
    /// Number of connections that it has accepted.
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Empty {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, ended) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (end, requests) = (ended.clone(), Arc::new(AtomicUsize::new(0)));
        let (connections, counted) = (Arc::new(AtomicUsize::new(0)), requests.clone());
        let opened = connections.clone();
        let thread = thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().map_while(io::Result::ok) {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                opened.fetch_add(1, Ordering::SeqCst);
                open.push(stream.try_clone().unwrap());
                let counted = counted.clone();
                thread::spawn(move || answer(&stream, &counted));
            }
            open.into_iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
        Self { address, connections, requests, ended, thread: Some(thread) }
    }
}

fn answer(mut stream: &TcpStream, requests: &AtomicUsize) {
    for line in BufReader::new(stream).lines().map_while(io::Result::ok) {
        requests.fetch_add(1, Ordering::SeqCst);
        let _ = stream.write_all(if line == "version" { &b"VERSION 1\r\n"[..] } else { b"END\r\n" });
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener's thread, so that it sees `ended`.
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn named(lookup: &Lookup) -> Memcached {
    resolved_every(lookup, Intervals::default().resolve)
}

fn resolved_every(lookup: &Lookup, resolve: Duration) -> Memcached {
    let settings = Settings::default().with_servers(["cache.test"]);
    let Servers::Memcached(servers) = settings.check().unwrap() else { panic!("a server") };
    Memcached::with(servers, &settings, lookup, Intervals { resolve, ..Intervals::default() }).unwrap()
}

/// Returns a resolver for a name that has no address until the test sets one.
fn movable() -> (Lookup, Arc<Mutex<Option<SocketAddr>>>) {
    let address = Arc::new(Mutex::new(None));
    let now = address.clone();
    let nowhere = || io::Error::new(ErrorKind::NotFound, "no such name");
    (Arc::new(move |_, _| now.lock().unwrap().map(|address| vec![address]).ok_or_else(nowhere)), address)
}

fn ask(memcached: &Memcached) -> Result<()> {
    run_through(memcached.get::<Blocking, _>(&Key::from("seen_alice"), false, |_| ()))
        .map(|found| assert_eq!(found, None))
}

/// Returns the real interval if `LAST_SEEN_SOAK=1` is set, for the slow tests, and else a short one.
fn interval(real: Duration) -> Duration {
    let soak = std::env::var_os("LAST_SEEN_SOAK").is_some_and(|value| value == "1");
    if soak { real } else { Duration::from_millis(100) }
}

#[track_caller]
fn until(mut met: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !met() {
        assert!(began.elapsed() < Duration::from_secs(70), "still not so after a minute");
        thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

fn circuit_is_open(memcached: &Memcached) -> bool {
    matches!(ask(memcached), Err(Error::Unavailable { source, .. }) if source.to_string().contains("not retried yet"))
}

#[test]
fn a_server_that_moves_behind_its_name_is_found() {
    let (lookup, address) = movable();
    let here = Empty::start();
    *address.lock().unwrap() = Some(here.address);
    let memcached = named(&lookup);
    ask(&memcached).unwrap();
    drop(here);
    until(|| circuit_is_open(&memcached));
    let there = Empty::start();
    *address.lock().unwrap() = Some(there.address);
    let took = until(|| ask(&memcached).is_ok());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_name_that_is_not_there_at_the_start_is_found_when_it_is() {
    let (lookup, address) = movable();
    let memcached = named(&lookup);
    let Err(Error::Unavailable { server, source }) = ask(&memcached) else { panic!("there is no name") };
    assert_eq!((server.as_str(), source.to_string().as_str()), ("cache.test:11211", "no such name"));
    until(|| circuit_is_open(&memcached));
    let there = Empty::start();
    *address.lock().unwrap() = Some(there.address);
    let took = until(|| ask(&memcached).is_ok());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_resolver_that_hangs_costs_half_a_timeout_and_one_thread() {
    let there = Empty::start();
    let (end, ended) = mpsc::channel::<()>();
    let (address, ended, lookups) = (there.address, Mutex::new(ended), Arc::new(AtomicUsize::new(0)));
    let counted = lookups.clone();
    let lookup: Lookup = Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = ended.lock().unwrap().recv();
        Ok(vec![address])
    });
    let memcached = named(&lookup);
    // Half a timeout is 50 ms. On a busy machine any one call may be delayed, so the best of three counts.
    let best = (0..3).map(|_| {
        let began = Instant::now();
        let Err(Error::Unavailable { source, .. }) = ask(&memcached) else { panic!("nothing is resolved") };
        assert_eq!(source.to_string(), "its name is still being resolved");
        thread::sleep(Duration::from_millis(110)); // failures within 100 ms count as one
        began.elapsed() - Duration::from_millis(110)
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
    assert!(circuit_is_open(&memcached));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| ask(&memcached).unwrap_err());
        }
    });
    // The probes wait for the same resolver thread.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    drop(end);
    until(|| ask(&memcached).is_ok());
}

#[test]
fn a_name_that_moves_takes_calls_along_while_the_old_server_still_answers() {
    let (lookup, address) = movable();
    let [here, there] = [Empty::start(), Empty::start()];
    *address.lock().unwrap() = Some(here.address);
    let memcached = resolved_every(&lookup, interval(Intervals::default().resolve));
    ask(&memcached).unwrap();
    *address.lock().unwrap() = Some(there.address);
    until(|| {
        ask(&memcached).unwrap();
        there.requests.load(Ordering::SeqCst) > 0
    });
    // Nothing goes to the old server any more, not even over a connection that was idle.
    let before = here.requests.load(Ordering::SeqCst);
    (0..100).for_each(|_| ask(&memcached).unwrap());
    assert_eq!(here.requests.load(Ordering::SeqCst), before);
    // While the name cannot be resolved, the last address stays in use.
    *address.lock().unwrap() = None;
    let asked = Instant::now();
    until(|| {
        ask(&memcached).unwrap();
        asked.elapsed() > Duration::from_millis(300)
    });
}

#[test]
fn an_idle_connection_is_not_used_for_ever() {
    let (lookup, address) = movable();
    let here = Empty::start();
    *address.lock().unwrap() = Some(here.address);
    let settings = Settings::default().with_servers(["cache.test"]);
    let Servers::Memcached(servers) = settings.check().unwrap() else { panic!("a server") };
    let idle = interval(Intervals::default().idle);
    let intervals = Intervals { idle, ..Intervals::default() };
    let memcached = Memcached::with(servers, &settings, &lookup, intervals).unwrap();
    ask(&memcached).unwrap();
    ask(&memcached).unwrap();
    assert_eq!(here.connections.load(Ordering::SeqCst), 1);
    thread::sleep(idle + Duration::from_millis(10));
    ask(&memcached).unwrap();
    assert_eq!(here.connections.load(Ordering::SeqCst), 2);
}
