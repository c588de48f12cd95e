//! A server behind a name: the name comes late, moves, or never resolves. The resolver is the system's, and
//! `nss_wrapper` gives it a hosts file of the test's.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use last_seen::Tracker;

use super::{filled, time_of, unavailable, until_at_rest};
use last_seen_tests::{Fault, Memcached, Process, Proxy, alone, eventually, ms, secs, within_once};

/// A hosts file for one process.
struct Hosts {
    path: PathBuf,
}

const LIBRARY: &str = "libnss_wrapper.so";
const VARIABLE: &str = "NSS_WRAPPER_HOSTS";

impl Hosts {
    fn empty(of: &str) -> Self {
        let path = std::env::temp_dir().join(format!("last-seen-hosts-{of}-{}", std::process::id()));
        let hosts = Self { path };
        hosts.write("");
        hosts
    }

    /// The one that this process was started with.
    fn of_this_process() -> Self {
        Self { path: std::env::var_os(VARIABLE).unwrap().into() }
    }

    fn write(&self, lines: &str) {
        // It looks for a time of change, in whole seconds, that it has not seen.
        static CHANGES: AtomicU64 = AtomicU64::new(1);
        let age = Duration::from_secs(1_000 - CHANGES.fetch_add(1, Ordering::SeqCst));
        let next = self.path.with_extension("next");
        fs::write(&next, lines).unwrap();
        fs::File::options().write(true).open(&next).unwrap().set_modified(SystemTime::now() - age).unwrap();
        fs::rename(&next, &self.path).unwrap();
    }

    #[track_caller]
    fn alone<F: FnOnce()>(&self, test: F) {
        alone(&[("LD_PRELOAD", LIBRARY), (VARIABLE, self.path.to_str().unwrap())], test);
        let _ = fs::remove_file(&self.path);
    }
}

#[track_caller]
fn need_nss_wrapper() {
    let found = Command::new("true").env("LD_PRELOAD", LIBRARY).output().unwrap();
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(
        said.is_empty(),
        "{said}\nnss_wrapper is missing: install it (Debian: libnss-wrapper), or run tests/run"
    );
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// How long until the tracker has a right answer about user 1.
fn found(tracker: &Tracker) -> Duration {
    let began = Instant::now();
    eventually(|| {
        thread::sleep(ms(5));
        tracker.last_seen(1).ok().map(|at| assert_eq!(at, Some(time_of(1))))
    });
    began.elapsed()
}

#[test]
fn a_server_that_moves_behind_its_name_is_found() {
    need_nss_wrapper();
    Hosts::empty("moves").alone(|| {
        let hosts = Hosts::of_this_process();
        let memcached = Memcached::start();
        filled(&memcached, 2);
        let here = Proxy::start(&memcached.address(), |_, _| Fault::Pass);
        let port = port_of(&here.address()).to_owned();
        hosts.write("127.0.0.1 cache.test\n");
        let tracker = Tracker::connect(&format!("cache.test:{port}")).unwrap();
        assert_eq!(eventually(|| tracker.last_seen(1).ok()), Some(time_of(1)));
        drop(here);
        until_at_rest(&tracker);
        let _there = Proxy::start_at(&format!("127.0.0.2:{port}"), &memcached.address(), |_, _| Fault::Pass);
        hosts.write("127.0.0.2 cache.test\n");
        let took = found(&tracker);
        assert!(took < secs(2), "{took:?}");
    });
}

#[test]
fn a_name_that_is_not_there_at_the_start_is_found_when_it_is() {
    need_nss_wrapper();
    Hosts::empty("late").alone(|| {
        let memcached = Memcached::start();
        filled(&memcached, 2);
        // Too long for the name service of the network, which a machine may ask in vain for seconds.
        let name = "absent-".repeat(10) + ".test";
        let address = format!("{name}:{}", port_of(&memcached.address()));
        let tracker = within_once(ms(10), || Tracker::connect(&address).unwrap());
        let told = within_once(ms(150), || unavailable(Tracker::connect(&address).unwrap().last_seen(1)));
        assert!(told.starts_with(&format!("memcached at {address} is unavailable: ")), "{told}");
        until_at_rest(&tracker);
        Hosts::of_this_process().write(&format!("127.0.0.1 {name}\n"));
        let took = found(&tracker);
        assert!(took < secs(2), "{took:?}");
    });
}

#[test]
fn a_resolver_that_hangs_costs_half_a_timeout_and_one_thread() {
    need_nss_wrapper();
    Hosts::empty("hangs").alone(|| {
        // Opening a pipe waits for a writer.
        let path = Hosts::of_this_process().path;
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).env_remove("LD_PRELOAD").status().unwrap().success());
        let before = Process::now().threads;
        let tracker = Tracker::connect("cache.test").unwrap();
        let told = within_once(ms(100), || {
            // A call of a tracker that knows nothing yet, while the resolver of another hangs.
            unavailable(Tracker::connect("cache.test").unwrap().seen("alice"))
        });
        assert!(told.ends_with("its name is still being resolved"), "{told}");
        let others = Process::now().threads - before;
        until_at_rest(&tracker);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| unavailable(tracker.last_seen("alice")));
            }
        });
        thread::sleep(secs(1));
        assert_eq!(Process::now().threads - before - others, 2, "one resolves, one probes");
        let servers = within_once(ms(150), || tracker.servers().remove(0).info.unwrap_err());
        assert!(matches!(servers, last_seen::Error::Unavailable { .. }));
        fs::write(&path, "").unwrap();
    });
}
