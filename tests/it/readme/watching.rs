use std::{sync::mpsc, thread};

use last_seen::{Error, Roster, Tracker};
use last_seen_tests::secs;

fn follow(tracker: &Tracker, show: impl Fn(&Roster)) -> Result<(), Error> {
    // --- snippet ---
    let list = tracker.online_users()?; // once: list.users, list.unavailable; for jobs and administrators
    let mut roster = Roster::default(); // live: everyone who is online, then each change as it happens
    for change in tracker.watch()? {
        roster.apply(&change);
        show(&roster); // roster.online(), roster.unknown(), roster.iter()
    }
    // --- end ---
    drop(list);
    Ok(())
}

#[test]
fn the_readme_follows_who_is_online() {
    let tracker = Tracker::in_memory();
    let (send, shown) = mpsc::channel();
    let followed = tracker.clone();
    // Ends with the process, since a watch has no end.
    thread::spawn(move || follow(&followed, |roster| _ = send.send(roster.online())));
    let until = |online: usize| while shown.recv_timeout(secs(10)).unwrap() != online {};
    until(0);
    tracker.seen("alice").unwrap();
    until(1);
    tracker.sign_out("alice").unwrap();
    until(0);
}
