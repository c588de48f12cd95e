//! A program of a site, for tests that need several: with its settings from the environment, it does what it reads, a line
//! each, and answers each with a line.

use last_seen::{Recorder, Tracker};

fn main() {
    let tracker = Tracker::from_env().unwrap();
    let recorder = Recorder::new(tracker.clone());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, user) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match what {
            "note" => {
                recorder.seen(user);
                "noted".to_owned()
            }
            "note-to" => {
                (0..user.parse().unwrap()).for_each(|user: u32| recorder.seen(user));
                "noted".to_owned()
            }
            "seen" => said(tracker.seen(user)),
            "sign-out" => said(tracker.sign_out(user)),
            "forget" => said(tracker.forget(user)),
            #[cfg(feature = "tokio")]
            "sign-out-async" => said(signing_out(tracker.clone(), user)),
            "queued" => recorder.stats().queued.to_string(),
            "exit" => std::process::exit(0),
            _ => panic!("{line:?}"),
        };
        println!("{answer}");
    }
}

fn said<T: std::fmt::Debug>(answer: last_seen::Result<T>) -> String {
    answer.map_or_else(|error| format!("error: {error}"), |answer| format!("{answer:?}"))
}

#[cfg(feature = "tokio")]
fn signing_out(tracker: Tracker, user: &str) -> last_seen::Result<bool> {
    last_seen_tests::runtime().block_on(last_seen::AsyncTracker::from(tracker).sign_out(user))
}
