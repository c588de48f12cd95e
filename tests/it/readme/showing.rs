use last_seen::Tracker;

fn status(tracker: &Tracker, user: &str) -> String {
    // --- snippet ---
    match tracker.presence(user) {
        Ok(presence) if presence.online => "online".to_owned(),
        Ok(presence) => format!("last seen {}", presence.ago()),
        Err(_) => "unknown".to_owned(),
    }
    // --- end ---
}

#[test]
fn the_readme_shows_three_answers() {
    let tracker = Tracker::in_memory();
    tracker.seen("alice").unwrap();
    assert_eq!(status(&tracker, "alice"), "online");
    tracker.sign_out("alice").unwrap();
    assert_eq!(status(&tracker, "alice"), "last seen 5 minutes ago");
    assert_eq!(status(&tracker, "bob"), "last seen awhile ago");
    let down = Tracker::connect("127.0.0.1:1").unwrap();
    assert_eq!(status(&down, "alice"), "unknown");
}
