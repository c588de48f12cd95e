//! What `check` counts: calls of one kind, as many as it says. `check` lists the kinds.

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    ops::Range,
    time::{Duration, SystemTime},
};

use chrono::Utc;
use last_seen::{Recorder, Settings, Tracker};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (subject, calls, servers) = match &arguments[1..] {
        [subject, calls] => (subject.as_str(), calls.parse().unwrap(), "memory:"),
        [subject, calls, servers] => (subject.as_str(), calls.parse().unwrap(), servers.as_str()),
        _ => return println!("run benches/regressions/check, which asks for what it counts"),
    };
    // Under valgrind and strace everything takes longer, and nothing else may happen meanwhile.
    let settings = Settings::default().with_servers([servers]);
    let settings =
        settings.with_server_timeout(Duration::from_secs(10)).with_flush_interval(Duration::from_secs(60));
    let tracker = Tracker::new(settings.clone()).unwrap();
    let page: Vec<String> = (0..100).map(|nth| format!("user{nth}")).collect();
    for user in &page {
        tracker.seen(user).unwrap();
    }
    let each = |f: &dyn Fn(&str)| page.iter().cycle().take(calls).for_each(|user| f(black_box(user)));
    match subject {
        "seen" => each(&|user| tracker.seen(user).unwrap()),
        "last_seen" => each(&|user| {
            black_box(tracker.last_seen(user).unwrap());
        }),
        "last_seen of nobody" => {
            let nobody = Tracker::new(settings.with_key_prefix("none_")).unwrap();
            each(&|user| assert!(black_box(nobody.last_seen(user).unwrap()).is_none()));
        }
        "last_seen of Django's record" => {
            let django = Settings::django("Europe/Berlin").unwrap().with_servers([servers]);
            let django = Tracker::new(django).unwrap();
            // One time of day and year: what a zone's rules cost depends on it.
            let at = chrono::DateTime::from_timestamp(1_795_486_388, 0).unwrap();
            for user in &page {
                django.seen_at(user, at).unwrap();
            }
            each(&|user| {
                black_box(django.last_seen(user).unwrap());
            });
        }
        "seen_at" => {
            let at = Utc::now();
            each(&|user| tracker.seen_at(user, at).unwrap());
        }
        "inspect" => each(&|user| drop(black_box(tracker.inspect(user).unwrap()))),
        "presences of 100" => (0..calls).for_each(|_| drop(black_box(tracker.presences(&page)))),
        "Recorder::seen of a pending user" => {
            let recorder = Recorder::new(tracker.clone());
            each(&|user| recorder.seen(user));
            assert_eq!(recorder.stats().queued, 100);
            // What its end costs depends on the second: who was written in it already is not written again.
            std::mem::forget(recorder);
        }
        "Recorder::flush of 1,000 users whose record exists" => {
            flushes(&tracker, calls, servers, "set seen_%USER% 0 604800 10 noreply\r\n1000000000\r\n");
        }
        "Recorder::flush of 1,000 users whom another process has written" => {
            flushes(&tracker, calls, servers, "set seen_%USER% 0 604800 10 noreply\r\n%SECOND%\r\n");
        }
        "Recorder::flush of 1,000 users without a record" => {
            flushes(&tracker, calls, servers, "delete seen_%USER% noreply\r\n");
        }
        unknown => panic!("no subject {unknown:?}"),
    }
}

/// Queues and writes 1,000 users each time. Before that another client has done this for each of them, at hardly any cost:
/// it sends what stands ready but for the time.
fn flushes(tracker: &Tracker, calls: usize, server: &str, prepared: &str) {
    const USERS: Range<usize> = 1_000..2_000;
    let mut other = BufReader::new(TcpStream::connect(server).unwrap());
    let second = prepared.find("%SECOND%").map(|at| at - "%USER%".len() + "1000".len());
    let prepared = prepared.replace("%SECOND%", "1000000000");
    let mut commands: Vec<u8> =
        USERS.flat_map(|user| prepared.replace("%USER%", &user.to_string()).into_bytes()).collect();
    let length = commands.len() / USERS.len();
    commands.extend_from_slice(b"mn\r\n");
    let recorder = Recorder::new(tracker.clone());
    for _ in 0..calls {
        USERS.for_each(|user| recorder.seen(user));
        if let Some(second) = second {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
            for command in commands.chunks_exact_mut(length) {
                command[second..second + now.len()].copy_from_slice(now.as_bytes());
            }
        }
        other.get_mut().write_all(&commands).unwrap();
        other.read_line(&mut String::new()).unwrap();
        recorder.flush().unwrap();
    }
    assert_eq!(recorder.stats().written, (calls * USERS.len()) as u64);
}
