//! Every call has a bound, no matter what the server does.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{Error, Settings, Tracker};

use super::{Backlog, filled, nowhere, time_of, unavailable};
use last_seen_tests::{
    Fake, Fault, Folder, Memcached, Process, Proxy, Way, alone, eventually, ms, within, within_once,
};

/// A call, and the error it had, if it had any.
type Call = (&'static str, fn(&Tracker) -> Option<Error>);

const CALLS: [Call; 9] = [
    ("seen", |tracker| tracker.seen("alice").err()),
    ("last_seen", |tracker| tracker.last_seen("alice").err()),
    ("online", |tracker| tracker.online("alice").err()),
    ("presence", |tracker| tracker.presence("alice").err()),
    ("presences", |tracker| tracker.presences(["alice"]).remove(0).err()),
    ("sign_out", |tracker| tracker.sign_out("alice").err()),
    ("forget", |tracker| tracker.forget("alice").err()),
    ("inspect", |tracker| tracker.inspect("alice").err()),
    ("server_status", |tracker| tracker.server_status().remove(0).info.err()),
];

/// The default `server_timeout`, and what a machine may add.
const ONE: Duration = ms(150);

/// Every call fails in time, each on a tracker of its own that has not learnt of the fault.
#[track_caller]
fn every_call_fails(address: &str) {
    for (name, call) in CALLS {
        let error = within_once(ONE, || call(&Tracker::connect(address).unwrap()));
        let error = error.unwrap_or_else(|| panic!("{name} had an answer"));
        // A server of another kind is not lost for `server_status`, which tells what it says.
        let told = matches!(error, Error::Unavailable { .. }) || name == "server_status";
        assert!(told, "{name}: {error:?}");
    }
    let now = Utc::now();
    let restore = || Tracker::connect(address).unwrap().restore([("alice", now)]);
    assert_eq!(within_once(ONE, restore).failed, 1);
}

/// As [`every_call_fails`], through a proxy that does `fault` to all that goes `way`.
#[track_caller]
fn every_call_fails_by(way: Way, fault: impl Fn(u64) -> Fault + Send + Sync + 'static) {
    let memcached = Memcached::start();
    filled(&memcached, 1);
    let plan = move |now, dice: last_seen_tests::proxy::Dice| {
        if now == way { fault(dice(1_000)) } else { Fault::Pass }
    };
    every_call_fails(&Proxy::start(&memcached.address(), plan).address());
}

#[test]
fn a_refusing_server_costs_one_timeout_at_most() {
    every_call_fails(&nowhere());
}

#[test]
fn a_suspended_server_costs_one_timeout() {
    let memcached = Memcached::start();
    memcached.suspend();
    every_call_fails(&memcached.address());
}

#[test]
fn a_suspended_server_costs_a_page_of_any_length_one_timeout() {
    let memcached = Memcached::start();
    memcached.suspend();
    // Long enough that a busy machine, which has to make all these errors, is not taken for a second one.
    let settings = memcached.settings().with_server_timeout(ms(500));
    let page = || Tracker::new(settings.clone()).unwrap().presences(0..5_000);
    assert_eq!(within_once(ms(900), page).into_iter().map(unavailable).count(), 5_000);
}

/// A page over these servers, none of which answers.
#[track_caller]
fn page_fails(tracker: &Tracker) {
    assert_eq!(tracker.presences(0..300).into_iter().map(unavailable).count(), 300);
}

#[test]
fn several_silent_servers_cost_a_page_one_timeout_together() {
    let memcached: [Memcached; 3] = std::array::from_fn(|_| Memcached::start());
    let settings = || Settings::default().with_servers(memcached.each_ref().map(Memcached::address));
    let connected: [Tracker; 3] = std::array::from_fn(|_| Tracker::new(settings()).unwrap());
    for tracker in &connected {
        assert!(tracker.presences(0..300).iter().all(Result::is_ok));
    }
    memcached.iter().for_each(Memcached::suspend);
    let mut connected = connected.iter();
    within_once(ONE, || page_fails(connected.next().unwrap()));
    within_once(ONE, || page_fails(&Tracker::new(settings()).unwrap()));
}

#[test]
fn several_dials_that_hang_cost_a_page_one_timeout_together() {
    let backlogs: [Backlog; 3] = std::array::from_fn(|_| Backlog::full());
    let settings = Settings::default().with_servers(backlogs.each_ref().map(Backlog::address));
    within_once(ONE, || page_fails(&Tracker::new(settings.clone()).unwrap()));
}

#[test]
fn several_dials_that_hang_in_place_of_idle_connections_cost_a_page_one_timeout_together() {
    let listeners: [_; 5] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let servers = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let settings = Settings::default().with_servers(servers).with_server_timeout(ms(400));
    let tracker = Tracker::new(settings).unwrap();
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| {
                let mut stream = listener.accept().unwrap().0;
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(b"END\r\n").unwrap();
            });
        }
        assert!(tracker.presences(0..300).iter().all(Result::is_ok));
    });
    // Which takes longer than the time after which an idle connection is checked.
    let _backlogs = listeners.map(Backlog::fill);
    within(ms(700), || page_fails(&tracker));
}

#[test]
fn several_silent_servers_cost_pages_that_wait_for_connections_two_timeouts_together() {
    let silent = |mut stream| _ = std::io::copy(&mut stream, &mut std::io::sink());
    let silent: [Fake; 6] = std::array::from_fn(|_| Fake::start(silent));
    let settings = Settings::default().with_servers(silent.each_ref().map(Fake::address));
    let settings = settings.with_max_connections(1).with_server_timeout(ms(200));
    within_once(ms(550), || {
        let tracker = Tracker::new(settings.clone()).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| page_fails(&tracker));
            }
        });
    });
}

#[test]
fn a_request_that_a_stopped_server_does_not_take_in_costs_no_other_server_its_answer() {
    let servers: [Memcached; 3] = std::array::from_fn(|_| Memcached::start_on_socket());
    let settings = Settings::default().with_servers(servers.each_ref().map(Memcached::address));
    let tracker = Tracker::new(settings.with_server_timeout(ms(500))).unwrap();
    servers[0].suspend();
    // More than the buffers of a Unix socket hold.
    let page = tracker.presences((0..4_000).map(|user| format!("{user:0>240}")));
    let others = page.iter().filter_map(|answer| answer.as_ref().err()?.server());
    let lost = others.inspect(|server| assert_eq!(*server, servers[0].place())).count();
    assert!(lost > 1_000, "{lost}");
}

#[test]
fn a_dial_that_hangs_costs_one_timeout_at_most() {
    let backlog = Backlog::full();
    every_call_fails(&backlog.address());
    let told = unavailable(Tracker::connect(&backlog.address()).unwrap().seen("alice"));
    assert!(told.ends_with("no connection within 50ms"), "{told}");
}

#[test]
fn a_unix_socket_that_takes_no_connection_costs_one_timeout_at_most() {
    let folder = Folder::create();
    let path = folder.file("socket");
    let socket = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let (listener, address) = (socket(), socket2::SockAddr::unix(&path).unwrap());
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    // Its queue is full.
    let waiting = std::iter::from_fn(|| {
        let socket = socket();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address).ok().map(|()| socket)
    });
    let _waiting: Vec<_> = waiting.collect();
    every_call_fails(&path);
    let tracker = Tracker::connect(&path).unwrap();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.ends_with("no connection within 50ms"), "{told}");
    #[cfg(feature = "tokio")]
    {
        let (runtime, tracker) = (last_seen_tests::runtime(), last_seen::AsyncTracker::from(tracker));
        unavailable(within_once(ONE, || runtime.block_on(tracker.seen("alice"))));
    }
}

#[test]
fn a_black_hole_costs_one_timeout() {
    every_call_fails_by(Way::Request, |_| Fault::Swallow);
}

#[test]
fn answers_later_than_the_timeout_cost_one_timeout() {
    every_call_fails_by(Way::Answer, |jitter| Fault::Late(ms(150 + jitter / 10)));
}

#[test]
fn requests_later_than_the_timeout_cost_one_timeout() {
    every_call_fails_by(Way::Request, |jitter| Fault::Late(ms(150 + jitter / 10)));
}

#[test]
fn single_bytes_that_take_too_long_cost_one_timeout() {
    every_call_fails_by(Way::Answer, |_| Fault::Slices(ms(60)));
}

#[test]
fn a_connection_that_is_cut_costs_one_timeout_at_most() {
    every_call_fails_by(Way::Answer, |_| Fault::Cut(0));
    every_call_fails_by(Way::Answer, |_| Fault::Cut(1));
}

#[test]
fn a_connection_that_is_reset_costs_one_timeout_at_most() {
    every_call_fails_by(Way::Answer, |_| Fault::Reset(1));
    every_call_fails_by(Way::Request, |_| Fault::Reset(0));
}

#[test]
fn garbage_for_an_answer_costs_one_timeout_at_most() {
    every_call_fails_by(Way::Answer, |_| Fault::Garbage(b"\x16\x03\x01\x02\x00\x01\x00\r\n"));
    every_call_fails_by(Way::Answer, |_| Fault::Garbage(b"\0"));
}

#[test]
fn a_server_of_another_kind_costs_one_timeout_at_most() {
    for answer in [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".as_slice(),
        b"+PONG\r\n",
        b"\r\n",
        b"VALUE seen_alice 0 99999999999999999999\r\n",
        b"VALUE seen_alice 0 1073741824\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        &[0xff; 4_096],
        &[0x00; 64],
    ] {
        let fake = Fake::start(move |mut stream| {
            let _ = stream.write_all(answer);
            // Open until the client has had enough.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        every_call_fails(&fake.address());
    }
}

#[test]
fn delays_each_way_and_slices_within_the_timeout_cost_nothing_but_time() {
    let memcached = Memcached::start();
    filled(&memcached, 3);
    let plan = |way, dice: last_seen_tests::proxy::Dice| match way {
        Way::Request => Fault::Late(ms(10 + dice(20))),
        Way::Answer => Fault::Slices(ms(dice(2))),
    };
    let proxy = Proxy::start(&memcached.address(), plan);
    let settings = memcached.settings().with_servers([proxy.address()]).with_server_timeout(ms(2_000));
    let tracker = Tracker::new(settings).unwrap();
    for user in 0..3 {
        assert_eq!(tracker.last_seen(user).unwrap(), Some(time_of(user)));
    }
    assert!(tracker.presences(0..3).iter().all(Result::is_ok));
}

#[test]
fn a_silent_server_holds_no_more_than_its_connections_and_no_thread() {
    alone(&[], || {
        let memcached = Memcached::start();
        let timeout = ms(250);
        memcached.suspend();
        let before = Process::now();
        let late = AtomicUsize::new(0);
        let tracker = Tracker::new(memcached.settings().with_server_timeout(timeout)).unwrap();
        let began = Instant::now();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|n| {
                    let (tracker, late) = (&tracker, &late);
                    scope.spawn(move || {
                        while began.elapsed() < timeout * 6 {
                            let asked = Instant::now();
                            unavailable(tracker.last_seen(n));
                            let bound = 2 * timeout + ms(50);
                            late.fetch_add(usize::from(asked.elapsed() > bound), Ordering::Relaxed);
                            thread::sleep(ms(1));
                        }
                    })
                })
                .collect();
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                let sockets = Process::now().sockets - before.sockets;
                // While the circuit is open the server is probed beside the last calls.
                let probes = Process::threads_named("last-seen-probe");
                assert!(probes <= 1, "{probes} probes");
                let calls = tracker.settings().max_connections();
                assert!(sockets <= calls + probes, "{sockets} sockets, {probes} probes");
                thread::sleep(ms(1));
            }
        });
        assert_eq!(late.into_inner(), 0);
        drop(tracker);
        eventually(|| (Process::now().threads <= before.threads).then_some(()));
        eventually(|| (Process::now().descriptors <= before.descriptors).then_some(()));
    });
}
