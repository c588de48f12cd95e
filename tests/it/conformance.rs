//! One suite, every store.

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Presence, RestoreSummary, Result, Settings, Tracker};

use last_seen_tests::{Memcached, eventually, secs};

/// The verbs as the suite calls them, so that it runs over every kind of tracker.
trait Verbs {
    fn seen(&self, user: &str) -> Result<()>;
    fn seen_at(&self, user: &str, at: DateTime<Utc>) -> Result<()>;
    fn last_seen(&self, user: &str) -> Result<Option<DateTime<Utc>>>;
    fn online(&self, user: &str) -> Result<bool>;
    fn presence(&self, user: &str) -> Result<Presence>;
    fn presences(&self, users: &[&str]) -> Vec<Result<Presence>>;
    fn sign_out(&self, user: &str) -> Result<bool>;
    fn forget(&self, user: &str) -> Result<bool>;
    fn restore(&self, records: &[(String, DateTime<Utc>)]) -> RestoreSummary;
    fn inspect(&self, user: &str) -> Result<last_seen::RecordInfo>;
}

impl Verbs for Tracker {
    fn seen(&self, user: &str) -> Result<()> {
        self.seen(user)
    }
    fn seen_at(&self, user: &str, at: DateTime<Utc>) -> Result<()> {
        self.seen_at(user, at)
    }
    fn last_seen(&self, user: &str) -> Result<Option<DateTime<Utc>>> {
        self.last_seen(user)
    }
    fn online(&self, user: &str) -> Result<bool> {
        self.online(user)
    }
    fn presence(&self, user: &str) -> Result<Presence> {
        self.presence(user)
    }
    fn presences(&self, users: &[&str]) -> Vec<Result<Presence>> {
        self.presences(users)
    }
    fn sign_out(&self, user: &str) -> Result<bool> {
        self.sign_out(user)
    }
    fn forget(&self, user: &str) -> Result<bool> {
        self.forget(user)
    }
    fn restore(&self, records: &[(String, DateTime<Utc>)]) -> RestoreSummary {
        self.restore(records.iter().map(|(user, at)| (user, *at)))
    }
    fn inspect(&self, user: &str) -> Result<last_seen::RecordInfo> {
        self.inspect(user)
    }
}

/// The async tracker, on a runtime of its own.
#[cfg(feature = "tokio")]
struct Asynchronous(last_seen::AsyncTracker, tokio::runtime::Runtime);

#[cfg(feature = "tokio")]
impl Asynchronous {
    fn boxed(settings: Settings) -> Box<dyn Verbs> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Box::new(Self(Tracker::new(settings).unwrap().into(), runtime))
    }
}

#[cfg(feature = "tokio")]
impl Verbs for Asynchronous {
    fn seen(&self, user: &str) -> Result<()> {
        self.1.block_on(self.0.seen(user))
    }
    fn seen_at(&self, user: &str, at: DateTime<Utc>) -> Result<()> {
        self.1.block_on(self.0.seen_at(user, at))
    }
    fn last_seen(&self, user: &str) -> Result<Option<DateTime<Utc>>> {
        self.1.block_on(self.0.last_seen(user))
    }
    fn online(&self, user: &str) -> Result<bool> {
        self.1.block_on(self.0.online(user))
    }
    fn presence(&self, user: &str) -> Result<Presence> {
        self.1.block_on(self.0.presence(user))
    }
    fn presences(&self, users: &[&str]) -> Vec<Result<Presence>> {
        self.1.block_on(self.0.presences(users))
    }
    fn sign_out(&self, user: &str) -> Result<bool> {
        self.1.block_on(self.0.sign_out(user))
    }
    fn forget(&self, user: &str) -> Result<bool> {
        self.1.block_on(self.0.forget(user))
    }
    fn restore(&self, records: &[(String, DateTime<Utc>)]) -> RestoreSummary {
        self.1.block_on(self.0.restore(records.iter().map(|(user, at)| (user, *at))))
    }
    fn inspect(&self, user: &str) -> Result<last_seen::RecordInfo> {
        self.1.block_on(self.0.inspect(user))
    }
}

/// A store to run the suite on.
struct Subject {
    settings: Settings,
    make: fn(Settings) -> Box<dyn Verbs>,
    _server: Option<Memcached>,
}

impl Subject {
    fn memory(make: fn(Settings) -> Box<dyn Verbs>) -> Self {
        Self { settings: Settings::default().with_servers(["memory:"]), make, _server: None }
    }

    fn memcached(make: fn(Settings) -> Box<dyn Verbs>) -> Self {
        let server = Memcached::start();
        Self { settings: server.settings(), make, _server: Some(server) }
    }

    fn tracker(&self) -> Box<dyn Verbs> {
        (self.make)(self.settings.clone())
    }

    fn tracker_with(&self, change: impl Fn(Settings) -> Settings) -> Box<dyn Verbs> {
        (self.make)(change(self.settings.clone()))
    }
}

fn blocking(settings: Settings) -> Box<dyn Verbs> {
    Box::new(Tracker::new(settings).unwrap())
}

macro_rules! store_tests {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&super::Subject::memory(super::blocking)); })*
        }
        mod memcached {
            $(#[test] fn $name() { super::$name(&super::Subject::memcached(super::blocking)); })*
        }
        #[cfg(feature = "tokio")]
        mod async_memory {
            use super::{Asynchronous, Subject};
            $(#[test] fn $name() { super::$name(&Subject::memory(Asynchronous::boxed)); })*
        }
        #[cfg(feature = "tokio")]
        mod async_memcached {
            use super::{Asynchronous, Subject};
            $(#[test] fn $name() { super::$name(&Subject::memcached(Asynchronous::boxed)); })*
        }
    };
}

store_tests![
    a_user_who_is_seen_is_online,
    a_user_never_seen_has_no_record,
    a_record_expires,
    the_window_is_three_hundred_seconds,
    a_time_is_kept_to_the_second,
    a_page_of_users_is_answered_in_order,
    a_page_of_a_hundred_thousand_users_is_answered,
    a_signed_out_user_is_offline_and_keeps_last_seen,
    signing_out_never_moves_a_record_forward,
    signing_out_makes_no_record,
    sign_out_says_whether_there_was_a_record,
    forget_says_whether_there_was_a_record,
    restore_writes_only_what_is_absent,
    restore_takes_a_hundred_thousand_records,
    a_restored_record_lives_for_the_rest_of_its_time,
    a_time_far_ahead_is_not_believed,
    a_time_that_cannot_be_written_is_refused,
    names_in_any_script_work,
    inspect_shows_the_record_as_it_is_stored,
    inspect_tells_of_reads_and_writes,
    a_long_memory_works,
];

/// Now, in whole seconds as the record keeps them.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap()
}

fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

/// The time that a record has to live. memcached tells by its meta commands alone.
#[track_caller]
fn expires_in(subject: &Subject, info: Result<last_seen::RecordInfo>) -> Option<std::time::Duration> {
    let left = info.unwrap().stored.unwrap().expires_in;
    let told = cfg!(feature = "meta") || subject.settings.servers() == ["memory:"];
    assert_eq!(left.is_some(), told, "{left:?}");
    left
}

fn a_user_who_is_seen_is_online(subject: &Subject) {
    let tracker = subject.tracker();
    let before = now();
    tracker.seen("alice").unwrap();
    let seen = tracker.last_seen("alice").unwrap().unwrap();
    assert!((before..=now()).contains(&seen));
    assert!(tracker.online("alice").unwrap());
    let presence = tracker.presence("alice").unwrap();
    assert_eq!((presence.last_seen, presence.online), (Some(seen), true));
}

fn a_user_never_seen_has_no_record(subject: &Subject) {
    let tracker = subject.tracker();
    assert_eq!(tracker.last_seen("nobody").unwrap(), None);
    assert!(!tracker.online("nobody").unwrap());
    assert_eq!(tracker.presence("nobody").unwrap(), Presence::default());
}

fn a_record_expires(subject: &Subject) {
    let tracker = subject
        .tracker_with(|settings| settings.with_online_timeout(secs(1)).with_last_seen_timeout(secs(1)));
    tracker.seen("alice").unwrap();
    eventually(|| tracker.last_seen("alice").unwrap().is_none().then_some(()));
    assert!(!tracker.forget("alice").unwrap());
}

fn the_window_is_three_hundred_seconds(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.seen_at("in", ago(299)).unwrap();
    tracker.seen_at("out", ago(302)).unwrap();
    assert!(tracker.online("in").unwrap());
    assert!(!tracker.online("out").unwrap());
    assert!(tracker.last_seen("out").unwrap().is_some());
}

fn a_time_is_kept_to_the_second(subject: &Subject) {
    let tracker = subject.tracker();
    let at = ago(4_000);
    tracker.seen_at("alice", at + TimeDelta::milliseconds(999)).unwrap();
    assert_eq!(tracker.last_seen("alice").unwrap(), Some(at));
    tracker.seen_at("alice", at - TimeDelta::days(3)).unwrap();
    assert_eq!(tracker.last_seen("alice").unwrap(), Some(at - TimeDelta::days(3)));
}

fn a_page_of_users_is_answered_in_order(subject: &Subject) {
    let tracker = subject.tracker();
    assert!(tracker.presences(&[]).is_empty());
    tracker.seen_at("alice", ago(10)).unwrap();
    tracker.seen_at("bob", ago(1_000)).unwrap();

    let [alice] = &tracker.presences(&["alice"])[..] else { panic!() };
    assert!(alice.as_ref().unwrap().online);

    let page = tracker.presences(&["bob", "no body", "alice", "carol", "bob", ""]);
    let shown: Vec<_> =
        page.iter().map(|one| one.as_ref().ok().map(|one| (one.last_seen.is_some(), one.online))).collect();
    let (bob, alice, carol) = (Some((true, false)), Some((true, true)), Some((false, false)));
    assert_eq!(shown, [bob, None, alice, carol, bob, None]);

    let users: Vec<String> = (0..500).map(|n| format!("user{n}")).collect();
    for (n, user) in users.iter().enumerate().filter(|(n, _)| n % 7 == 0) {
        tracker.seen_at(user, ago(n as i64)).unwrap();
    }
    let page = tracker.presences(&users.iter().map(String::as_str).collect::<Vec<_>>());
    for (n, presence) in page.into_iter().enumerate() {
        let (seen, online) = (n % 7 == 0, n % 7 == 0 && n <= 300);
        let presence = presence.unwrap();
        // A second may pass on the way.
        assert!((presence.last_seen.is_some(), presence.online) == (seen, online) || n == 294, "user {n}");
    }
}

fn a_page_of_a_hundred_thousand_users_is_answered(subject: &Subject) {
    // A busy machine takes its time for a thousand of them.
    let tracker = subject.tracker_with(|settings| settings.with_server_timeout(secs(5)));
    let users: Vec<String> = (0..100_000).map(|n| format!("user{n}")).collect();
    let seen = [0, 999, 1_000, 54_321, 99_999];
    for n in seen {
        tracker.seen(&users[n]).unwrap();
    }
    let page = tracker.presences(&users.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(page.len(), users.len());
    for (n, presence) in page.into_iter().enumerate() {
        assert_eq!(presence.unwrap().online, seen.contains(&n), "user {n}");
    }
}

fn a_signed_out_user_is_offline_and_keeps_last_seen(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.seen("alice").unwrap();
    tracker.sign_out("alice").unwrap();
    let presence = tracker.presence("alice").unwrap();
    assert!(!presence.online);
    let seen = presence.last_seen.unwrap();
    assert!((ago(307)..=ago(305)).contains(&seen), "{seen}");
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
}

fn signing_out_never_moves_a_record_forward(subject: &Subject) {
    let tracker = subject.tracker();
    let at = ago(3 * 86_400);
    tracker.seen_at("alice", at).unwrap();
    tracker.sign_out("alice").unwrap();
    assert_eq!(tracker.last_seen("alice").unwrap(), Some(at));
}

fn signing_out_makes_no_record(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.sign_out("nobody").unwrap();
    assert_eq!(tracker.last_seen("nobody").unwrap(), None);
}

fn sign_out_says_whether_there_was_a_record(subject: &Subject) {
    let tracker = subject.tracker();
    assert!(!tracker.sign_out("alice").unwrap());
    tracker.seen("alice").unwrap();
    assert!(tracker.sign_out("alice").unwrap());
    // There is still one, of a user who is offline already.
    assert!(tracker.sign_out("alice").unwrap());
}

fn forget_says_whether_there_was_a_record(subject: &Subject) {
    let tracker = subject.tracker();
    assert!(!tracker.forget("alice").unwrap());
    tracker.seen("alice").unwrap();
    assert!(tracker.forget("alice").unwrap());
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
    assert!(!tracker.forget("alice").unwrap());
}

fn restore_writes_only_what_is_absent(subject: &Subject) {
    let tracker = subject.tracker();
    let here = ago(10);
    tracker.seen_at("here", here).unwrap();
    let records = [
        ("here".to_owned(), ago(500)),
        ("gone".to_owned(), ago(500)),
        ("expired".to_owned(), ago(604_800)),
        ("long ago".to_owned(), ago(5)),
        ("older".to_owned(), DateTime::<Utc>::MIN_UTC),
        ("never".to_owned(), DateTime::<Utc>::MAX_UTC),
    ];
    let restored = tracker.restore(&records);
    assert_eq!((restored.written, restored.skipped, restored.failed), (1, 2, 3));
    assert_eq!(tracker.last_seen("here").unwrap(), Some(here));
    assert_eq!(tracker.last_seen("gone").unwrap(), Some(records[1].1));
    assert_eq!(tracker.last_seen("expired").unwrap(), None);
}

fn restore_takes_a_hundred_thousand_records(subject: &Subject) {
    // A busy machine takes its time for a thousand of them.
    let tracker = subject.tracker_with(|settings| settings.with_server_timeout(secs(5)));
    let at = ago(60);
    let records: Vec<_> = (0..100_000).map(|n| (format!("user{n}"), at - TimeDelta::seconds(n))).collect();
    let restored = tracker.restore(&records);
    assert_eq!((restored.written, restored.skipped, restored.failed), (100_000, 0, 0));
    for n in [0, 999, 1_000, 54_321, 99_999] {
        let (user, at) = &records[n];
        assert_eq!(tracker.last_seen(user).unwrap(), Some(*at));
    }
}

fn a_restored_record_lives_for_the_rest_of_its_time(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.restore(&[("alice".to_owned(), ago(604_800 - 1_000))]);
    let Some(left) = expires_in(subject, tracker.inspect("alice")) else { return };
    assert!((secs(990)..=secs(1_000)).contains(&left), "{left:?}");
}

fn a_time_far_ahead_is_not_believed(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.seen_at("near", ago(-299)).unwrap();
    assert!(tracker.online("near").unwrap());
    tracker.seen_at("far", ago(-302)).unwrap();
    let error = tracker.presence("far").unwrap_err();
    assert!(matches!(error, last_seen::Error::InvalidRecord { .. }), "{error:?}");
    tracker.sign_out("far").unwrap();
    assert!(!tracker.online("far").unwrap());
}

fn a_time_that_cannot_be_written_is_refused(subject: &Subject) {
    let tracker = subject.tracker();
    for at in ["1969-12-31T23:59:59Z", "+10000-01-01T00:00:00Z"] {
        let error = tracker.seen_at("alice", at.parse().unwrap()).unwrap_err();
        assert!(matches!(error, last_seen::Error::InvalidTime { .. }), "{error:?}");
    }
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
}

fn inspect_tells_of_reads_and_writes(subject: &Subject) {
    let tracker = subject.tracker();
    tracker.seen("alice").unwrap();
    let new = tracker.inspect("alice").unwrap().stored.unwrap();
    // A second may pass on the way, and memcached counts in whole ones.
    assert!(new.idle_for.is_none_or(|idle| idle <= secs(5)), "{new:?}");
    let told = cfg!(feature = "meta") && subject.settings.servers() != ["memory:"];
    assert_eq!((new.idle_for.is_some(), new.was_read), (told, told.then_some(false)), "{new:?}");
    tracker.last_seen("alice").unwrap();
    let read = tracker.inspect("alice").unwrap().stored.unwrap();
    assert_eq!(read.was_read, told.then_some(true));
}

fn names_in_any_script_work(subject: &Subject) {
    let tracker = subject.tracker();
    for user in ["josé", "張偉", "🦀", "a%20b", "\u{a0}", "\u{2028}"] {
        tracker.seen(user).unwrap();
        assert!(tracker.online(user).unwrap(), "{user:?}");
    }
}

fn inspect_shows_the_record_as_it_is_stored(subject: &Subject) {
    let tracker = subject.tracker();
    let nobody = tracker.inspect("nobody").unwrap();
    assert_eq!(nobody.key, "seen_nobody");
    assert!(nobody.stored.is_none());

    let at = ago(70);
    tracker.seen_at("alice", at).unwrap();
    let alice = tracker.inspect("alice").unwrap();
    assert_eq!(alice.server, subject.settings.servers()[0]);
    let stored = alice.stored.unwrap();
    assert_eq!(stored.flags, 0);
    assert_eq!(stored.bytes, at.timestamp().to_string().into_bytes());
    if let Some(left) = expires_in(subject, tracker.inspect("alice")) {
        assert!((secs(604_790)..=secs(604_800)).contains(&left));
    }
    assert_eq!(stored.last_seen.unwrap(), at);
}

fn a_long_memory_works(subject: &Subject) {
    let year = secs(365 * 86_400);
    let tracker = subject.tracker_with(|settings| settings.with_last_seen_timeout(year));
    tracker.seen("alice").unwrap();
    let Some(left) = expires_in(subject, tracker.inspect("alice")) else { return };
    assert!((year - secs(10)..=year + secs(2)).contains(&left), "{left:?}");
}
