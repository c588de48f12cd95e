//! What the crate costs beside a raw socket that does the same work: `cargo bench --bench ratios`.
//!
//! Both run in turn, round by round, on one memcached: A with client and server on one core, B with one each.
//! Each figure is the median over the rounds of the time divided by the raw socket's in the same round.
//! Then the system calls of a call, counted by strace.
//!
//! Needs memcached, taskset and strace; Linux only.

#![allow(unreachable_pub, reason = "a bench has no public API")]

#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    time::Instant,
};

use last_seen::Tracker;
use support::Memcached;

const ROUNDS: usize = 31;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, verb, count, address] = &arguments[..]
        && flag == "--calls"
    {
        return call(verb, count.parse().unwrap(), &Tracker::connect(address).unwrap());
    }
    println!("{:<22} {:>8} {:>10} {:>12} {:>16}", "", "cores", "ratio", "raw, µs", "this crate, µs");
    for (cores, server_core) in [("A: one", "0"), ("B: two", "1")] {
        let memcached = Memcached::start();
        pin(memcached.id(), server_core);
        pin(std::process::id(), "0");
        let tracker = memcached.tracker();
        let mut raw = Raw::connect(&memcached.address());
        let users: Vec<String> = (0..500).map(|n| format!("user{n}")).collect();
        for user in &users {
            tracker.seen(user).unwrap();
        }
        let row = |name: &str, (ratio, raw, ours): (f64, f64, f64)| {
            println!("{name:<22} {cores:>8} {ratio:>10.2} {raw:>12.1} {ours:>16.1}");
        };
        let set = b"ms seen_user7 10 T604800\r\n1795486388\r\n";
        row("seen", compare(500, || raw.line(set), || tracker.seen("user7").unwrap()));
        row(
            "last_seen",
            compare(
                500,
                || raw.item(b"mg seen_user7 v f\r\n"),
                || {
                    black_box(tracker.last_seen("user7").unwrap());
                },
            ),
        );
        for count in [100, 500] {
            let page = &users[..count];
            let keys: String = page.iter().map(|user| format!(" seen_{user}")).collect();
            let get = format!("get{keys}\r\n");
            row(
                &format!("presences of {count}"),
                compare(
                    20,
                    || raw.page(get.as_bytes(), count),
                    || {
                        black_box(tracker.presences(page));
                    },
                ),
            );
        }
    }
    println!("\n{:<22} {:>8}", "system calls a call", "");
    let memcached = Memcached::start();
    for verb in ["seen", "last_seen", "presences of 100"] {
        println!("{verb:<22} {:>8.2}", system_calls(verb, &memcached.address()));
    }
}

/// The ratio and both times in µs, medians over interleaved rounds of `calls` calls.
fn compare(calls: u32, mut raw: impl FnMut(), mut ours: impl FnMut()) -> (f64, f64, f64) {
    let time = |f: &mut dyn FnMut()| {
        let started = Instant::now();
        for _ in 0..calls {
            f();
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    time(&mut raw);
    time(&mut ours);
    let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (time(&mut raw), time(&mut ours))).collect();
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    (median(&|(raw, ours)| ours / raw), median(&|(raw, _)| *raw), median(&|(_, ours)| *ours))
}

struct Raw(BufReader<TcpStream>);

impl Raw {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(64 * 1024, stream))
    }

    fn line(&mut self, command: &[u8]) {
        self.0.get_mut().write_all(command).unwrap();
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        assert_eq!(line, b"HD\r\n");
    }

    fn item(&mut self, command: &[u8]) {
        self.0.get_mut().write_all(command).unwrap();
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        let mut value = [0; 12];
        self.0.read_exact(&mut value).unwrap();
        black_box(value);
    }

    fn page(&mut self, command: &[u8], count: usize) {
        self.0.get_mut().write_all(command).unwrap();
        let mut line = Vec::new();
        for _ in 0..2 * count + 1 {
            line.clear();
            self.0.read_until(b'\n', &mut line).unwrap();
        }
        assert_eq!(line, b"END\r\n");
    }
}

/// Keeps all threads of a process on one core.
fn pin(process: u32, core: &str) {
    let status =
        Command::new("taskset").args(["-a", "-p", "-c", core, &process.to_string()]).output().unwrap();
    assert!(status.status.success(), "taskset failed: {status:?}");
}

/// What a call adds to the system calls of the whole process.
fn system_calls(verb: &str, address: &str) -> f64 {
    let count = |calls: u32| {
        let output = Command::new("strace")
            .args(["-f", "-c", "-o", "/dev/stdout"])
            .arg(std::env::current_exe().unwrap())
            .args(["--calls", verb, &calls.to_string(), address])
            .output()
            .unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        let total = table.lines().rev().find(|line| line.ends_with(" total"));
        let total = total.unwrap_or_else(|| panic!("strace printed no total: {table}"));
        let column = total.split_whitespace().rev().skip(1).filter_map(|word| word.parse::<u32>().ok());
        // The count of errors stands behind the count of calls, where there are any.
        column.max().unwrap()
    };
    f64::from(count(1_100) - count(100)) / 1_000.0
}

fn call(verb: &str, count: u32, tracker: &Tracker) {
    for _ in 0..count {
        match verb {
            "seen" => tracker.seen("user7").unwrap(),
            "last_seen" => drop(tracker.last_seen("user7").unwrap()),
            _ => drop(tracker.presences(0..100)),
        }
    }
}
