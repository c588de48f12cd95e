//! TCP, Unix sockets and TLS, with and without a password: everything works over each of them, and what cannot
//! work says why.

mod every_kind;
mod passwords;
#[cfg(feature = "tls")]
mod tls;

use last_seen::{Error, Settings, Tracker};
use last_seen_tests::{secs, within_once};

/// What works has time on a busy machine, and what is refused does not wait for it.
fn settings(address: &str) -> Settings {
    Settings::default().with_servers([address]).with_server_timeout(secs(5)).with_flush_interval(secs(60))
}

#[track_caller]
fn tracker(address: &str) -> Tracker {
    Tracker::new(settings(address)).unwrap()
}

/// A tracker on this address is refused at once, with one of these texts.
#[track_caller]
fn refused(address: &str, words: &[&str]) {
    let check = |error: Error| {
        assert!(matches!(error, Error::Unavailable { .. } | Error::Server { .. }), "{error:?}");
        let said = error.to_string();
        assert!(words.iter().any(|word| said.contains(word)), "{said:?} has none of {words:?}");
    };
    check(within_once(secs(1), || tracker(address).seen("alice").unwrap_err()));
    check(within_once(secs(1), || tracker(address).presences(["alice"]).remove(0).unwrap_err()));
    let status = within_once(secs(1), || tracker(address).server_status().remove(0));
    check(status.info.unwrap_err());
    #[cfg(feature = "tokio")]
    {
        let runtime = last_seen_tests::runtime();
        let asynchronous = || last_seen::AsyncTracker::from(tracker(address));
        check(within_once(secs(1), || runtime.block_on(asynchronous().seen("alice")).unwrap_err()));
    }
}

/// Why these settings cannot be used.
#[track_caller]
fn unusable(address: &str) -> String {
    match Tracker::new(settings(address)) {
        Err(Error::Settings(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_socket_that_is_not_there_is_unavailable() {
    let folder = last_seen_tests::Folder::create();
    let path = folder.file("socket");
    refused(&path, &["no such file"]);
    refused(&format!("unix:{path}"), &["no such file"]);
    std::os::unix::net::UnixListener::bind(&path).unwrap();
    refused(&path, &["refused"]);
}

#[test]
fn a_trailing_slash_is_taken() {
    let memcached = last_seen_tests::Memcached::start();
    for address in [format!("memcache://{}/", memcached.place()), format!("{}/", memcached.place())] {
        tracker(&address).seen("alice").unwrap();
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_without_its_feature_is_an_error_that_names_it() {
    for address in ["tls://127.0.0.1", "memcache+tls://127.0.0.1:11211"] {
        let said = unusable(address);
        assert!(said.contains("feature `tls`"), "{said}");
    }
}
