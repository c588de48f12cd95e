//! No answer is ever another user's, no name is a command, and no value breaks a reader.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use chrono::{DateTime, Utc};
use last_seen::{Error, Presence, Result, Settings, Tracker};

use super::{filled, time_of};
use last_seen_tests::{Fake, Fault, Memcached, Proxy, Way, ms, secs, soak};

/// In full, or a short form of it.
fn many(full: usize, short: usize) -> usize {
    if soak() { full } else { short }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// How a tracker of either kind reads.
struct Reads<'a> {
    last_seen: &'a (dyn Fn(i64) -> Result<Option<DateTime<Utc>>> + Sync),
    presences: &'a (dyn Fn(&[i64]) -> Vec<Result<Presence>> + Sync),
}

/// Reads through a bad network to this memcached, as `Tracker` does.
fn reads(memcached: &Memcached) {
    bad_network(memcached, |tracker, read| {
        read(&Reads {
            last_seen: &|user| tracker.last_seen(user),
            presences: &|page| tracker.presences(page),
        });
    });
}

#[test]
fn no_read_through_a_bad_network_gives_another_users_time() {
    reads(&Memcached::start());
}

#[cfg(feature = "tls")]
#[test]
fn no_read_over_tls_through_a_bad_network_gives_another_users_time() {
    reads(&last_seen_tests::Certificates::create().start());
}

/// The same as `AsyncTracker` does it.
#[cfg(feature = "tokio")]
fn async_reads(memcached: &Memcached) {
    let runtime = last_seen_tests::runtime();
    bad_network(memcached, |tracker, read| {
        let tracker = last_seen::AsyncTracker::from(tracker);
        read(&Reads {
            last_seen: &|user| {
                runtime.block_on(async {
                    // Nobody waits any more for some of them, wherever they are.
                    if user % 8 == 0 {
                        let patience = std::time::Duration::from_micros(user.unsigned_abs());
                        let _ = tokio::time::timeout(patience, tracker.last_seen(user + 1)).await;
                    }
                    tracker.last_seen(user).await
                })
            },
            presences: &|page| runtime.block_on(tracker.presences(page)),
        });
    });
}

#[cfg(feature = "tokio")]
#[test]
fn no_async_read_through_a_bad_network_gives_another_users_time() {
    async_reads(&Memcached::start());
}

#[cfg(all(feature = "tls", feature = "tokio"))]
#[test]
fn no_async_read_over_tls_through_a_bad_network_gives_another_users_time() {
    async_reads(&last_seen_tests::Certificates::create().start());
}

/// Every read of these users is right.
#[track_caller]
fn assert_all_right(reads: &Reads<'_>, users: i64) {
    for user in 0..users {
        assert_eq!((reads.last_seen)(user).unwrap(), Some(time_of(user)));
    }
    let page: Vec<i64> = (0..users + 5).collect();
    for (user, answer) in page.iter().zip((reads.presences)(&page)) {
        assert_eq!(answer.unwrap().last_seen, (*user < users).then(|| time_of(*user)));
    }
}

#[test]
fn answers_in_single_bytes_are_right() {
    const USERS: i64 = 100;
    let memcached = Memcached::start();
    filled(&memcached, USERS);
    let plan = |way, _: last_seen_tests::proxy::Dice| match way {
        Way::Request => Fault::Pass,
        Way::Answer => Fault::Slices(ms(0)),
    };
    let proxy = Proxy::start(&memcached.address(), plan);
    let settings = Settings::default().with_servers([proxy.address()]).with_server_timeout(secs(10));
    let tracker = Tracker::new(settings).unwrap();
    assert_all_right(
        &Reads { last_seen: &|user| tracker.last_seen(user), presences: &|page| tracker.presences(page) },
        USERS,
    );
    assert_eq!(tracker.inspect(1).unwrap().stored.unwrap().last_seen.unwrap(), time_of(1));
    assert!(tracker.server_status()[0].info.as_ref().unwrap().max_connections.is_some());
    assert!(tracker.forget(0).unwrap() && !tracker.forget(0).unwrap());
    tracker.seen_at(0, time_of(0)).unwrap();
    #[cfg(feature = "tokio")]
    {
        let (runtime, tracker) = (last_seen_tests::runtime(), last_seen::AsyncTracker::from(tracker));
        assert_all_right(
            &Reads {
                last_seen: &|user| runtime.block_on(tracker.last_seen(user)),
                presences: &|page| runtime.block_on(tracker.presences(page)),
            },
            USERS,
        );
        assert!(
            runtime.block_on(tracker.forget(0)).unwrap() && !runtime.block_on(tracker.forget(0)).unwrap()
        );
    }
}

#[test]
fn an_answer_to_another_question_is_an_error() {
    for answer in [
        // Another user's, one too many, more than was asked for, and other lengths than they say.
        "VALUE seen_bob 0 10\r\n1700000000\r\nEND\r\n",
        "VALUE seen_alice 0 10\r\n1700000000\r\nVALUE seen_alice 0 10\r\n1700000000\r\nEND\r\n",
        "VALUE seen_alice 0 10\r\n1700000000\r\nVALUE seen_bob 0 10\r\n1700000001\r\nEND\r\n",
        "VALUE seen_alice 0 10\r\n1700000000\r\nEND\r\nEND\r\n",
        "END\r\nVALUE seen_alice 0 10\r\n1700000000\r\nEND\r\n",
        "VALUE seen_alice 0 9\r\n1700000000\r\nEND\r\n",
        "VALUE seen_alice 0 11\r\n1700000000\r\nEND\r\n",
        "VALUE seen_alice 0 10\r\n1700000000\r\nSTORED\r\n",
        "STORED\r\n",
    ] {
        let fake = Fake::start(move |stream| {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(_)) = lines.next() {
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        let tracker = Tracker::connect(&fake.address()).unwrap();
        let told = super::unavailable(tracker.last_seen("alice"));
        assert!(!told.contains("no answer within"), "{answer:?}: {told}");
        #[cfg(feature = "tokio")]
        {
            let asynchronous = last_seen::AsyncTracker::from(tracker);
            let told =
                super::unavailable(last_seen_tests::runtime().block_on(asynchronous.last_seen("alice")));
            assert!(!told.contains("no answer within"), "{answer:?}: {told}");
        }
    }
}

/// Sixteen threads read, as `with` does it, through a network that delays, cuts, resets and slices answers.
fn bad_network(memcached: &Memcached, with: impl FnOnce(Tracker, &dyn Fn(&Reads<'_>))) {
    const USERS: i64 = 1_000;
    // A handshake of TLS has half of it.
    let timeout = if memcached.address().starts_with("tls") { ms(60) } else { ms(20) };
    filled(memcached, USERS);
    let plan = move |way, dice: last_seen_tests::proxy::Dice| match (way, dice(1_000)) {
        // Past the timeout: it would meet the next request on that connection.
        (Way::Answer, 0..34) => Fault::Late(timeout + ms(dice(20))),
        (Way::Answer, 34..51) => Fault::Cut(dice(20) as usize),
        (Way::Answer, 51..67) => Fault::Reset(dice(20) as usize),
        (Way::Answer, 67..100) => Fault::Slices(std::time::Duration::from_micros(dice(1_000))),
        _ => Fault::Pass,
    };
    let proxy = Proxy::start(&memcached.place(), plan);
    let address = memcached.address().replace(&memcached.place(), &proxy.address());
    let settings =
        Settings::default().with_servers([address]).with_server_timeout(timeout).with_max_connections(16);
    let share = many(1_000_000, 20_000) / 16;
    with(Tracker::new(settings).unwrap(), &|reads| {
        let counts = thread::scope(|scope| {
            let thread = |seed| move || reads_of_one_thread(reads, USERS, share, Dice(seed));
            let threads = std::array::from_fn::<_, 16, _>(|nth| scope.spawn(thread(nth as u64 + 1)));
            threads.map(|thread| thread.join().unwrap())
        });
        let (right, failed) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        println!("{right} right, {failed} errors, 0 of another user, 0 None");
        assert!(failed > share / 5 && right > 4 * share, "{right} {failed}");
    });
}

/// How many were right, and how many failed.
fn reads_of_one_thread(reads: &Reads<'_>, users: i64, count: usize, mut dice: Dice) -> (usize, usize) {
    let (mut right, mut failed) = (0, 0);
    while right + failed < count {
        if dice.roll(20) == 0 {
            let page: Vec<i64> = (0..10).map(|_| dice.roll(users as usize) as i64).collect();
            for (user, answer) in page.iter().zip((reads.presences)(&page)) {
                match answer {
                    Ok(presence) => assert_eq!(presence.last_seen, Some(time_of(*user))),
                    Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error:?}"),
                }
            }
        }
        let user = dice.roll(users as usize) as i64;
        match (reads.last_seen)(user) {
            Ok(at) => {
                assert_eq!(at, Some(time_of(user)));
                right += 1;
            }
            Err(Error::Unavailable { source, .. }) => {
                // While the circuit is open nothing is read: wait, so that all reads are.
                if source.to_string().contains("not retried yet") {
                    thread::sleep(ms(20));
                } else {
                    failed += 1;
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    (right, failed)
}

/// What an attacker may call itself.
fn hostile_name(dice: &mut Dice) -> String {
    const PARTS: [&str; 30] = [
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        "flush_all",
        "set x 0 0 1\r\na",
        "mn",
        "mg x v",
        "get x",
        "delete alice",
        "md alice",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{202e}",
        "é",
        "😀",
        "alice",
        "0",
        "-",
        ":",
        "%0d%0a",
        "\\r\\n",
        "quit\r\n",
        "'\"",
        "\u{200b}",
    ];
    let mut name = String::new();
    for _ in 0..=dice.roll(6) {
        match dice.roll(8) {
            0 => name.push(char::from_u32(dice.roll(0x11_0000) as u32).unwrap_or('\u{fffd}')),
            1 => name += &"x".repeat(dice.roll(260)),
            _ => name += PARTS[dice.roll(PARTS.len())],
        }
    }
    name
}

#[test]
fn no_name_is_ever_a_command() {
    // Takes what a memcached would take as commands, and counts those that are not ours.
    let (foreign, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, counting) = (foreign.clone(), taken.clone());
    let fake = Fake::start(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let words: Vec<&[u8]> = line.strip_suffix(b"\r\n").unwrap_or(b"").split(|&b| b == b' ').collect();
            let ours = |key: &[u8]| {
                key.starts_with(b"seen_") && key.len() <= 250 && key.iter().all(|&b| b > 0x20 && b != 0x7f)
            };
            match &words[..] {
                [b"set", key, b"0", b"604800", b"10"] if ours(key) => {
                    let mut value = [0; 12];
                    reader.read_exact(&mut value).unwrap();
                    if !value[..10].iter().all(u8::is_ascii_digit) || value[10..] != *b"\r\n" {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
                _ => {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
            counting.fetch_add(1, Ordering::SeqCst);
            (&stream).write_all(b"STORED\r\n").unwrap();
            line.clear();
        }
    });
    let settings = Settings::default().with_servers([fake.address()]).with_server_timeout(secs(5));
    let tracker = Tracker::new(settings).unwrap();
    let (mut dice, mut sent, mut refused) = (Dice(7), 0, 0);
    for _ in 0..many(1_000_000, 20_000) {
        let name = hostile_name(&mut dice);
        let legal =
            name.len() <= 245 && !name.is_empty() && name.bytes().all(|byte| byte > 0x20 && byte != 0x7f);
        match tracker.seen(&name) {
            Ok(()) if legal => sent += 1,
            Err(Error::InvalidUser(_)) if !legal => refused += 1,
            answer => panic!("{name:?}: {answer:?}"),
        }
    }
    println!("{sent} names sent, {refused} refused, {} foreign commands", foreign.load(Ordering::SeqCst));
    assert_eq!(foreign.load(Ordering::SeqCst), 0);
    assert_eq!(taken.load(Ordering::SeqCst), sent);
    assert!(sent > 1_000 && refused > 1_000);
}

/// What a broken, old or hostile writer may leave under a user's key.
fn garbage(dice: &mut Dice) -> Vec<u8> {
    const SEEDS: [&[u8]; 10] = [
        b"1795486388",
        b"1795486388.25",
        b"2026-11-24T03:33:08Z",
        b"\x80\x04\x95*\x00\x00\x00\x00\x00\x00\x00\x8c\x08datetime\x94\x8c\x08datetime\x94\x93\x94C\n",
        b"\x80\x02cdatetime\ndatetime\nq\x00c_codecs\nencode\n",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x04\x08I:\tTime",
        b"9999999999999999999999",
        b"-1",
        b"{\"last_seen\":1795486388}",
    ];
    let mut bytes = match dice.roll(3) {
        0 => Vec::new(),
        _ => SEEDS[dice.roll(SEEDS.len())].to_vec(),
    };
    for _ in 0..dice.roll(4) {
        match (dice.roll(4), bytes.len()) {
            (0, 1..) => bytes.truncate(dice.roll(bytes.len())),
            (1, len @ 1..) => bytes[dice.roll(len)] = dice.roll(256) as u8,
            (2, _) => bytes.push(b'0' + dice.roll(10) as u8),
            _ => bytes.extend((0..dice.roll(60)).map(|_| dice.roll(256) as u8)),
        }
    }
    bytes
}

#[test]
fn no_value_breaks_a_reader() {
    const BATCH: usize = 500;
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_server_timeout(secs(5))).unwrap();
    let writer = std::net::TcpStream::connect(memcached.address()).unwrap();
    let mut reader = BufReader::new(writer.try_clone().unwrap());
    let (mut dice, mut times, mut refused) = (Dice(11), 0, 0);
    for _ in 0..many(1_000_000, 20_000) / BATCH {
        let mut commands = Vec::new();
        for user in 0..BATCH {
            let (value, flags) = (garbage(&mut dice), dice.roll(1 << 16));
            write!(commands, "set seen_{user} {flags} 0 {} noreply\r\n", value.len()).unwrap();
            commands.extend_from_slice(&value);
            commands.extend_from_slice(b"\r\n");
        }
        commands.extend_from_slice(b"mn\r\n");
        (&writer).write_all(&commands).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "MN\r\n");
        for answer in tracker.presences(0..BATCH) {
            match answer {
                Ok(presence) => {
                    assert!(presence.last_seen.is_some());
                    times += 1;
                }
                Err(error @ Error::InvalidRecord { .. }) => {
                    let mut told = String::new();
                    write!(told, "{error}").unwrap();
                    assert!(told.len() < 400 && !told.contains(char::is_control), "{told:?}");
                    refused += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    println!("{times} values are times, {refused} are refused, 0 panics");
    assert!(times > 1_000 && refused > 1_000);
}
