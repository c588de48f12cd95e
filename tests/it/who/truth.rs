//! Whenever nothing has happened for two seconds, the roster says what reading every user says, or says that it is not
//! complete. But for a log that dies without a sign: that is found out within 25 s.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use last_seen::{Change, Recorder, Settings, Status, Tracker};

use super::reader::{Reader, Relay, detection};
use last_seen_tests::{Memcached, ms, secs, soak};

const USERS: u64 = 60;

/// The same numbers in each run that is given the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct Site {
    servers: [Memcached; 2],
    relays: [Relay; 2],
    settings: Settings,
}

impl Site {
    fn start() -> Self {
        let servers: [Memcached; 2] = std::array::from_fn(|_| Memcached::start_with(&["-m", "256"]));
        let relays = [&servers[0], &servers[1]].map(|server| Relay::start(server.address()));
        let settings = Settings::default()
            .with_servers(relays.iter().map(|relay| relay.address.clone()))
            .with_online_timeout(secs(4))
            .with_server_timeout(secs(1))
            .with_flush_interval(ms(100));
        Self { servers, relays, settings }
    }

    fn tracker(&self) -> Tracker {
        Tracker::new(self.settings.clone()).unwrap()
    }

    /// What a program of the site does.
    fn act(&self, tracker: &Tracker, recorder: &Recorder, dice: &mut Dice) {
        let user = dice.roll(USERS);
        match dice.roll(20) {
            0..=5 => recorder.seen(user),
            6..=8 => drop(tracker.seen(user)),
            9 => drop(tracker.seen_at(user, Utc::now() - TimeDelta::seconds(dice.roll(8).cast_signed()))),
            10..=12 => drop(tracker.sign_out(user)),
            13..=14 => drop(tracker.forget(user)),
            // Another program's record, which expires soon, or is none.
            15..=16 => self.store(user, 1 + dice.roll(6), &Utc::now().timestamp().to_string(), dice),
            17 => self.store(user, 0, "soon", dice),
            18 => self.store(user, 0, &(Utc::now().timestamp() + 6).to_string(), dice),
            _ => drop(tracker.seen(format!("guest{}", dice.roll(500)))),
        }
    }

    /// On either server, whether the sharding looks there or not.
    fn store(&self, user: u64, expiry: u64, value: &str, dice: &mut Dice) {
        let server = &self.servers[usize::try_from(dice.roll(2)).unwrap()];
        let Ok(mut stream) = TcpStream::connect(server.address()) else { return };
        stream.set_read_timeout(Some(secs(1))).unwrap();
        let set = format!("set seen_{user} 0 {expiry} {}\r\n{value}\r\n", value.len());
        let _ = stream.write_all(set.as_bytes()).and_then(|()| stream.read_exact(&mut [0; 8]));
    }

    fn flood(&self, dice: &mut Dice) {
        let server = &self.servers[usize::try_from(dice.roll(2)).unwrap()];
        let Ok(mut stream) = TcpStream::connect(server.address()) else { return };
        stream.set_read_timeout(Some(secs(5))).unwrap();
        let now = Utc::now().timestamp();
        let sets: String = (0..20_000)
            .map(|n| format!("set seen_{} 0 60 10\r\n{now}\r\n", if n % 200 == 0 { n % USERS } else { n }))
            .collect();
        let mut reading = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _ = stream.write_all(sets.as_bytes());
            });
            let _ = reading.read_exact(&mut vec![0; 8 * 20_000]);
        });
    }

    /// What happens to a server or the network for a moment.
    fn disturb(&mut self, dice: &mut Dice) -> &'static str {
        let which = usize::try_from(dice.roll(2)).unwrap();
        match dice.roll(8) {
            0 => {
                self.servers[which].restart();
                "restart"
            }
            1 => {
                self.servers[which].suspend();
                thread::sleep(ms(200 + dice.roll(4_000)));
                self.servers[which].resume();
                "stall"
            }
            2 => {
                self.relays[which].cut(true);
                thread::sleep(ms(200 + dice.roll(6_000)));
                self.relays[which].cut(false);
                "cut"
            }
            3 => {
                self.relays[which].kill_log();
                "dead log"
            }
            4 => {
                self.relays[which].kill_others();
                "dead reads"
            }
            5 => {
                self.flood(dice);
                "flood"
            }
            _ => "nothing",
        }
    }
}

/// Whether the record was stored longer ago than anybody online can have been: if the log was dead then, no list names it
/// later, and who was offline stays so.
fn is_in_no_list(tracker: &Tracker, name: &str) -> bool {
    let stored = tracker.inspect(name).ok().and_then(|record| record.stored);
    stored.and_then(|stored| stored.idle_for).is_some_and(|idle| idle > tracker.settings().online_timeout())
}

/// The difference between the roster and what reading says; none where a server cannot be read.
fn difference(reader: &Reader, tracker: &Tracker) -> Option<String> {
    let names: Vec<String> =
        (0..20_000).map(|n| n.to_string()).chain((0..500).map(|n| format!("guest{n}"))).collect();
    let mut online = 0;
    for (name, presence) in names.iter().zip(tracker.presences(&names)) {
        let shown = reader.status(name);
        let same = match &presence {
            Ok(presence) if presence.online => {
                online += 1;
                let user = reader.roster.get(name);
                user.is_some_and(|user| user.status == Status::Online && user.last_seen == presence.last_seen)
            }
            Ok(_) => matches!(shown, None | Some(Status::Offline)),
            Err(last_seen::Error::InvalidRecord { .. }) => match shown {
                None | Some(Status::Unknown) => true,
                Some(Status::Offline) => is_in_no_list(tracker, name),
                _ => false,
            },
            Err(_) => return None,
        };
        if !same {
            return Some(format!("{name} is {presence:?} and shown as {:?}", reader.roster.get(name)));
        }
    }
    (online != reader.roster.online()).then(|| format!("{online} online, shown {}", reader.roster.online()))
}

fn the_roster_tells_the_truth(seed: u64, time: Duration) {
    let mut site = Site::start();
    let tracker = site.tracker();
    let mut reader = Reader::ready(&site.tracker());
    let (mut dice, began) = (Dice(seed), Instant::now());
    let (mut compared, mut rounds) = (0, Vec::new());
    while began.elapsed() < time {
        let active = AtomicBool::new(true);
        let disturbed = thread::scope(|scope| {
            let (site, active, reading) = (&mut site, &active, &mut reader);
            let reading = scope.spawn(move || {
                while active.load(Ordering::SeqCst) {
                    reading.next(ms(20));
                }
            });
            let disturbed = {
                let end = Instant::now() + ms(300 + dice.roll(1_500));
                thread::scope(|acting| {
                    for seed in 0..3 {
                        let (site, seed) = (&*site, dice.roll(u64::MAX) ^ seed);
                        acting.spawn(move || {
                            let (mut dice, tracker) = (Dice(seed | 1), site.tracker());
                            let recorder = Recorder::new(tracker.clone());
                            while Instant::now() < end {
                                site.act(&tracker, &recorder, &mut dice);
                                thread::sleep(ms(dice.roll(10)));
                            }
                            let _ = recorder.close();
                        });
                    }
                });
                site.disturb(&mut dice)
            };
            // Nothing happens for two seconds; or until a log that died in silence is found out.
            let silent = matches!(disturbed, "cut" | "dead log");
            thread::sleep(if silent { detection() + secs(2) } else { secs(2) });
            active.store(false, Ordering::SeqCst);
            reading.join().unwrap();
            disturbed
        });
        rounds.push(disturbed);
        // The clock goes on meanwhile, and may be about to turn somebody offline.
        let mut differs = None;
        for _ in 0..20 {
            while reader.next(ms(50)).is_some() {}
            differs = reader.roster.is_complete().then(|| difference(&reader, &tracker)).flatten();
            if differs.is_none() {
                break;
            }
        }
        if let Some(differs) = differs {
            let told: Vec<_> = reader.told.iter().rev().take(40).map(super::reader::short).collect();
            panic!("seed {seed}, after {rounds:?}: {differs}; told before: {told:?}");
        }
        compared += u32::from(reader.roster.is_complete());
        reader.told.clear();
    }
    // It may say for a while that it is not complete, and not for ever.
    reader.holds(secs(90), last_seen::Roster::is_complete);
    println!("seed {seed}: compared {compared} times in {} rounds", rounds.len());
    assert!(compared > 0, "{rounds:?}");
    assert!(!reader.told.iter().any(|change| matches!(change, Change::Missed { updates: 0, .. })));
}

#[test]
fn the_roster_tells_what_reading_tells_or_that_it_is_not_complete() {
    let seed = u64::from(std::process::id()) << 20 | 1;
    the_roster_tells_the_truth(seed, if soak() { secs(600) } else { secs(25) });
}
