//! What a note costs the request, and how fast the notes are written: `cargo bench -p last-seen-benches --bench recorder`,
//! all of it or one part: `-- seen`, `-- drain` or `-- guards`, which takes 102 s.
//!
//! Single calls are timed in groups of 32, since reading the clock costs half a call. A drain stands between two turns
//! of a raw socket that makes the same exchanges in the same batches on the same memcached; for both on one core, start
//! it by `taskset`, as `compare/run` does.

#![allow(unreachable_pub, reason = "a bench has no public API")]

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant, SystemTime},
};

use last_seen::{Recorder, Settings, Tracker};
use last_seen_tests::Memcached;

fn main() {
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let memcached = Memcached::start_with(&["-m", "512"]);
    let settings = memcached.settings().with_recorder_capacity(1_000_000);
    let parts: [(&str, &dyn Fn()); 3] = [
        ("seen", &|| {
            seen(&memcached, &settings);
            memory_per_user();
        }),
        ("drain", &|| drain(&settings)),
        ("guards", &|| guards(&settings)),
    ];
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part();
        }
    }
}

fn seen(memcached: &Memcached, settings: &Settings) {
    println!("{:<48} {:>9} {:>9} {:>9}", "Recorder::seen, ns", "median", "p99", "p99.9");
    {
        let recorder = recorder(settings);
        row("1,000 hot users, 1 thread", &mut calls(&recorder, 1_000, 300_000));
        row("1,000 hot users, 2 threads", &mut two_threads(&recorder, 1_000, 300_000));
        row("50,000 random users", &mut calls(&recorder, 50_000, 300_000));
    }
    {
        let recorder = recorder(settings);
        memcached.suspend();
        row("50,000 random users, memcached stopped", &mut calls(&recorder, 50_000, 300_000));
        let before = resident();
        let mut figures = calls(&recorder, 50_000, 300_000);
        let grown = resident() - before - (figures.capacity() * 8) as i64;
        row("the same, a second time", &mut figures);
        println!("memory grown meanwhile: {} KiB; {:?}", grown / 1024, recorder.stats());
        memcached.resume();
    }
}

fn recorder(settings: &Settings) -> Recorder {
    Recorder::new(Tracker::new(settings.clone()).unwrap())
}

const GROUP: u32 = 32;

/// Nanoseconds a call, one figure for each group of calls.
fn calls(recorder: &Recorder, users: u64, groups: usize) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 30) % users
    };
    for user in 0..users {
        recorder.seen(user);
    }
    let mut figures = Vec::with_capacity(groups);
    for _ in 0..groups {
        let users: [u64; GROUP as usize] = std::array::from_fn(|_| next());
        let started = Instant::now();
        for user in users {
            recorder.seen(black_box(user));
        }
        figures.push(started.elapsed().as_nanos() as f64 / f64::from(GROUP));
    }
    figures
}

fn two_threads(recorder: &Recorder, users: u64, groups: usize) -> Vec<f64> {
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| calls(recorder, users, groups)));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn row(name: &str, figures: &mut [f64]) {
    figures.sort_by(f64::total_cmp);
    let at = |share: f64| figures[(figures.len() as f64 * share) as usize];
    println!("{name:<48} {:>9.0} {:>9.0} {:>9.0}", at(0.5), at(0.99), at(0.999));
}

fn memory_per_user() {
    const USERS: u64 = 1_000_000;
    let settings = Settings::default().with_servers(["memory:"]).with_flush_interval(Duration::from_secs(60));
    let recorder = recorder(&settings.with_recorder_capacity(USERS as usize));
    let before = resident();
    for user in 0..USERS {
        recorder.seen(user);
    }
    // "seen_" and the digits, as they are kept.
    let names: u64 = (0..USERS).map(|user| 5 + user.to_string().len() as u64).sum();
    let beyond = (resident() - before) as f64 - names as f64;
    println!("memory of a queued user beyond the key, of {USERS}: {:.0} bytes", beyond / USERS as f64);
}

/// What the store has of the users that are written.
#[derive(Clone, Copy)]
enum Stored {
    /// A record of before.
    Older,
    /// One of the same second, by another process.
    Same,
    Nothing,
}

fn drain(settings: &Settings) {
    const ROUNDS: usize = 31;
    println!("{:<48} {:>9} {:>9} {:>9}", "drain, users a second", "Recorder", "raw", "times raw");
    let mut raw = Raw::new(&settings.servers()[0]);
    let tracker = Tracker::new(settings.clone().with_flush_interval(Duration::from_secs(60))).unwrap();
    let rows = [
        ("whose record exists", Stored::Older),
        ("whom another process has written that second", Stored::Same),
        ("without a record", Stored::Nothing),
    ];
    for (name, stored) in rows {
        let (mut ours, mut ratios, mut raws) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms up.
        for _ in 0..=ROUNDS {
            let recorder = Recorder::new(tracker.clone());
            for user in 0..USERS {
                recorder.seen(user);
            }
            raw.prepare(stored);
            let started = Instant::now();
            recorder.flush().unwrap();
            ours.push(started.elapsed().as_secs_f64());
            let stats = recorder.stats();
            assert_eq!((stats.written, stats.queued), (USERS as u64, 0), "{stats:?}");
            raw.prepare(stored);
            raws.push(raw.drain(stored));
        }
        for (ours, around) in ours[1..].iter().zip(raws.windows(2)) {
            ratios.push(2.0 * ours / (around[0] + around[1]));
        }
        let rate = |seconds: &mut [f64]| USERS as f64 / median(seconds);
        let (ours, raws) = (rate(&mut ours[1..]), rate(&mut raws));
        println!("{name:<48} {ours:>9.0} {raws:>9.0} {:>9.2}", median(&mut ratios));
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

const USERS: usize = 20_000;
/// As many as a recorder asks for at a time.
const BATCH: usize = 1_000;
/// What a recorder sends and waits for, in the fewest steps there are: what is known before stands ready, and of what comes
/// the lines are counted, and the cas is taken where it is needed.
struct Raw {
    stream: BufReader<TcpStream>,
    batches: Vec<Prepared>,
    line: Vec<u8>,
    changes: Vec<u8>,
}

struct Prepared {
    users: Vec<usize>,
    gets: Vec<u8>,
    tombstones: Vec<u8>,
    adds: Vec<u8>,
}

impl Raw {
    fn new(server: &str) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::with_capacity(64 * 1024, stream);
        let users: Vec<usize> = (0..USERS).collect();
        let batches = users.chunks(BATCH).map(Prepared::new).collect();
        Self { stream, batches, line: Vec::new(), changes: Vec::new() }
    }

    /// Puts that into the store for all users.
    fn prepare(&mut self, stored: Stored) {
        let at = match stored {
            Stored::Older => now() - 60,
            Stored::Same | Stored::Nothing => now(),
        };
        for nth in 0..self.batches.len() {
            let change = |user| match stored {
                Stored::Nothing => format!("delete seen_{user} noreply\r\n"),
                _ => format!("set seen_{user} 0 604800 10 noreply\r\n{at}\r\n"),
            };
            let changes: String = self.batches[nth].users.iter().map(change).collect();
            self.stream.get_mut().write_all(changes.as_bytes()).unwrap();
        }
        self.stream.get_mut().write_all(b"mn\r\n").unwrap();
        assert_eq!(self.read_line(), b"MN\r\n");
    }

    /// Returns the seconds that it took.
    fn drain(&mut self, stored: Stored) -> f64 {
        let started = Instant::now();
        for nth in 0..self.batches.len() {
            match stored {
                Stored::Older => {
                    self.gets_for_cas(nth);
                    self.tombstones(nth);
                    self.change(nth, true);
                }
                Stored::Same => self.gets(nth),
                Stored::Nothing => {
                    self.gets(nth);
                    self.tombstones(nth);
                    self.change(nth, false);
                    self.tombstones(nth);
                }
            }
        }
        started.elapsed().as_secs_f64()
    }

    fn gets(&mut self, nth: usize) {
        self.stream.get_mut().write_all(&self.batches[nth].gets).unwrap();
        while self.read_line() != b"END\r\n" {}
    }

    /// Makes of each record that is read the command that changes it.
    fn gets_for_cas(&mut self, nth: usize) {
        self.stream.get_mut().write_all(&self.batches[nth].gets).unwrap();
        let value = format!("\r\n{}\r\n", now());
        self.changes.clear();
        while self.read_line() != b"END\r\n" {
            let mut words = self.line.trim_ascii_end().split(|&byte| byte == b' ');
            let (key, cas) = (words.nth(1).unwrap(), words.nth(2).unwrap());
            for part in [b"cas ", key, b" 0 604800 10 ", cas, value.as_bytes()] {
                self.changes.extend_from_slice(part);
            }
            self.read_line();
        }
    }

    fn tombstones(&mut self, nth: usize) {
        self.stream.get_mut().write_all(&self.batches[nth].tombstones).unwrap();
        assert_eq!(self.read_line(), b"END\r\n");
    }

    fn change(&mut self, nth: usize, exist: bool) {
        let changes = if exist { &self.changes } else { &self.batches[nth].adds };
        self.stream.get_mut().write_all(changes).unwrap();
        for _ in 0..BATCH {
            assert_eq!(self.read_line(), b"STORED\r\n");
        }
    }

    fn read_line(&mut self) -> &[u8] {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).unwrap();
        &self.line
    }
}

impl Prepared {
    fn new(users: &[usize]) -> Self {
        let all = |one: &dyn Fn(&usize) -> String| users.iter().map(one).collect::<String>();
        let at = now();
        Self {
            users: users.to_vec(),
            gets: format!("gets{}\r\n", all(&|user| format!(" seen_{user}"))).into_bytes(),
            // Of the length that they have; none is there.
            tombstones: format!("get{}\r\n", all(&|user| format!(" gone:{user:016}"))).into_bytes(),
            adds: all(&|user| format!("add seen_{user} 0 604800 10\r\n{at}\r\n")).into_bytes(),
        }
    }
}

/// In Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What users who are kept online cost the writer: its CPU time over a third of `online_timeout`, in which each is written
/// once more, whenever that is.
fn guards(settings: &Settings) {
    const GUARDS: usize = 10_000;
    let tracker = Tracker::new(settings.clone()).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let guards: Vec<_> = (0..GUARDS).map(|user| recorder.keep_online(user)).collect();
    recorder.flush().unwrap();
    let written = recorder.stats().written;
    let (before, started) = (cpu_time(), Instant::now());
    std::thread::sleep(tracker.settings().online_timeout() / 3 + Duration::from_secs(2));
    let (used, elapsed) = (cpu_time() - before, started.elapsed());
    assert_eq!(recorder.stats().written - written, GUARDS as u64);
    println!(
        "{GUARDS} guards: {:.4} % of a core, {:.1} ms of CPU time in {:.0} s",
        100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
        1_000.0 * used.as_secs_f64(),
        elapsed.as_secs_f64()
    );
    drop(guards);
}

/// What the threads of this process have run on a core so far, the writer's among them. This one sleeps meanwhile.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = |task: std::io::Result<std::fs::DirEntry>| {
        let schedstat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        schedstat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    Duration::from_nanos(tasks.map(nanos).sum())
}

/// The bytes of memory that the process holds.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4_096
}
