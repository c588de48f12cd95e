//! The list of who is online and the live feed, in full size: `cargo bench -p last-seen-benches --bench who`.
//!
//! The list: a million items on three servers, 50,000 users online; its time, its memory, and what other
//! clients see of it, also where the program that lists is suspended or killed in the middle.
//! The feed: its delay, and the share that arrives, at 1,000, 10,000 and 30,000 writes a second.
//!
//! Needs memcached; Linux only. Takes two minutes.

#![allow(missing_docs, unreachable_pub, reason = "a bench has no public API")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use last_seen::{Settings, Tracker};
use last_seen_tests::{Memcached, ms, secs};

const ITEMS: usize = 1_000_000;
const ONLINE: usize = 50_000;

/// Shorter than the usual five minutes: for as long the bench has to wait.
const WINDOW: Duration = secs(40);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, servers] = &arguments[..]
        && flag == "--list"
    {
        return list(servers);
    }
    let servers: Vec<Memcached> = (0..3).map(|_| Memcached::start_with(&["-m", "1024"])).collect();
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let addresses = addresses.join(",");
    let (tracker, hour) = (tracker(&addresses), Utc::now() - TimeDelta::hours(1));
    assert_eq!(tracker.restore((0..ITEMS).map(|n| (format!("user{n}"), hour))).written, ITEMS);
    println!("{ITEMS} items on 3 servers, all just restored from a copy, nobody online");
    println!("  other clients, no list:  {}", others(&servers, || thread::sleep(secs(2))));
    lists(&servers, &addresses, 1);
    // Until the server too has them for old, by a margin.
    thread::sleep(WINDOW + secs(10));
    for n in (0..ITEMS).step_by(ITEMS / ONLINE) {
        tracker.seen(format!("user{n}")).unwrap();
    }
    println!("the same, not touched for long but for {ONLINE} users who are online");
    lists(&servers, &addresses, 3);
    for signal in ["KILL", "STOP"] {
        disturbed(&servers, &addresses, signal);
    }
    drop(servers);
    for rate in [1_000, 10_000, 30_000] {
        feed(rate);
    }
}

fn tracker(servers: &str) -> Tracker {
    let settings = Settings::default().with_servers([servers]).with_online_timeout(WINDOW);
    Tracker::new(settings.with_server_timeout(secs(1))).unwrap()
}

/// In a process of its own: prints the time, and the memory beyond the result.
fn list(servers: &str) {
    let tracker = tracker(servers);
    let before = memory("VmRSS:");
    println!("begins");
    let started = Instant::now();
    let online = match tracker.online_users() {
        Ok(online) => online,
        Err(error) => {
            return println!("failed after {:.1?}: {}", started.elapsed(), last_seen_tests::chain(&error));
        }
    };
    let took = started.elapsed();
    // An allocation has 32 bytes at least.
    let names: usize = online.iter().map(|(user, _)| user.capacity().next_multiple_of(32)).sum();
    let result = online.capacity() * size_of::<(String, chrono::DateTime<Utc>)>() + names;
    let beyond = (memory("VmHWM:") - before).saturating_sub(result / 1024) / 1024;
    println!("{} users in {took:.2?}, {beyond} MiB of resident memory beyond the result", online.len());
}

/// In KiB.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Lister(Child, BufReader<ChildStdout>);

impl Lister {
    /// A process that lists, and has begun.
    fn start(servers: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.args(["--list", servers]).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lister = Self(child, output);
        assert_eq!(lister.line(), "begins\n");
        lister
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line
    }

    fn end(mut self) -> String {
        let line = self.line();
        self.0.wait().unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.0.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

fn lists(servers: &[Memcached], addresses: &str, times: u32) {
    for _ in 0..times {
        let mut told = String::new();
        let seen = others(servers, || told = Lister::start(addresses).end());
        println!("  the list:                {told}");
        println!("  other clients meanwhile: {seen}");
    }
}

/// What a client of each server sees that stores and stores, while `f` runs.
fn others(servers: &[Memcached], f: impl FnOnce()) -> String {
    let ended = AtomicBool::new(false);
    let times = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for server in servers {
            scope.spawn(|| {
                let mut stream = open(server, secs(60));
                let mut own = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    store(&mut stream).unwrap();
                    own.push(started.elapsed());
                    thread::sleep(Duration::from_micros(200));
                }
                times.lock().unwrap().append(&mut own);
            });
        }
        f();
        ended.store(true, Ordering::Relaxed);
    });
    let times = times.into_inner().unwrap();
    format!("{} sets, {}", times.len(), quantiles(times))
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 1_000).min(times.len() - 1)];
    format!("median {:.2?}, 99 % {:.2?}, most {:.2?}", at(500), at(990), at(1_000))
}

fn open(server: &Memcached, timeout: Duration) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(timeout)).unwrap();
    stream
}

fn store(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"set other 0 0 1\r\n1\r\n")?;
    stream.read_exact(&mut [0; 8])
}

/// What other clients see where the program that lists is suspended or killed in the middle.
fn disturbed(servers: &[Memcached], addresses: &str, signal: &str) {
    let listing = || servers.iter().filter(|server| server.stat("lru_crawler_running") > 0).count();
    let (lister, since) = loop {
        let lister = Lister::start(addresses);
        while listing() == 0 {}
        lister.signal("STOP");
        let since = Instant::now();
        thread::sleep(ms(200));
        // Enough of the list has to be left that it does not fit into the buffers on the way.
        if listing() == servers.len() {
            break (lister, since);
        }
        lister.signal("CONT");
        lister.end();
    };
    println!("the program that lists gets SIG{signal} in the middle");
    if signal != "STOP" {
        lister.signal(signal);
    }
    // Longer than its deadline, so that it gives up when it is resumed.
    while since.elapsed() < secs(11) {
        let served: Vec<usize> = servers.iter().map(served).collect();
        println!("  after {:.1?}: of 40 new connections a server {served:?} are served", since.elapsed());
        if signal != "STOP" && served == [40; 3] {
            break;
        }
        thread::sleep(secs(2));
    }
    if signal == "STOP" {
        lister.signal("CONT");
        let resumed = Instant::now();
        while servers.iter().any(|server| served(server) < 40) {}
        println!("  resumed: every server serves again after {:.1?}", resumed.elapsed());
    }
    println!("  the list: {}", lister.end());
}

/// How many of 40 new connections get an answer to a few hundred stores, under keys of all kinds as a site's
/// are, within 100 ms.
fn served(server: &Memcached) -> usize {
    static ROUND: AtomicUsize = AtomicUsize::new(0);
    let round = ROUND.fetch_add(1, Ordering::Relaxed);
    let sets: Vec<String> = (0..40)
        .map(|n| (0..250).map(|m| format!("set other_{round}_{n}_{m} 0 60 1\r\n1\r\n")).collect())
        .collect();
    let mut streams: Vec<TcpStream> = (0..40).map(|_| open(server, ms(100))).collect();
    for (stream, sets) in streams.iter_mut().zip(&sets) {
        stream.write_all(sets.as_bytes()).unwrap();
    }
    streams.iter_mut().filter_map(|stream| stream.read_exact(&mut [0; 8 * 250]).ok()).count()
}

/// As many users a second, each once, for five seconds.
fn feed(rate: usize) {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let mut watch = tracker(&memcached.address()).watch().unwrap();
    let count = rate * 5;
    let stored = Mutex::new(Vec::with_capacity(count));
    let delays: Vec<Duration> = thread::scope(|scope| {
        scope.spawn(|| write(&memcached, rate, count, &stored));
        // The last ones may come late: by as much as the server's logger sleeps.
        let events = std::iter::from_fn(|| watch.next_timeout(secs(2)));
        events
            .map(|event| {
                let (user, _) = event.unwrap();
                stored.lock().unwrap()[user.parse::<usize>().unwrap()].elapsed()
            })
            .collect()
    });
    let share = 100.0 * delays.len() as f64 / count as f64;
    println!(
        "the feed at {rate} users a second: {share:.2} % arrive, {} told as missed; delay {}",
        watch.missed(),
        quantiles(delays)
    );
}

fn write(memcached: &Memcached, rate: usize, count: usize, stored: &Mutex<Vec<Instant>>) {
    let mut stream = open(memcached, secs(5));
    let now = Utc::now().timestamp();
    let started = Instant::now();
    let mut answers = vec![0; 8 * rate];
    let mut written = 0;
    while written < count {
        // What is due by now; the stores of a millisecond go out together.
        let due = ((started.elapsed().as_secs_f64() * rate as f64) as usize).clamp(written, count);
        let sets: String = (written..due).map(|n| format!("set seen_{n} 0 600 10\r\n{now}\r\n")).collect();
        stored.lock().unwrap().extend((written..due).map(|_| Instant::now()));
        stream.write_all(sets.as_bytes()).unwrap();
        stream.read_exact(&mut answers[..8 * (due - written)]).unwrap();
        written = due;
        thread::sleep(ms(1));
    }
}
