//! What `check` counts: calls of one kind, as many as it says. `check` lists the kinds.

use std::{hint::black_box, time::Duration};

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
        unknown => panic!("no subject {unknown:?}"),
    }
}
