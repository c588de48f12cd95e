//! What a note costs the request, and how fast the notes are written: `cargo bench -p last-seen-benches --bench recorder`.
//!
//! Single calls are timed in groups of 32, since reading the clock costs half a call. The drain stands beside a
//! raw socket that writes the same users as `noreply` batches of 64, in turn on the same memcached.

#![allow(unreachable_pub, reason = "a bench has no public API")]

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use last_seen::{Recorder, Settings, Tracker};
use last_seen_tests::Memcached;

fn main() {
    let memcached = Memcached::start_with(&["-m", "512"]);
    let settings = memcached.settings().with_recorder_capacity(1_000_000);
    println!("{:<48} {:>9} {:>9} {:>9}", "Recorder::seen, ns", "median", "p99", "p99.9");
    {
        let recorder = recorder(&settings);
        row("1,000 hot users, 1 thread", &mut calls(&recorder, 1_000, 300_000));
        row("1,000 hot users, 2 threads", &mut two_threads(&recorder, 1_000, 300_000));
        row("50,000 random users", &mut calls(&recorder, 50_000, 300_000));
    }
    {
        let recorder = recorder(&settings);
        memcached.suspend();
        row("50,000 random users, memcached stopped", &mut calls(&recorder, 50_000, 300_000));
        let before = resident();
        let mut figures = calls(&recorder, 50_000, 300_000);
        let grown = resident() - before - (figures.capacity() * 8) as i64;
        row("the same, a second time", &mut figures);
        println!("memory grown meanwhile: {} KiB; {:?}", grown / 1024, recorder.stats());
        memcached.resume();
    }
    memory_per_user();
    drain(&settings);
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
    println!("memory a pending user beyond the key, of {USERS}: {:.0} bytes", beyond / USERS as f64);
}

fn drain(settings: &Settings) {
    const USERS: u64 = 200_000;
    let tracker = Tracker::new(settings.clone().with_flush_interval(Duration::from_secs(60))).unwrap();
    let mut raw = BufReader::new(TcpStream::connect(&settings.servers()[0]).unwrap());
    let mut rounds = Vec::new();
    for round in 0..7 {
        let recorder = Recorder::new(tracker.clone());
        for user in 0..USERS {
            recorder.seen(user);
        }
        let started = Instant::now();
        recorder.flush().unwrap();
        let ours = started.elapsed();
        let started = Instant::now();
        for batch in 0..USERS / 64 {
            let set = |user| format!("set seen_{user} 0 604800 10 noreply\r\n1795486388\r\n");
            let commands: String = (batch * 64..(batch + 1) * 64).map(set).collect();
            raw.get_mut().write_all(commands.as_bytes()).unwrap();
        }
        raw.get_mut().write_all(b"mn\r\n").unwrap();
        raw.read_line(&mut String::new()).unwrap();
        if round > 0 {
            rounds.push((
                USERS as f64 / ours.as_secs_f64(),
                ours.as_secs_f64() / started.elapsed().as_secs_f64(),
            ));
        }
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rate = rounds[rounds.len() / 2].0;
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    println!(
        "drain: {rate:.0} users a second, {:.1} times the raw noreply batches",
        rounds[rounds.len() / 2].1
    );
}

/// The bytes of memory that the process holds.
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4_096
}
