//! The circuit of a server that fails opens, and a probe that is answered closes it.

use std::{
    io::{BufRead, BufReader, Write},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use last_seen::{Error, Settings, Tracker};

use super::{filled, nowhere, time_of, unavailable, until_circuit_open};
use last_seen_tests::{
    Fake, Fault, Memcached, Process, Proxy, Way, alone, events, eventually, ms, secs, soak, within_once,
};

#[test]
fn while_the_circuit_is_open_a_call_fails_at_once_and_says_why() {
    let memcached = Memcached::start();
    memcached.suspend();
    let tracker = Tracker::connect(&memcached.address()).unwrap();
    let told = until_circuit_open(&tracker);
    let expected = format!(
        "memcached at {} is unavailable: not retried yet after 3 consecutive failures; last error: \
         no answer within 100ms",
        memcached.address()
    );
    assert_eq!(told, expected);
    let mut took: Vec<Duration> = Vec::new();
    while took.len() < 2_000 {
        let asked = Instant::now();
        unavailable(tracker.last_seen("alice"));
        took.push(asked.elapsed());
    }
    took.sort();
    assert!(took[1_000] < Duration::from_micros(100), "{:?}", took[1_000]);
    assert!(tracker.presences(["alice", "bob"]).iter().all(Result::is_err));
    let Err(Error::Unavailable { source, .. }) = tracker.seen("alice") else { panic!() };
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn the_failures_of_every_call_open_the_circuit() {
    let memcached = Memcached::start();
    memcached.suspend();
    let calls: [fn(&Tracker) -> Option<Error>; 6] = [
        |tracker| tracker.seen("alice").err(),
        |tracker| tracker.last_seen("alice").err(),
        |tracker| tracker.presences(["alice"]).remove(0).err(),
        |tracker| tracker.sign_out("alice").err(),
        |tracker| tracker.forget("alice").err(),
        |tracker| tracker.inspect("alice").err(),
    ];
    for call in calls {
        let tracker = memcached.tracker();
        eventually(|| {
            let told = call(&tracker).unwrap().to_string();
            told.contains("not retried yet").then_some(())
        });
    }
}

#[test]
fn an_outage_and_the_recovery_are_one_event_each() {
    events::listen();
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    memcached.kill();
    until_circuit_open(&tracker);
    for _ in 0..1_000 {
        unavailable(tracker.last_seen("alice"));
    }
    memcached.restart();
    eventually(|| tracker.last_seen("alice").ok());
    for _ in 0..100 {
        tracker.seen("alice").unwrap();
    }
    let said = events::said_of(&memcached.address());
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(
        said[0].starts_with("WARN ")
            && said[0].contains("memcached is down; failing fast until a probe succeeds"),
        "{said:#?}"
    );
    assert!(said[0].contains("refused"), "{said:#?}");
    assert!(said[1].starts_with("INFO ") && said[1].contains("memcached has recovered"), "{said:#?}");
    assert!(said[1].contains(" down_ms="), "{said:#?}");
}

/// How long after the end of an outage the first right answer comes.
fn found_after(
    outage: Duration,
    lose: impl FnOnce(&mut Memcached),
    heal: impl FnOnce(&mut Memcached),
) -> Duration {
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen_at(1, time_of(1)).unwrap();
    lose(&mut memcached);
    let lost = Instant::now();
    while lost.elapsed() < outage {
        let _ = tracker.last_seen(1);
        thread::sleep(ms(5));
    }
    until_circuit_open(&tracker);
    heal(&mut memcached);
    let healed = Instant::now();
    loop {
        match tracker.last_seen(1) {
            Ok(at) => {
                assert!(at.is_none_or(|at| at == time_of(1)));
                return healed.elapsed();
            }
            Err(_) => thread::sleep(ms(5)),
        }
        assert!(healed.elapsed() < secs(30), "never found");
    }
}

#[test]
fn a_server_is_found_within_two_seconds_after_a_short_outage() {
    for outage in if soak() { vec![ms(500), secs(5), secs(5), secs(5)] } else { vec![ms(500)] } {
        let resumed = found_after(outage, |server| server.suspend(), |server| server.resume());
        let restarted = found_after(outage, Memcached::kill, Memcached::restart);
        println!("found {resumed:?} after SIGCONT, {restarted:?} after a restart; outage {outage:?}");
        assert!(resumed < secs(2) && restarted < secs(2), "{resumed:?} {restarted:?}");
    }
}

#[test]
fn a_server_is_found_within_sixteen_seconds_after_a_long_outage() {
    if soak() {
        let resumed = found_after(secs(60), |server| server.suspend(), |server| server.resume());
        println!("found {resumed:?} after SIGCONT; outage 60 s");
        assert!(resumed < secs(16), "{resumed:?}");
    }
}

#[test]
fn one_lost_server_of_three_costs_its_own_users_one_timeout() {
    let memcached = [Memcached::start(), Memcached::start(), Memcached::start()];
    let settings = || Settings::default().with_servers(memcached.each_ref().map(Memcached::address));
    let tracker = Tracker::new(settings()).unwrap();
    for user in 0..300 {
        tracker.seen_at(user, time_of(user)).unwrap();
    }
    memcached[1].suspend();
    let page = within_once(ms(150), || Tracker::new(settings()).unwrap().presences(0..300));
    let mut lost = 0;
    for (user, presence) in (0..300).zip(page) {
        match presence {
            Ok(presence) => assert_eq!(presence.last_seen, Some(time_of(user))),
            Err(Error::Unavailable { server, .. }) => {
                assert_eq!(server, memcached[1].address());
                lost += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!((60..140).contains(&lost), "{lost} of 300");
    // The circuits of the others stay closed.
    eventually(|| {
        let page = tracker.presences(0..300);
        assert_eq!(page.iter().filter(|one| one.is_err()).count(), lost);
        let not_retried = |error: &Error| error.to_string().contains("not retried yet");
        page.into_iter().filter_map(Result::err).all(|error| not_retried(&error)).then_some(())
    });
}

#[test]
fn a_server_that_closes_a_connection_and_falls_silent_costs_a_page_only_its_own_users() {
    // Answers once, and closes that connection at the next question; the one after it is never answered.
    let first = AtomicBool::new(true);
    let fake = Fake::start(move |stream| {
        if first.swap(false, Ordering::SeqCst) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut String::new()).unwrap();
            (&stream).write_all(b"END\r\n").unwrap();
            let _ = reader.read_line(&mut String::new());
        } else {
            let _ = std::io::copy(&mut (&stream), &mut std::io::sink());
        }
    });
    let memcached = [Memcached::start(), Memcached::start()];
    let servers = [fake.address(), memcached[0].address(), memcached[1].address()];
    let tracker = Tracker::new(Settings::default().with_servers(servers)).unwrap();
    assert!(tracker.presences(0..90).iter().all(Result::is_ok));
    let page = tracker.presences(0..90);
    let lost: Vec<_> = page.into_iter().filter_map(Result::err).collect();
    assert!((10..60).contains(&lost.len()), "{} of 90", lost.len());
    for error in lost {
        assert_eq!(error.server(), Some(fake.address().as_str()), "{error:?}");
    }
}

#[test]
fn one_hiccup_under_32_threads_opens_no_circuit() {
    events::listen();
    let memcached = Memcached::start();
    filled(&memcached, 32);
    // The calls in flight fail, and those that follow would have to fail twice more.
    let tracker = Tracker::new(memcached.settings().with_server_timeout(ms(400))).unwrap();
    let (failed, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for user in 0..32 {
            let (tracker, failed, ended) = (&tracker, &failed, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    match tracker.last_seen(user) {
                        Ok(at) => assert_eq!(at, Some(time_of(user))),
                        Err(_) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
        for _ in 0..2 {
            thread::sleep(ms(100));
            memcached.suspend();
            thread::sleep(ms(600));
            memcached.resume();
        }
        thread::sleep(ms(200));
        ended.store(true, Ordering::Relaxed);
    });
    assert!(failed.into_inner() > 0);
    assert_eq!(events::said_of(&memcached.address()), [""; 0]);
}

#[test]
fn a_full_pool_of_our_own_is_no_failure_of_the_server() {
    events::listen();
    let memcached = Memcached::start();
    filled(&memcached, 8);
    let plan = |way, _: last_seen_tests::proxy::Dice| match way {
        Way::Request => Fault::Pass,
        Way::Answer => Fault::Late(ms(300)),
    };
    let proxy = Proxy::start(&memcached.address(), plan);
    let settings = Settings::default().with_servers([proxy.address()]);
    let tracker = Tracker::new(settings.with_server_timeout(ms(500)).with_max_connections(1)).unwrap();
    let full = thread::scope(|scope| {
        let calls = (0..8).map(|user| {
            let tracker = &tracker;
            scope.spawn(move || (0..4).filter_map(|_| tracker.last_seen(user).err()).collect::<Vec<_>>())
        });
        let calls: Vec<_> = calls.collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(full.len() > 8, "{full:?}");
    for error in full {
        let told = unavailable::<()>(Err(error));
        assert!(
            told.ends_with("no free connection within 250ms: all 1 (max_connections) are in use"),
            "{told}"
        );
    }
    assert_eq!(events::said_of(&proxy.address()), [""; 0]);
}

#[test]
fn a_bad_value_is_no_failure_of_the_server() {
    let memcached = Memcached::start();
    memcached.set("seen_alice", 4, b"no time");
    let tracker = Tracker::new(memcached.settings().with_server_timeout(ms(20))).unwrap();
    let began = Instant::now();
    while began.elapsed() < ms(200) {
        assert!(!matches!(tracker.online("alice"), Ok(_) | Err(Error::Server { .. })));
    }
    tracker.seen("bob").unwrap();
}

#[test]
fn a_batch_whose_answers_keep_arriving_is_no_failure_of_the_server() {
    // Answers for the first user of a page at once and for the others never.
    let fake = Fake::start(|stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        let _ = (&stream).write_all(b"VALUE seen_alice 0 10\r\n1700000000\r\n");
        let _ = std::io::copy(&mut (&stream), &mut std::io::sink());
    });
    let settings = Settings::default().with_servers([fake.address()]).with_server_timeout(ms(500));
    let tracker = Tracker::new(settings).unwrap();
    for _ in 0..4 {
        let page = tracker.presences(["alice", "bob"]);
        assert!(page[0].is_ok(), "{page:?}");
        let told = unavailable(page[1].clone());
        assert!(told.ends_with("no answer within 500ms"), "{told}");
    }
}

#[test]
fn the_probe_ends_with_the_tracker() {
    alone(&[], || {
        let before = Process::now().threads;
        let tracker = Tracker::connect(&nowhere()).unwrap();
        let other = tracker.clone();
        until_circuit_open(&tracker);
        drop(tracker);
        assert_eq!(Process::now().threads, before + 1);
        drop(other);
        eventually(|| (Process::now().threads == before).then_some(()));
    });
}

#[test]
fn a_circuit_is_closed_through_one_connection() {
    // Counts connections: none while the circuit is open but the probe's.
    let refuses = AtomicBool::new(true);
    let refuses: &'static AtomicBool = Box::leak(Box::new(refuses));
    let fake = Fake::start(move |stream| {
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { return };
            if refuses.load(Ordering::SeqCst) {
                return;
            }
            let answer = if line == "version" { "VERSION 1.6.45\r\n" } else { "END\r\n" };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let tracker = Tracker::connect(&fake.address()).unwrap();
    until_circuit_open(&tracker);
    let before = fake.connections();
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(eventually(|| tracker.last_seen("alice").ok()), None);
    assert_eq!(fake.connections() - before, 2, "the probe's and the call's");
}
