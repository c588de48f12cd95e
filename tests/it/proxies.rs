//! Through twemproxy, which speaks the classic text protocol alone and closes on everything else.

#[cfg(feature = "who")]
use last_seen::Change;
use last_seen::{Error, Recorder, Settings, Tracker};
use last_seen_tests::{Memcached, Twemproxy, eventually, secs, within_once};

struct Site {
    backends: [Memcached; 2],
    proxy: Twemproxy,
}

fn site() -> Site {
    let backends = [Memcached::start(), Memcached::start()];
    let proxy = Twemproxy::start(&backends.each_ref());
    Site { backends, proxy }
}

impl Site {
    /// The timeout is longer than the proxy's own, which is 500 ms.
    fn tracker(&self) -> Tracker {
        self.tracker_at(&self.proxy.address())
    }

    fn tracker_at(&self, address: &str) -> Tracker {
        let settings = Settings::default().with_servers([address]).with_server_timeout(secs(2));
        Tracker::new(settings.with_flush_interval(secs(60))).unwrap()
    }

    /// Users that the first backend holds, and those of the second.
    fn seen(&self, tracker: &Tracker) -> [Vec<usize>; 2] {
        (0..40).for_each(|user| tracker.seen(user).unwrap());
        let holds = |backend: &Memcached, user: &usize| backend.raw(format!("get seen_{user}")) != "END\r\n";
        let held =
            self.backends.each_ref().map(|backend| (0..40).filter(|user| holds(backend, user)).collect());
        let [first, second]: &[Vec<usize>; 2] = &held;
        assert!(first.len() + second.len() == 40 && first.len() >= 5 && second.len() >= 5, "{held:?}");
        held
    }
}

#[test]
fn the_verbs_work() {
    let site = site();
    let tracker = site.tracker();
    site.seen(&tracker);
    assert!((0..40).all(|user| tracker.online(user).unwrap() && tracker.last_seen(user).unwrap().is_some()));
    let page = tracker.presences(0..80);
    assert!(page.into_iter().enumerate().all(|(user, presence)| presence.unwrap().online == (user < 40)));
    assert!(tracker.sign_out(1).unwrap());
    assert!(!tracker.online(1).unwrap() && tracker.last_seen(1).unwrap().is_some());
    assert!(tracker.forget(2).unwrap());
    assert_eq!(tracker.last_seen(2).unwrap(), None);
    assert_eq!(tracker.inspect(3).unwrap().stored.unwrap().bytes.len(), 10);
    tracker.seen(1).unwrap();
    assert!(tracker.online(1).unwrap());
}

#[test]
fn a_page_of_10_000_users_is_right() {
    let site = site();
    let (tracker, now) = (site.tracker(), chrono::Utc::now());
    assert_eq!(tracker.restore((0..10_000).map(|user| (user, now))).written, 10_000);
    let page = tracker.presences(0..11_000);
    assert!(page.into_iter().enumerate().all(|(user, presence)| presence.unwrap().online == (user < 10_000)));
}

#[test]
fn a_recorder_writes_and_a_sign_out_cancels_what_is_queued() {
    let site = site();
    let tracker = site.tracker();
    let recorder = Recorder::new(tracker.clone());
    (0..1_000).for_each(|user| recorder.seen(user));
    assert!(tracker.sign_out(7).unwrap());
    recorder.flush().unwrap();
    let page = tracker.presences(0..1_000);
    assert!(page.into_iter().enumerate().all(|(user, presence)| presence.unwrap().online == (user != 7)));
}

#[cfg(feature = "tokio")]
#[test]
fn the_async_verbs_work() {
    let site = site();
    let tracker = last_seen::AsyncTracker::from(site.tracker());
    last_seen_tests::runtime().block_on(async {
        tracker.seen("alice").await.unwrap();
        assert!(tracker.online("alice").await.unwrap());
        let page = tracker.presences(["alice", "bob"]).await;
        assert!(page[0].as_ref().unwrap().online && !page[1].as_ref().unwrap().online);
        assert!(tracker.sign_out("alice").await.unwrap() && tracker.forget("alice").await.unwrap());
        assert_eq!(tracker.last_seen("alice").await.unwrap(), None);
        assert!(tracker.server_status().await.remove(0).info.is_ok());
    });
}

#[test]
fn its_status_is_a_version_and_nothing_that_it_does_not_tell() {
    let site = site();
    let status = within_once(secs(1), || site.tracker().server_status().remove(0));
    let status = serde_json::to_value(&status).unwrap();
    assert_eq!(status["status"], "up", "{status}");
    assert!(
        status["version"].as_str().unwrap().starts_with("1.") && status["latency_us"].is_u64(),
        "{status}"
    );
    for unknown in ["clock_offset_s", "connections", "max_connections", "error"] {
        assert!(status[unknown].is_null(), "{unknown} in {status}");
    }
}

#[cfg(feature = "who")]
#[test]
fn the_list_and_the_feed_need_memcached_itself() {
    let site = site();
    let tracker = site.tracker();
    tracker.seen("alice").unwrap();
    let unavailable = |error: Error| {
        let said = error.to_string();
        assert!(said.ends_with("is unavailable: the server closed the connection"), "{said}");
    };
    unavailable(within_once(secs(1), || tracker.online_users().unwrap_err()));
    let mut watch = within_once(secs(1), || tracker.watch().unwrap());
    let Some(Change::ServerDown { error, .. }) = watch.next_timeout(secs(5)) else { panic!("not down") };
    unavailable(error);
    let Some(Change::Ready { online: 0, complete: false, .. }) = watch.next_timeout(secs(1)) else {
        panic!("not ready")
    };
    // Nobody asks a proxy every second for what it does not have.
    assert!(watch.next_timeout(secs(3)).is_none());
    // That says nothing of the calls.
    assert!(tracker.online("alice").unwrap());
}

#[test]
fn a_needless_password_is_stored_on_no_backend() {
    let site = site();
    let tracker = site.tracker_at(&format!("memcache://site:secret@{}", site.proxy.address()));
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    assert_eq!(site.backends.iter().map(|backend| backend.stat("total_items")).sum::<u64>(), 1);
}

#[track_caller]
fn unknown<T: std::fmt::Debug>(answer: last_seen::Result<T>) {
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Server { .. } | Error::Unavailable { .. }), "{error:?}");
}

#[test]
fn the_users_of_a_dead_backend_are_unknown_and_the_others_are_known() {
    let mut site = site();
    let tracker = site.tracker();
    let [dead, alive] = site.seen(&tracker);
    site.backends[0].kill();
    let known = |user: usize| assert!(tracker.last_seen(user).unwrap().is_some(), "{user}");
    for _ in 0..3 {
        // One after the other, and each kind in a row: no number of the dead costs one of the living.
        for (&dead, &alive) in dead.iter().zip(&alive) {
            unknown(within_once(secs(1), || tracker.last_seen(dead)));
            known(alive);
        }
        dead.iter().for_each(|&user| unknown(tracker.last_seen(user)));
        alive.iter().for_each(|&user| known(user));
    }
    unknown(tracker.seen(dead[0]));
    tracker.seen(alive[0]).unwrap();
    unknown(tracker.sign_out(dead[0]));
    // The tombstone may lie on the dead one: then it is done, and said that it may not hold.
    for &user in &alive[..4] {
        if let Err(error) = tracker.sign_out(user) {
            assert!(error.to_string().contains("it is done"), "{error}");
        }
        assert!(!tracker.online(user).unwrap());
    }
    // The proxy passes `version` on, and here to the dead one: it is the proxy that says so.
    let status = tracker.server_status().remove(0);
    assert!(matches!(status.info, Ok(_) | Err(Error::Server { .. })), "{status:?}");
    site.backends[0].restart();
    eventually(|| tracker.seen(dead[0]).ok());
    assert!(tracker.online(dead[0]).unwrap());
}

#[test]
fn a_recorder_writes_the_users_of_the_living_backend() {
    let mut site = site();
    let tracker = site.tracker();
    let [dead, alive] = site.seen(&tracker);
    for user in 0..40 {
        tracker.sign_out(user).unwrap();
    }
    site.backends[0].kill();
    let recorder = Recorder::new(tracker.clone());
    (0..40).for_each(|user| recorder.seen(user));
    unknown(recorder.flush());
    for &user in &alive {
        assert!(tracker.online(user).unwrap(), "{user}");
    }
    assert_eq!(recorder.stats().queued, dead.len() as u64);
    for &user in &alive {
        // Whose tombstone lies on the dead one.
        if let Err(error) = tracker.sign_out(user) {
            assert!(error.to_string().contains("it is done"), "{error}");
        }
        assert!(!tracker.online(user).unwrap(), "{user}");
    }
    site.backends[0].restart();
    eventually(|| recorder.flush().ok());
    assert!(dead.iter().all(|&user| tracker.online(user).unwrap()));
}

#[test]
fn of_a_page_the_users_of_a_dead_backend_are_unknown_and_the_others_are_known() {
    let mut site = site();
    let tracker = site.tracker();
    let [dead, alive] = site.seen(&tracker);
    site.backends[0].kill();
    let check = |page: Vec<last_seen::Result<last_seen::Presence>>| {
        assert_eq!(page.len(), 40);
        for (user, presence) in page.into_iter().enumerate() {
            match dead.contains(&user) {
                true => unknown(presence),
                false => assert!(presence.unwrap().online && alive.contains(&user)),
            }
        }
    };
    for _ in 0..3 {
        check(within_once(secs(2), || tracker.presences(0..40)));
        tracker.seen(alive[0]).unwrap();
    }
    #[cfg(feature = "tokio")]
    {
        let asynchronous = last_seen::AsyncTracker::from(tracker);
        check(last_seen_tests::runtime().block_on(asynchronous.presences(0..40)));
    }
}

#[test]
fn a_backend_that_hangs_is_unknown_after_the_proxys_timeout() {
    let site = site();
    let tracker = site.tracker();
    let [silent, alive] = site.seen(&tracker);
    site.backends[0].suspend();
    unknown(within_once(secs(1), || tracker.last_seen(silent[0])));
    assert!(tracker.online(alive[0]).unwrap());
    site.backends[0].resume();
    assert!(eventually(|| tracker.online(silent[0]).ok()));
}
