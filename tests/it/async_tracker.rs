//! What only the tracker for async code does.

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{AsyncTracker, Error, Recorder, Settings, Tracker};

use last_seen_tests::{Fault, Memcached, Proxy, Way, eventually, ms, runtime, within};

#[test]
fn it_shares_the_store_in_process_with_the_tracker_it_was_made_from() {
    let tracker = Tracker::in_memory();
    let asynchronous = AsyncTracker::from(tracker.clone());
    runtime().block_on(asynchronous.seen("alice")).unwrap();
    assert!(tracker.online("alice").unwrap());
    asynchronous.blocking().forget("alice").unwrap();
    assert!(!tracker.online("alice").unwrap());
}

#[test]
fn its_futures_are_send_whatever_the_user_is() {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let tracker = AsyncTracker::from(Tracker::in_memory());
    let user: Rc<str> = "alice".into();
    runtime().block_on(async {
        send(tracker.seen(&user)).await.unwrap();
        send(tracker.seen_at(&user, Utc::now())).await.unwrap();
        assert!(send(tracker.last_seen(&user)).await.unwrap().is_some());
        assert!(send(tracker.online(&user)).await.unwrap());
        assert!(send(tracker.presence(&user)).await.unwrap().online);
        assert!(send(tracker.presences([&user])).await.remove(0).unwrap().online);
        assert!(send(tracker.inspect(&user)).await.unwrap().stored.is_some());
        send(tracker.sign_out(&user)).await.unwrap();
        assert!(send(tracker.forget(&user)).await.unwrap());
        assert!(send(tracker.server_status()).await.is_empty());
    });
}

/// A future is moved at each level of calls, and is a part of the task of each request.
#[test]
fn the_future_of_a_call_does_not_hold_what_only_connecting_needs() {
    let tracker = AsyncTracker::from(Tracker::in_memory());
    let sizes = [
        size_of_val(&tracker.seen("alice")),
        size_of_val(&tracker.presence("alice")),
        size_of_val(&tracker.presences(["alice"])),
    ];
    assert!(sizes.iter().all(|&bytes| bytes < 2_560), "{sizes:?} bytes");
}

#[test]
fn a_call_that_is_never_waited_for_does_nothing() {
    let tracker = Tracker::in_memory();
    let recorder = Recorder::new(tracker.clone());
    let asynchronous = AsyncTracker::from(tracker);
    recorder.seen("alice");
    drop(asynchronous.sign_out("alice"));
    drop(asynchronous.forget("alice"));
    recorder.flush().unwrap();
    assert!(asynchronous.blocking().online("alice").unwrap());
}

#[test]
fn a_sign_out_strikes_what_a_recorder_has_pending() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(Duration::from_secs(60))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let asynchronous = AsyncTracker::from(tracker.clone());
    tracker.seen("alice").unwrap();
    recorder.seen("alice");
    runtime().block_on(asynchronous.sign_out("alice")).unwrap();
    recorder.flush().unwrap();
    assert!(!tracker.online("alice").unwrap());
}

#[test]
fn cancelled_calls_give_no_later_call_a_wrong_answer() {
    let memcached = Memcached::start();
    let settings = memcached.settings().with_server_timeout(Duration::from_secs(5));
    let tracker = AsyncTracker::from(Tracker::new(settings).unwrap());
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let time_of = |user: i64| at + TimeDelta::seconds(user);
    runtime().block_on(async {
        let restored = tracker.restore((0..1_000).map(|user| (user, time_of(user)))).await;
        // A time of 2023 has expired, so they are written as they are.
        assert_eq!(restored.skipped, 1_000);
        for user in 0..1_000 {
            tracker.seen_at(user, time_of(user)).await.unwrap();
        }
        let (mut cancelled, mut round) = (0, 0_i64);
        while cancelled < 1_000 {
            round += 1;
            let user = round * 7 % 1_000;
            // Other work for a while of this length, and nobody waits any more.
            let patience = async {
                for _ in 0..round * 13 % 60 {
                    tokio::task::yield_now().await;
                }
            };
            let page = tracker.presences(user..user + 10);
            tokio::select! {
                biased;
                presence = tracker.last_seen(user) => assert_eq!(presence.unwrap(), Some(time_of(user))),
                page = page => assert_eq!(page.len(), 10),
                () = patience => cancelled += 1,
            }
        }
        for user in 0..1_000 {
            assert_eq!(tracker.last_seen(user).await.unwrap(), Some(time_of(user)));
        }
    });
}

/// The answer if it is there after so many polls; dropped where it is then, if not.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Every call, dropped after each number of polls that does not end it, on the one connection of a tracker.
fn cancelled_at_every_await(servers: &str, rounds: usize, page: i64) {
    const USERS: i64 = 50;
    let settings = Settings::default().with_servers([servers]).with_max_connections(1);
    let tracker = Tracker::new(settings.with_server_timeout(Duration::from_secs(10))).unwrap();
    let tracker = AsyncTracker::from(tracker);
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let time_of = |user: i64| at + TimeDelta::seconds(user);
    runtime().block_on(async {
        for user in 0..USERS {
            tracker.seen_at(user, time_of(user)).await.unwrap();
        }
        let (mut cancelled, mut ended, mut round, mut polls) = ([0; 8], [false; 8], 0, 0);
        // A server that is on a busy core may have answered before the first poll is over: until each was cancelled within.
        let is_left = |cancelled: &[usize; 8], round| cancelled.iter().any(|&count| count <= round);
        while round < rounds || is_left(&cancelled, round) && round < 100 * rounds {
            // By the place in the list below.
            let user = polls as i64 % USERS;
            for call in (0..8).filter(|&call| !ended[call]).collect::<Vec<_>>() {
                let done = match call {
                    0 => polled(polls, tracker.last_seen(user)).await.map(|seen| {
                        assert_eq!(seen.unwrap(), Some(time_of(user)));
                    }),
                    1 => polled(polls, tracker.presences(0..page)).await.map(|page| {
                        assert!(page.iter().all(Result::is_ok), "{page:?}");
                    }),
                    2 => polled(polls, tracker.seen_at(user, time_of(user))).await.map(Result::unwrap),
                    3 => polled(polls, tracker.inspect(user)).await.map(|record| {
                        assert_eq!(record.unwrap().stored.unwrap().last_seen.unwrap(), time_of(user));
                    }),
                    4 => polled(polls, tracker.sign_out("another")).await.map(|told| _ = told.unwrap()),
                    5 => polled(polls, tracker.forget("another")).await.map(|told| _ = told.unwrap()),
                    6 => polled(polls, tracker.seen("another")).await.map(Result::unwrap),
                    _ => polled(polls, tracker.restore([("another", Utc::now())])).await.map(|restored| {
                        assert_eq!(restored.failed, 0);
                    }),
                };
                ended[call] = done.is_some();
                cancelled[call] += usize::from(done.is_none());
                // The next calls, on the same connection or a new one.
                let other = (user + 7) % USERS;
                assert_eq!(tracker.last_seen(other).await.unwrap(), Some(time_of(other)), "{call} {polls}");
                let page = tracker.presences([user, other, USERS]).await;
                let page = page.into_iter().map(|one| one.unwrap().last_seen).collect::<Vec<_>>();
                assert_eq!(page, [Some(time_of(user)), Some(time_of(other)), None], "{call} {polls}");
            }
            polls += 1;
            if ended == [true; 8] {
                (ended, polls, round) = ([false; 8], 0, round + 1);
            }
        }
        println!("{cancelled:?}");
        assert!(!is_left(&cancelled, round), "{cancelled:?} in {round} rounds");
    });
}

#[test]
fn a_call_cancelled_at_any_await_gives_no_later_call_a_wrong_answer() {
    cancelled_at_every_await(&Memcached::start().address(), 20, 50);
}

#[test]
fn neither_does_one_over_a_unix_socket() {
    cancelled_at_every_await(&Memcached::start_on_socket().address(), 20, 50);
}

#[test]
fn neither_does_one_whose_answer_comes_in_single_bytes() {
    let memcached = Memcached::start();
    let plan = |way, _: last_seen_tests::proxy::Dice| match way {
        Way::Request => Fault::Pass,
        Way::Answer => Fault::Slices(Duration::from_micros(20)),
    };
    cancelled_at_every_await(&Proxy::start(&memcached.address(), plan).address(), 1, 3);
}

#[test]
fn several_silent_servers_cost_one_timeout_together() {
    let servers: [Memcached; 3] = std::array::from_fn(|_| Memcached::start());
    let settings = Settings::default().with_servers(servers.each_ref().map(Memcached::address));
    let tracker = AsyncTracker::from(Tracker::new(settings).unwrap());
    let runtime = runtime();
    assert!(runtime.block_on(tracker.presences(0..100)).into_iter().all(|one| one.is_ok()));
    servers.iter().for_each(Memcached::suspend);
    // On a busy machine one of a few tries may be late.
    eventually(|| {
        let started = std::time::Instant::now();
        let page = runtime.block_on(tracker.presences(0..100));
        assert!(page.into_iter().all(|one| matches!(one, Err(Error::Unavailable { .. }))));
        (started.elapsed() <= ms(150)).then_some(())
    });
    servers.iter().for_each(Memcached::resume);
    eventually(|| {
        runtime.block_on(tracker.presences(0..100)).into_iter().all(|one| one.is_ok()).then_some(())
    });
    assert!(runtime.block_on(tracker.server_status()).into_iter().all(|server| server.info.is_ok()));
}

#[test]
fn a_server_that_is_gone_is_unavailable_and_found_again() {
    let mut memcached = Memcached::start();
    let tracker = AsyncTracker::from(memcached.tracker());
    let runtime = runtime();
    runtime.block_on(tracker.seen("alice")).unwrap();
    memcached.kill();
    for _ in 0..5 {
        let answer = within(ms(150), || runtime.block_on(tracker.online("alice")));
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    }
    memcached.restart();
    eventually(|| runtime.block_on(tracker.online("alice")).ok());
}

#[test]
fn a_recorder_dropped_inside_a_runtime_or_after_it_loses_nothing() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(Duration::from_secs(60))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let after = Recorder::new(tracker.clone());
    let running = runtime();
    running.block_on(async {
        recorder.seen("inside");
        after.seen("after");
        within(Duration::from_secs(2), || drop(recorder));
    });
    drop(running);
    drop(after);
    assert!(tracker.online("inside").unwrap() && tracker.online("after").unwrap());
}
