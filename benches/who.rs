//! The list of who is online and the watch, in full size: `cargo bench -p last-seen-benches --bench who`.
//!
//! The list: a million items on three servers, 50,000 users online; its time, its memory, and what other
//! clients see of it, also where the program that lists is suspended or killed in the middle.
//! The watch: its delay at 1,000, 10,000 and 30,000 writes a second, and how long until nobody is missing after a flood;
//! its memory a user at 100,000 online, what a quiet one costs, with 20 of them, and what large values cost.
//!
//! With `watch` as an argument the watch alone. Needs memcached; Linux only. Takes five minutes.

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
use last_seen::{Change, Roster, Settings, Tracker, Watch};
use last_seen_tests::{Memcached, ms, secs};

const ITEMS: usize = 1_000_000;
const ONLINE: usize = 50_000;

/// Shorter than the usual five minutes: for as long the bench has to wait.
const WINDOW: Duration = secs(40);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "--list", servers] => return list(servers),
        [_, "--watch", servers, online] => return watching(servers, online.parse().unwrap()),
        _ => {}
    }
    if !arguments.iter().any(|argument| argument == "watch") {
        all_lists();
    }
    for rate in [1_000, 10_000, 30_000] {
        feed(rate);
    }
    for count in [5_000, 100_000] {
        flood(count);
    }
    memory_a_user();
    quiet();
    large_values();
}

fn all_lists() {
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
    let online = match tracker.online_users().and_then(|online| online.complete()) {
        Ok(online) => online,
        Err(error) => {
            return println!("failed after {:.1?}: {}", started.elapsed(), error);
        }
    };
    let took = started.elapsed();
    // An allocation has 32 bytes at least.
    let names: usize = online.iter().map(|online| online.user.capacity().next_multiple_of(32)).sum();
    let result = online.capacity() * size_of::<last_seen::OnlineUser>() + names;
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

/// A watch that has told of everyone who is online, and a roster.
fn ready(tracker: &Tracker) -> (Watch, Roster) {
    let (mut watch, mut roster) = (tracker.watch().unwrap(), Roster::default());
    while !roster.is_complete() {
        roster.apply(&watch.next().unwrap());
    }
    (watch, roster)
}

/// As many users a second, each once, for five seconds.
fn feed(rate: usize) {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let (mut watch, mut roster) = ready(&tracker(&memcached.address()));
    let count = rate * 5;
    let stored = Mutex::new(Vec::with_capacity(count));
    let (mut delays, mut missed, mut listed) = (Vec::with_capacity(count), 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| write(&memcached, rate, count, &stored));
        // What was lost is listed 10 s after the list at the start.
        while roster.online() < count {
            let change = watch.next().unwrap();
            roster.apply(&change);
            match change {
                Change::Online { user, .. } => {
                    delays.push(stored.lock().unwrap()[user.parse::<usize>().unwrap()].elapsed());
                }
                Change::Missed { updates, .. } => missed += updates,
                Change::Ready { .. } => listed += 1,
                _ => {}
            }
        }
    });
    println!(
        "the watch at {rate} users a second: all arrive, {missed} lines lost, {listed} lists; delay {}",
        quantiles(delays)
    );
}

/// As many users at once.
fn flood(count: usize) {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let (mut watch, mut roster) = ready(&tracker(&memcached.address()));
    let (started, mut missed) = (Instant::now(), 0);
    write(&memcached, count * 1_000, count, &Mutex::default());
    let written = started.elapsed();
    while roster.online() < count {
        let change = watch.next().unwrap();
        roster.apply(&change);
        if let Change::Missed { updates, .. } = change {
            missed += updates;
        }
    }
    let took = started.elapsed();
    println!("{count} users in {written:.2?}: nobody is missing after {took:.1?}, {missed} lines were lost");
}

/// In a process of its own: prints what it holds and what it costs.
fn watching(servers: &str, online: usize) {
    let (mut watch, mut roster) = ready(&tracker(servers));
    println!("ready");
    while roster.online() < online {
        roster.apply(&watch.next().unwrap());
    }
    while watch.next_timeout(secs(2)).is_some_and(|change| matches!(change, Change::Seen { .. })) {}
    println!("{} KiB resident, {} KiB at most", memory("VmRSS:"), memory("VmHWM:"));
    let before = cpu();
    let until = Instant::now() + secs(15);
    while Instant::now() < until {
        if let Some(change) = watch.next_timeout(until.saturating_duration_since(Instant::now())) {
            roster.apply(&change);
        }
    }
    println!("{} ms of CPU in 15 s", cpu() - before);
}

/// In milliseconds: a clock of the system's ticks 100 times a second.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = stat.rsplit(") ").next().unwrap().split(' ').flat_map(str::parse).collect();
    // Behind the state: the 14th and 15th of all.
    (fields[10] + fields[11]) * 10
}

fn start_watching(servers: &str, online: usize) -> Lister {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child =
        command.args(["--watch", servers, &online.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut watching = Lister(child, output);
    assert_eq!(watching.line(), "ready\n");
    watching
}

fn memory_a_user() {
    let mut resident = Vec::new();
    for online in [0, 100_000, 200_000] {
        let memcached = Memcached::start_with(&["-m", "1024"]);
        write(&memcached, 1_000_000, online, &Mutex::default());
        let mut watching = start_watching(&memcached.address(), online);
        let line = watching.line();
        resident.push(line.split(' ').next().unwrap().parse::<usize>().unwrap());
        println!("a watch and a roster of {online} users online: {}", line.trim_end());
        println!("  {}", watching.end());
    }
    for (nth, online) in [(1, 100_000), (2, 200_000)] {
        let bytes = (resident[nth] - resident[0]) * 1024 / online;
        println!("  {bytes} bytes a user at {online}, names of 1 to 6 bytes included");
    }
}

/// What the server does for quiet watches of its own.
fn quiet() {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let (tracker, hour) = (tracker(&memcached.address()), Utc::now() - TimeDelta::hours(1));
    assert_eq!(tracker.restore((0..ITEMS).map(|n| (n, hour))).written, ITEMS);
    // Until the server too has them for old, by a margin.
    thread::sleep(WINDOW + secs(10));
    write(&memcached, 1_000_000, ONLINE, &Mutex::default());
    let of_server = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", memcached.id())).unwrap();
        let fields: Vec<u64> = stat.rsplit(") ").next().unwrap().split(' ').flat_map(str::parse).collect();
        (fields[10] + fields[11]) * 10
    };
    let started = Instant::now();
    let mut watches: Vec<Watch> = (0..20).map(|_| tracker.watch().unwrap()).collect();
    let served = others(std::slice::from_ref(&memcached), || {
        thread::scope(|scope| {
            for watch in &mut watches {
                scope.spawn(|| {
                    while !watch.next().is_some_and(|change| matches!(change, Change::Ready { .. })) {}
                });
            }
        });
    });
    println!("20 watches of {ITEMS} items, {ONLINE} users online: all ready after {:.1?}", started.elapsed());
    println!("  other clients meanwhile: {served}");
    // Everyone has gone offline by then.
    thread::sleep(WINDOW + secs(5));
    let (before, counts) = (of_server(), memcached.stat("cmd_set"));
    let of_watches = cpu();
    thread::sleep(secs(30));
    println!(
        "  then, in 30 s: {} ms of CPU of the server, {} ms of the 20 watches together, {} stores",
        of_server() - before,
        cpu() - of_watches,
        memcached.stat("cmd_set") - counts
    );
}

fn large_values() {
    let memcached = Memcached::start_with(&["-m", "1024", "-I", "2m"]);
    let value = vec![b'x'; 1_000_000];
    for n in 0..450 {
        memcached.set(&format!("seen_page{n}"), 0, &value);
    }
    write(&memcached, 1_000_000, 1_000, &Mutex::default());
    println!("1,000 users beside 450 values of 1 MB under the prefix");
    println!("  the list:  {}", Lister::start(&memcached.address()).end());
    let mut watching = start_watching(&memcached.address(), 1_000);
    println!("  the watch: {}", watching.line().trim_end());
    watching.end();
}

/// What a socket takes while nobody reads its answers.
const PIECE: usize = 10_000;

fn write(memcached: &Memcached, rate: usize, count: usize, stored: &Mutex<Vec<Instant>>) {
    let mut stream = open(memcached, secs(5));
    let now = Utc::now().timestamp();
    let started = Instant::now();
    let mut answers = vec![0; 8 * rate.min(PIECE)];
    let mut written = 0;
    while written < count {
        // What is due by now; the stores of a millisecond go out together.
        let due = ((started.elapsed().as_secs_f64() * rate as f64) as usize)
            .clamp(written, count.min(written + PIECE));
        let sets: String = (written..due).map(|n| format!("set seen_{n} 0 600 10\r\n{now}\r\n")).collect();
        stored.lock().unwrap().extend((written..due).map(|_| Instant::now()));
        stream.write_all(sets.as_bytes()).unwrap();
        stream.read_exact(&mut answers[..8 * (due - written)]).unwrap();
        written = due;
        if rate < 100_000 {
            thread::sleep(ms(1));
        }
    }
}
