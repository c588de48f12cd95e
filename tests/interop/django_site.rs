//! The post's own Django site, run by a real server, unchanged, and the same with `timezone.now()`: what it shows of the
//! users that Rust saw, and what Rust knows of the users that it saw.

use std::{process::Command, time::Duration};

use chrono::TimeDelta;
use last_seen::{Format, Settings, Tracker};
use last_seen_tests::http::{Browser, between};

use crate::{
    program::{Program, Temporary, cache, here, output},
    reach::{Reach, Reached},
    records::{at_age, now},
    report::Row,
};

const PASSWORD: &str = "correct horse & battery";

pub struct Site {
    django: &'static str,
    backend: &'static str,
    time_zone: &'static str,
    /// Whether it stores `timezone.now()`.
    aware: bool,
    /// Django's `KEY_PREFIX` and `VERSION`.
    prefix: (&'static str, u32),
    reach: Reach,
}

pub fn all() -> Vec<Site> {
    let site = |django, backend, time_zone, prefix| Site {
        django,
        backend,
        time_zone,
        aware: false,
        prefix,
        reach: Reach::Tcp,
    };
    let aware =
        |django, backend, time_zone, prefix| Site { aware: true, ..site(django, backend, time_zone, prefix) };
    let mut sites = vec![
        site("5.2", "PyMemcacheCache", "Europe/Berlin", ("", 1)),
        site("5.2", "PyLibMCCache", "America/Chicago", ("site", 2)),
        site("3.2", "PyMemcacheCache", "Asia/Kolkata", ("", 1)),
        site("3.2", "PyLibMCCache", "UTC", ("", 1)),
        site("3.2", "MemcachedCache", "Europe/Berlin", ("", 1)),
        aware("5.2", "PyMemcacheCache", "Europe/Berlin", ("", 1)),
        aware("5.2", "PyLibMCCache", "America/Chicago", ("site", 2)),
        aware("4.2", "PyMemcacheCache", "UTC", ("", 1)),
        aware("4.2", "PyLibMCCache", "Asia/Kolkata", ("", 1)),
        aware("3.2", "PyMemcacheCache", "America/Chicago", ("", 1)),
        aware("3.2", "PyLibMCCache", "Europe/Berlin", ("", 1)),
    ];
    // libmemcached speaks neither TLS nor this kind of login.
    for (django, backend, reach) in [
        ("5.2", "PyMemcacheCache", Reach::Twemproxy),
        ("5.2", "PyLibMCCache", Reach::Twemproxy),
        ("5.2", "PyMemcacheCache", Reach::UnixSocket),
        ("3.2", "PyLibMCCache", Reach::UnixSocket),
        ("5.2", "PyMemcacheCache", Reach::Password),
        ("4.2", "PyMemcacheCache", Reach::Tls),
    ] {
        sites.push(Site { reach, ..site(django, backend, "Europe/Berlin", ("", 1)) });
    }
    sites
}

impl Site {
    pub fn name(&self) -> String {
        let aware = if self.aware { "aware " } else { "" };
        format!("Django {} {aware}site, {}{}", self.django, self.backend, self.reach.name())
    }

    fn command(&self, program: &str, reached: &Reached, database: &Temporary) -> Command {
        let environment = cache().join(format!("django{}", self.django.replace('.', "")));
        let mut command = Command::new(environment.join("bin").join(program));
        command.current_dir(here().join("django_site"));
        reached.tell(&mut command);
        command.env("DATABASE", &database.0);
        command.env("BACKEND", self.backend).env("TIME_ZONE", self.time_zone).env("PORT", "0");
        command.env("CACHE_KEY_PREFIX", self.prefix.0).env("CACHE_VERSION", self.prefix.1.to_string());
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("APP", if self.aware { "members_aware" } else { "members" });
        command
    }

    /// As the site's Rust neighbour is set up: the zone, and the prefix where it is not Django's default.
    fn tracker(&self, reached: &Reached) -> Tracker {
        self.tracker_of(reached, if self.aware { Format::DjangoAware } else { Format::Django })
    }

    fn tracker_of(&self, reached: &Reached, format: Format) -> Tracker {
        let mut settings = match format {
            Format::DjangoAware => Settings::django_aware(),
            _ => Settings::django(self.time_zone).unwrap(),
        };
        settings = settings.with_servers([reached.rust()]);
        if self.prefix != ("", 1) {
            settings = settings.with_key_prefix(format!("{}:{}:seen_", self.prefix.0, self.prefix.1));
        }
        Tracker::new(settings.with_server_timeout(Duration::from_secs(5))).unwrap()
    }
}

struct Both {
    address: String,
    tracker: Tracker,
    /// Set up for the other kind of site.
    other: Tracker,
    /// Alice's, signed in once.
    browser: Browser,
    /// Of somebody who is not signed in, and so is not seen.
    visitor: Browser,
}

pub fn check(site: &Site, row: &mut Row) {
    let reached = site.reach.start();
    let database = Temporary::new("sqlite3");
    let mut prepare = site.command("python", &reached, &database);
    let users = ["alice", "josé", "張偉"].map(|name| format!("{name}:{PASSWORD}"));
    output(prepare.args(["manage.py", "prepare"]).args(users));
    let mut server = Program::start(site.command("gunicorn", &reached, &database).arg("mysite.wsgi"));
    let address = server.wait_for(|line| Some(between(line, "Listening at: http://", " ")?.to_owned()));
    let version = "import django; print(django.__version__)";
    let version = output(site.command("python", &reached, &database).args(["-c", version]));
    row.version = format!("{version}, {}", site.time_zone);

    let tracker = site.tracker(&reached);
    let other = site.tracker_of(&reached, if site.aware { Format::Django } else { Format::DjangoAware });
    let mut both =
        Both { browser: Browser::new(&address), visitor: Browser::new(&address), address, tracker, other };
    // Django 3.2 names UTC by pytz.
    let same = !site.aware || site.django != "3.2";
    row.check("signed in", || both.who_signs_in_to_django_is_online_in_rust("alice"));
    row.check("signed in", || both.rust_writes_what_django_writes("alice", same));
    row.check("signed in", || both.who_signs_in_to_django_is_online_in_rust("josé"));
    row.check("page", || both.whom_rust_saw_is_online_on_djangos_page());
    row.check("page", || both.a_name_in_two_spellings_is_one_user_in_django_and_two_in_rust());
    row.check("online", || both.agree_on_online());
    row.check("timesince", || both.timesince_reads_right());
    row.check("signed out", || both.who_signed_out_in_rust_is_offline_on_djangos_page());
    row.check("forgotten", || both.who_is_forgotten_in_rust_was_never_seen_by_django());
    row.check("wrong format", || both.the_wrong_format_is_seen_before_it_hurts());
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

    /// But for the protocol's number: 4, which older Pythons can load too.
    fn rust_writes_what_django_writes(&mut self, user: &str, same: bool) {
        let stored = self.tracker.inspect(user).unwrap().stored.unwrap();
        let written = self.tracker.preview(user, stored.last_seen.unwrap()).unwrap().stored.unwrap();
        assert_eq!((stored.flags, stored.format), (written.flags, written.format));
        let bytes = [&stored.bytes[..1], &[4], &stored.bytes[2..]].concat();
        assert_eq!(bytes == written.bytes, same, "{} {}", bytes.escape_ascii(), written.bytes.escape_ascii());
    }

    fn whom_rust_saw_is_online_on_djangos_page(&mut self) {
        assert_eq!(self.shown("張偉"), ("awhile ago".to_owned(), false));
        self.tracker.seen("張偉").unwrap();
        assert_eq!(self.shown("張偉"), ("0 minutes ago".to_owned(), true));
    }

    /// Django composes what is typed in (NFKC), so that a name has one spelling there. Here it is as it comes.
    fn a_name_in_two_spellings_is_one_user_in_django_and_two_in_rust(&mut self) {
        self.tracker.forget("jos\u{e9}").unwrap();
        self.tracker.seen("jose\u{301}").unwrap();
        assert_eq!(self.shown("jos\u{e9}"), ("awhile ago".to_owned(), false));
        let mut browser = Browser::new(&self.address);
        let form = [("username", "jose\u{301}"), ("password", PASSWORD)];
        assert_eq!(browser.post("/login/", "/login/", &form).status, 302);
        assert!(browser.get("/").body.contains("Signed in as jos\u{e9}"));
        assert!(self.tracker.online("jos\u{e9}").unwrap());
    }

    fn agree_on_online(&mut self) {
        // The page compares microseconds, and two answers may take nearly 2 s.
        for (age, online) in [(0, true), (298, true), (302, false), (86_400, false)] {
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

    /// Of a user that Django wrote, before anything is written here.
    fn the_wrong_format_is_seen_before_it_hurts(&mut self) {
        self.sign_in("alice");
        let stored = self.other.inspect("alice").unwrap().stored.unwrap();
        assert_eq!(stored.format, Some(self.tracker.settings().format()));
        // An aware one is read right in any case; of a naive one this has no zone.
        if stored.format == Some(Format::DjangoAware) {
            assert!(self.other.online("alice").unwrap());
        }

        // What happens to who does not look: a page that Django cannot make, for as long as the record is there.
        self.other.seen("josé").unwrap();
        assert_eq!(self.visitor.get("/").status, 500);
        self.tracker.seen("josé").unwrap();
        assert!(self.shown("josé").1);
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
