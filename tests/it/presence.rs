//! The rule of "online", and the words for "ago".

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Ago, Presence};

use last_seen_tests::secs;

fn noon() -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

#[track_caller]
fn online(seconds_ago: i64) -> bool {
    Presence::at(Some(noon() - TimeDelta::seconds(seconds_ago)), noon(), secs(300)).online
}

#[test]
fn a_user_is_online_for_exactly_three_hundred_seconds() {
    assert!(online(0));
    assert!(online(299));
    assert!(online(300));
    assert!(!online(301));
}

#[test]
fn a_fast_clock_elsewhere_counts_up_to_the_window() {
    assert!(online(-1));
    assert!(online(-300));
    assert!(!online(-301));
}

#[test]
fn parts_of_a_second_do_not_count() {
    let late = noon() + TimeDelta::milliseconds(999);
    assert!(Presence::at(Some(noon()), late + TimeDelta::seconds(300), secs(300)).online);
    assert!(!Presence::at(Some(late), noon() + TimeDelta::seconds(301), secs(300)).online);
}

#[test]
fn nobody_without_a_record_is_online() {
    assert_eq!(Presence::at(None, noon(), secs(300)), Presence::default());
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        for now in [DateTime::<Utc>::MIN_UTC, noon(), DateTime::<Utc>::MAX_UTC] {
            let presence = Presence::at(Some(at), now, std::time::Duration::MAX);
            assert!(presence.online);
            let _ = presence.ago_at(now).to_string();
        }
    }
}

#[test]
fn ago_reads_as_people_say_it() {
    let ago = |seconds| {
        let seen = noon() - TimeDelta::seconds(seconds);
        Presence::at(Some(seen), noon(), secs(300)).ago_at(noon()).to_string()
    };
    assert_eq!(ago(-200), "just now");
    assert_eq!(ago(0), "just now");
    assert_eq!(ago(59), "just now");
    assert_eq!(ago(60), "1 minute ago");
    assert_eq!(ago(3_599), "59 minutes ago");
    assert_eq!(ago(3_600), "1 hour ago");
    assert_eq!(ago(86_399), "23 hours ago");
    assert_eq!(ago(86_400), "1 day ago");
    assert_eq!(ago(604_800), "7 days ago");
    assert_eq!(Presence::default().ago_at(noon()), Ago::NoRecord);
    assert_eq!(format!("{:>14}|{:<10}|", Ago::Minutes(3), Ago::JustNow), " 3 minutes ago|just now  |");
}

#[test]
fn a_presence_serializes_for_any_view() {
    let json = |presence: Presence| serde_json::to_string(&presence).unwrap();
    let ahead = noon() + TimeDelta::days(36_500);
    assert_eq!(
        json(Presence::at(Some(ahead), ahead, secs(300))),
        r#"{"status":"online","online":true,"last_seen":"2126-10-31T12:00:00Z","age_s":0,"ago":"just now"}"#
    );
    assert_eq!(
        json(Presence::default()),
        r#"{"status":"offline","online":false,"last_seen":null,"age_s":null,"ago":"awhile ago"}"#
    );
    // As it is shown, not as it was read.
    let now = Utc::now();
    let shown: serde_json::Value =
        serde_json::from_str(&json(Presence::at(Some(now - TimeDelta::hours(2)), now, secs(300)))).unwrap();
    assert_eq!((&shown["status"], &shown["ago"]), (&"offline".into(), &"2 hours ago".into()));
    assert!((7_200..7_210).contains(&shown["age_s"].as_i64().unwrap()), "{shown}");
}
