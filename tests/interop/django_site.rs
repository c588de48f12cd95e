//! The post's own Django site, run by a real server, unchanged: what it shows of the users that Rust saw, and
//! what Rust knows of the users that it saw.

use std::{process::Command, time::Duration};

use chrono::TimeDelta;
use last_seen::{Settings, Tracker};
use last_seen_tests::{
    Memcached,
    http::{Browser, between},
};

use crate::{
    program::{Program, Temporary, cache, here, output},
    records::{at_age, now},
    report::Row,
};

const PASSWORD: &str = "correct horse & battery";

pub struct Site {
    django: &'static str,
    backend: &'static str,
    time_zone: &'static str,
    /// Django's `KEY_PREFIX` and `VERSION`.
    prefix: (&'static str, u32),
}

pub fn all() -> Vec<Site> {
    let site = |django, backend, time_zone, prefix| Site { django, backend, time_zone, prefix };
    vec![
        site("5.2", "PyMemcacheCache", "Europe/Berlin", ("", 1)),
        site("5.2", "PyLibMCCache", "America/Chicago", ("site", 2)),
        site("3.2", "PyMemcacheCache", "Asia/Kolkata", ("", 1)),
        site("3.2", "PyLibMCCache", "UTC", ("", 1)),
        site("3.2", "MemcachedCache", "Europe/Berlin", ("", 1)),
    ]
}

impl Site {
    pub fn name(&self) -> String {
        format!("Django {} site, {}", self.django, self.backend)
    }

    fn command(&self, program: &str, memcached: &Memcached, database: &Temporary) -> Command {
        let environment = cache().join(format!("django{}", self.django.replace('.', "")));
        let mut command = Command::new(environment.join("bin").join(program));
        command.current_dir(here().join("django_site"));
        command.env("MEMCACHE_SERVERS", memcached.address()).env("DATABASE", &database.0);
        command.env("BACKEND", self.backend).env("TIME_ZONE", self.time_zone).env("PORT", "0");
        command.env("CACHE_KEY_PREFIX", self.prefix.0).env("CACHE_VERSION", self.prefix.1.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// As the site's Rust neighbour is set up: the zone, and the prefix where it is not Django's default.
    fn tracker(&self, memcached: &Memcached) -> Tracker {
        let mut settings = Settings::django(self.time_zone).unwrap().with_servers([memcached.address()]);
        if self.prefix != ("", 1) {
            settings = settings.with_key_prefix(format!("{}:{}:seen_", self.prefix.0, self.prefix.1));
        }
        Tracker::new(settings.with_server_timeout(Duration::from_secs(5))).unwrap()
    }
}

struct Both {
    tracker: Tracker,
    /// Alice's, signed in once.
    browser: Browser,
    /// Of somebody who is not signed in, and so is not seen.
    visitor: Browser,
}

pub fn check(site: &Site, row: &mut Row) {
    let memcached = Memcached::start();
    let database = Temporary::new("sqlite3");
    let mut prepare = site.command("python", &memcached, &database);
    let users = ["alice", "josé", "張偉"].map(|name| format!("{name}:{PASSWORD}"));
    output(prepare.args(["manage.py", "prepare"]).args(users));
    let mut server = Program::start(site.command("gunicorn", &memcached, &database).arg("mysite.wsgi"));
    let address = server.wait_for(|line| Some(between(line, "Listening at: http://", " ")?.to_owned()));
    let version = "import django; print(django.__version__)";
    let version = output(site.command("python", &memcached, &database).args(["-c", version]));
    row.version = format!("{version}, {}", site.time_zone);

    let tracker = site.tracker(&memcached);
    let mut both = Both { tracker, browser: Browser::new(&address), visitor: Browser::new(&address) };
    row.check("signed in", || both.who_signs_in_to_django_is_online_in_rust("alice"));
    row.check("signed in", || both.who_signs_in_to_django_is_online_in_rust("josé"));
    row.check("page", || both.whom_rust_saw_is_online_on_djangos_page());
    row.check("online", || both.agree_on_online());
    row.check("timesince", || both.timesince_reads_right());
    row.check("signed out", || both.who_signed_out_in_rust_is_offline_on_djangos_page());
    row.check("forgotten", || both.who_is_forgotten_in_rust_was_never_seen_by_django());
}

impl Both {
    fn who_signs_in_to_django_is_online_in_rust(&mut self, user: &str) {
        assert_eq!(self.tracker.last_seen(user).unwrap(), None);
        assert_eq!(self.shown(user), ("awhile ago".to_owned(), false));
        let before = now();
        self.sign_in(user);
        assert!(self.tracker.online(user).unwrap());
        let seen = self.tracker.last_seen(user).unwrap().unwrap();
        assert!(before <= seen && seen.timestamp() <= now().timestamp(), "{seen}, after {before}");
        assert_eq!(self.shown(user), ("0 minutes ago".to_owned(), true));
    }

    fn whom_rust_saw_is_online_on_djangos_page(&mut self) {
        assert_eq!(self.shown("張偉"), ("awhile ago".to_owned(), false));
        self.tracker.seen("張偉").unwrap();
        assert_eq!(self.shown("張偉"), ("0 minutes ago".to_owned(), true));
    }

    fn agree_on_online(&mut self) {
        for (age, online) in [(0, true), (299, true), (302, false), (86_400, false)] {
            let answers = at_age(age, |at| {
                self.tracker.seen_at("張偉", at).unwrap();
                [self.shown("張偉").1, self.tracker.online("張偉").unwrap()]
            });
            assert_eq!(answers, [online, online], "{age} s ago");
        }
    }

    fn timesince_reads_right(&mut self) {
        for (ago, text) in [
            (TimeDelta::seconds(70), "1 minute ago"),
            (TimeDelta::seconds(3 * 3600 + 20 * 60 + 30), "3 hours, 20 minutes ago"),
            (TimeDelta::seconds(2 * 86_400 + 5 * 3600 + 60), "2 days, 5 hours ago"),
        ] {
            self.tracker.seen_at("張偉", now() - ago).unwrap();
            assert_eq!(self.shown("張偉").0, text);
        }
    }

    fn who_signed_out_in_rust_is_offline_on_djangos_page(&mut self) {
        self.sign_in("alice");
        assert_eq!(self.shown("alice"), ("0 minutes ago".to_owned(), true));
        self.tracker.sign_out("alice").unwrap();
        assert_eq!(self.shown("alice"), ("5 minutes ago".to_owned(), false));
        assert!(!self.tracker.online("alice").unwrap());

        // With her next request she is back.
        assert!(self.browser.get("/").body.contains("Signed in as alice"));
        assert!(self.tracker.online("alice").unwrap());
        assert!(self.shown("alice").1);

        // Signing out of Django ends the session; the record then goes by Rust.
        assert_eq!(self.browser.post("/", "/logout/", &[]).status, 302);
        self.tracker.sign_out("alice").unwrap();
        assert!(!self.browser.get("/").body.contains("Signed in as"));
        assert_eq!(self.shown("alice"), ("5 minutes ago".to_owned(), false));

        // Last seen long before: that is kept.
        self.tracker.seen_at("alice", now() - TimeDelta::seconds(2 * 3600 + 30)).unwrap();
        self.tracker.sign_out("alice").unwrap();
        assert_eq!(self.shown("alice"), ("2 hours ago".to_owned(), false));
    }

    fn who_is_forgotten_in_rust_was_never_seen_by_django(&mut self) {
        self.sign_in("alice");
        assert!(self.tracker.forget("alice").unwrap());
        assert_eq!(self.shown("alice"), ("awhile ago".to_owned(), false));
        assert!(!self.tracker.forget("alice").unwrap());
    }

    #[track_caller]
    fn sign_in(&mut self, user: &str) {
        let page = self.browser.post("/login/", "/login/", &[("username", user), ("password", PASSWORD)]);
        assert_eq!(page.status, 302, "{}", page.body);
        let page = self.browser.get("/");
        assert!(page.body.contains(&format!("Signed in as {user}")), "{}", page.body);
    }

    /// What Django's page says of a user: when last seen, and whether online.
    #[track_caller]
    fn shown(&mut self, user: &str) -> (String, bool) {
        let page = self.visitor.get("/");
        let part = between(&page.body, &format!("<li id=\"{user}\">"), "</li>");
        let part = part.unwrap_or_else(|| panic!("nothing on {user}: {page:?}"));
        let last_seen = between(part, "<p>Last Seen: ", "</p>").unwrap();
        // Django puts blanks there that do not break.
        let last_seen = last_seen.replace("&nbsp;", " ").replace('\u{a0}', " ");
        match between(part, "<p>Online: ", "</p>") {
            Some("True") => (last_seen, true),
            Some("False") => (last_seen, false),
            other => panic!("online: {other:?}"),
        }
    }
}
