//! What is particular to TLS.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{TimeDelta, Utc};
use last_seen::{Settings, Tracker};
use last_seen_tests::{Certificates, Fault, Memcached, Proxy, Way, eventually, ms, secs, within_once};

use super::{refused, settings, tracker, unusable};

#[test]
fn both_spellings_and_a_trailing_slash_are_taken() {
    let certificates = Certificates::create();
    let (memcached, ca) = (certificates.start(), certificates.file("ca.pem"));
    for scheme in ["tls", "memcache+tls"] {
        for slash in ["", "/"] {
            tracker(&format!("{scheme}://{}{slash}?ca={ca}", memcached.place())).seen("alice").unwrap();
        }
    }
}

#[test]
fn the_name_in_the_certificate_can_be_given() {
    let certificates = Certificates::create();
    let memcached = certificates.start();
    tracker(&format!("{}&server_name=cache.test", memcached.address())).seen("alice").unwrap();
    let wrong = format!("{}&server_name=other.test", memcached.address());
    refused(&wrong, &["invalid peer certificate: certificate not valid for name"]);
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let certificates = Certificates::create();
    let (memcached, other) = (certificates.start(), certificates.file("other-ca.pem"));
    let address = format!("tls://{}?ca={other}", memcached.place());
    refused(&address, &["invalid peer certificate: UnknownIssuer"]);
}

#[test]
fn the_roots_of_the_system_know_no_private_ca() {
    let certificates = Certificates::create();
    let memcached = certificates.start();
    let address = format!("tls://{}", memcached.place());
    match Tracker::new(settings(&address)) {
        Ok(_) => refused(&address, &["invalid peer certificate: UnknownIssuer"]),
        // On a system without roots nothing could be trusted.
        Err(error) => assert_eq!(error.kind(), "settings"),
    }
}

#[test]
fn a_client_without_the_right_certificate_is_refused() {
    let certificates = Certificates::create();
    let memcached = certificates.start_mutual();
    // The server closes in the midst of the first request, and its last words may be lost by that.
    let closed = ["reset", "closed", "EOF", "eof", "Broken pipe"];
    let missing = format!("tls://{}?ca={}", memcached.place(), certificates.file("ca.pem"));
    refused(&missing, &[&closed[..], &["CertificateRequired"]].concat());
    let other = format!("tls://{}{}", memcached.place(), certificates.client_query("other-client"));
    refused(&other, &[&closed[..], &["UnknownCA"]].concat());
}

#[test]
fn tls_to_a_plain_port_and_plain_to_a_tls_port_are_refused() {
    let certificates = Certificates::create();
    let plain = Memcached::start();
    let to_plain = format!("tls://{}?ca={}", plain.place(), certificates.file("ca.pem"));
    refused(&to_plain, &["received corrupt message of type InvalidContentType"]);
    let tls = certificates.start();
    refused(&tls.place(), &["reset", "closed"]);
}

#[test]
fn a_file_that_cannot_be_used_is_a_settings_error() {
    let certificates = Certificates::create();
    let file = |name: &str| certificates.file(name);
    certificates.write("garbage.pem", "not a certificate");
    certificates.write("empty.pem", "");
    let garbage = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    certificates.write("worse.pem", garbage);
    for name in ["missing.pem", "garbage.pem", "empty.pem", "worse.pem"] {
        let said = unusable(&format!("tls://127.0.0.1?ca={}", file(name)));
        assert!(said.contains("servers") && said.contains(name), "{said}");
    }
    let with = |cert: &str, key: &str| {
        unusable(&format!("tls://127.0.0.1?ca={}&cert={}&key={}", file("ca.pem"), file(cert), file(key)))
    };
    assert!(with("missing.pem", "client.key").contains("missing.pem"));
    assert!(with("client.pem", "missing.key").contains("missing.key"));
    // A certificate is no key.
    assert!(with("client.pem", "client.pem").contains("client.pem"));
    with("client.pem", "server.key");
    let said = unusable(&format!("tls://127.0.0.1?ca={}&cert={}", file("ca.pem"), file("client.pem")));
    assert!(said.contains("key"), "{said}");
    let said = unusable(&format!("127.0.0.1?ca={}", file("ca.pem")));
    assert!(said.contains("tls://"), "{said}");
}

#[test]
fn files_that_were_renewed_are_read_for_new_connections() {
    let certificates = Certificates::create();
    let memcached = certificates.start();
    let ca = std::fs::read_to_string(certificates.file("ca.pem")).unwrap();
    let other = std::fs::read_to_string(certificates.file("other-ca.pem")).unwrap();
    let renewed = certificates.write("renewed.pem", &other);
    let address = format!("tls://{}?ca={renewed}", memcached.place());
    let tracker = Tracker::new(Settings::default().with_servers([address])).unwrap();
    tracker.seen("alice").unwrap_err();
    certificates.write("renewed.pem", &ca);
    eventually(|| tracker.seen("alice").ok());
}

#[test]
fn a_page_of_10_000_users_over_10_servers_of_every_kind_is_right() {
    let certificates = Certificates::create();
    let servers: Vec<Memcached> = (0..10)
        .map(|nth| match nth % 5 {
            0 => Memcached::start(),
            1 => Memcached::start_on_socket(),
            2 => Memcached::start_with_password("site", "secret", &[]),
            3 => certificates.start(),
            _ => certificates.start_mutual(),
        })
        .collect();
    let settings = Settings::default().with_servers(servers.iter().map(Memcached::address));
    let tracker = Tracker::new(settings.with_server_timeout(secs(5))).unwrap();
    let now = Utc::now();
    let at = |user: i64| now - TimeDelta::seconds(user % 250);
    assert_eq!(tracker.restore((0..10_000).map(|user| (user, at(user)))).written, 10_000);
    for (user, presence) in (0..).zip(tracker.presences(0..10_000)) {
        assert_eq!(presence.unwrap().last_seen.unwrap().timestamp(), at(user).timestamp(), "{user}");
    }
    assert!(tracker.server_status().iter().all(|server| server.info.is_ok()));
}

#[test]
fn a_second_connection_is_taken_like_the_first() {
    let certificates = Certificates::create();
    for memcached in [certificates.start(), certificates.start_mutual()] {
        let tracker = tracker(&memcached.address());
        for _ in 0..20 {
            // A connection of its own. A memcached that checks certificates gives out sessions, and a
            // client that resumes one gets an internal error.
            tracker.server_status().remove(0).info.unwrap();
        }
    }
}

#[test]
fn many_threads_share_a_server() {
    let certificates = Certificates::create();
    let memcached = certificates.start_mutual();
    let tracker = tracker(&memcached.address());
    std::thread::scope(|scope| {
        for thread in 0..16_i64 {
            let tracker = &tracker;
            scope.spawn(move || {
                for round in 0..100 {
                    let (user, at) = (thread * 100 + round, Utc::now() - TimeDelta::seconds(thread));
                    tracker.seen_at(user, at).unwrap();
                    let seen = tracker.last_seen(user).unwrap().unwrap();
                    assert_eq!(seen.timestamp(), at.timestamp());
                }
            });
        }
    });
}

#[test]
fn the_first_call_fits_in_the_default_timeout() {
    let certificates = Certificates::create();
    let memcached = certificates.start_mutual();
    let settings = Settings::default().with_servers([memcached.address()]);
    assert_eq!(settings.server_timeout(), ms(100));
    eventually(|| Tracker::new(settings.clone()).unwrap().seen("alice").ok());
}

#[test]
fn a_server_that_drips_costs_one_timeout() {
    let certificates = Certificates::create();
    let memcached = certificates.start();
    let dripping = Arc::new(AtomicBool::new(false));
    let drips = dripping.clone();
    let proxy = Proxy::start(&memcached.place(), move |way, _| match way {
        Way::Answer if drips.load(Ordering::SeqCst) => Fault::Slices(ms(30)),
        _ => Fault::Pass,
    });
    let address = format!("tls://{}?ca={}", proxy.address(), certificates.file("ca.pem"));
    let settings = settings(&address).with_server_timeout(ms(200));
    let tracker = Tracker::new(settings.clone()).unwrap();
    eventually(|| tracker.seen("alice").ok());
    dripping.store(true, Ordering::SeqCst);
    // An answer, and then a handshake: each byte comes in time, and the last one much too late.
    within_once(ms(350), || tracker.online("alice").unwrap_err());
    within_once(ms(350), || Tracker::new(settings.clone()).unwrap().online("alice").unwrap_err());
}
