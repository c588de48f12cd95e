//! How a site reaches its memcached: plain TCP, or what large sites and careful ones have.

use std::{net::TcpListener, process::Command};

use last_seen::{Settings, Tracker};
use last_seen_tests::{Certificates, Memcached, Twemproxy, secs};

use crate::{
    program::{Program, here},
    records::{at_age, now},
    report::Row,
};

/// Where no other program takes the port before memcached has it.
const NOT_TLS: &str = "127.0.0.2";

#[derive(Clone, Copy, PartialEq)]
pub enum Reach {
    Tcp,
    Twemproxy,
    UnixSocket,
    /// `memcached -Y`.
    Password,
    /// `memcached -Z`, and without TLS for who is on the same host and cannot speak it.
    Tls,
}

/// Servers that run, and what their clients are to be told.
pub struct Reached {
    servers: Vec<Memcached>,
    proxy: Option<Twemproxy>,
    certificates: Option<Certificates>,
    /// The address for those that speak neither TLS nor logins.
    plain: Option<u16>,
    reach: Reach,
}

impl Reach {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Twemproxy => ", twemproxy",
            Self::UnixSocket => ", Unix socket",
            Self::Password => ", password",
            Self::Tls => ", TLS",
        }
    }

    #[track_caller]
    pub fn start(self) -> Reached {
        let mut reached =
            Reached { servers: Vec::new(), proxy: None, certificates: None, plain: None, reach: self };
        reached.servers = match self {
            Self::Tcp => vec![Memcached::start()],
            Self::Twemproxy => vec![Memcached::start(), Memcached::start()],
            Self::UnixSocket => vec![Memcached::start_on_socket()],
            Self::Password => vec![Memcached::start_with_password("site", "open-sesame", &[])],
            Self::Tls => {
                let port = TcpListener::bind((NOT_TLS, 0)).unwrap().local_addr().unwrap().port();
                reached.plain = Some(port);
                let certificates = reached.certificates.insert(Certificates::create());
                vec![certificates.start_with(&["-l", &format!("notls:{NOT_TLS}:{port}")])]
            }
        };
        if self == Self::Twemproxy {
            reached.proxy = Some(Twemproxy::start(&reached.servers.iter().collect::<Vec<_>>()));
        }
        reached
    }
}

impl Reached {
    /// As this crate's settings name it.
    pub fn rust(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.servers[0].address(), Twemproxy::address)
    }

    /// Tells a Django site where its memcached is.
    pub fn tell(&self, site: &mut Command) {
        let place = self.proxy.as_ref().map_or_else(|| self.servers[0].place(), Twemproxy::address);
        let unix = if self.reach == Reach::UnixSocket { "unix:" } else { "" };
        site.env("MEMCACHE_SERVERS", format!("{unix}{place}"));
        if self.reach == Reach::Password {
            site.env("MEMCACHE_LOGIN", "site open-sesame");
        }
        if let Some(certificates) = &self.certificates {
            site.env("MEMCACHE_CA", certificates.file("ca.pem"));
        }
    }

    /// As PHP's `explode(':', ..)` takes it.
    fn php(&self) -> String {
        match (&self.proxy, self.plain) {
            (Some(proxy), _) => proxy.address(),
            (None, Some(port)) => format!("{NOT_TLS}:{port}"),
            (None, None) if self.reach == Reach::UnixSocket => format!("{}:0", self.servers[0].place()),
            (None, None) => self.servers[0].place(),
        }
    }
}

/// PHP and this crate, each writing and reading.
pub fn check_php(reach: Reach, row: &mut Row) {
    let reached = reach.start();
    let mut php = Command::new("php");
    php.arg(here().join("php/last_seen.php")).env("MEMCACHE_SERVERS", reached.php());
    let mut php = Program::start(&mut php);
    row.version = php.ask("version");
    let settings = Settings::default().with_servers([reached.rust()]).with_server_timeout(secs(5));
    let tracker = Tracker::new(settings).unwrap();
    row.check("seen", || {
        for user in 0..20 {
            let at = now() - chrono::TimeDelta::seconds(user);
            php.tell(&format!("seen php{user} {}", at.timestamp()));
            assert_eq!(tracker.last_seen(format!("php{user}")).unwrap(), Some(at));
            tracker.seen_at(format!("rust{user}"), at).unwrap();
            assert_eq!(php.ask(&format!("last_seen rust{user}")), at.timestamp().to_string());
        }
        // Of two behind a proxy each has its part.
        let used = |server: &Memcached| server.stat("curr_items") > 0;
        assert!(reached.servers.len() == 1 || reached.servers.iter().all(used));
    });
    row.check("online", || {
        for (age, online) in [(0, true), (299, true), (302, false)] {
            let answers = at_age(age, |at| {
                tracker.seen_at("carol", at).unwrap();
                [php.ask("online carol") == "true", tracker.online("carol").unwrap()]
            });
            assert_eq!(answers, [online, online], "{age} s ago");
        }
    });
    row.check("signed out", || {
        for rust in [true, false] {
            php.tell("seen dave");
            assert!(tracker.online("dave").unwrap());
            if rust {
                assert!(tracker.sign_out("dave").unwrap());
            } else {
                php.tell("signed_out dave");
            }
            assert_eq!((php.ask("online dave").as_str(), tracker.online("dave").unwrap()), ("false", false));
            assert!(tracker.last_seen("dave").unwrap().is_some());
        }
    });
    row.check("forgotten", || {
        tracker.seen("erin").unwrap();
        assert_eq!(php.ask("forget erin"), "true");
        assert_eq!(tracker.last_seen("erin").unwrap(), None);
        php.tell("seen erin");
        assert!(tracker.forget("erin").unwrap());
        assert_eq!(php.ask("last_seen erin"), "none");
    });
}
