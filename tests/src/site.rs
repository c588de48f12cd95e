//! What every web example does, with any framework: one suite, with a site of each.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Instant,
};

use crate::{
    Memcached, eventually,
    http::{Browser, Page, between},
    ms, secs, within, within_once,
};

/// The suite as tests of a module: its name, the program, and whether that records with a `Recorder`.
#[macro_export]
macro_rules! site_tests {
    ($name:ident, $program:expr, records_in_the_background: $background:literal) => {
        mod $name {
            #[allow(unused_imports, reason = "for the program's expression")]
            use super::*;

            #[test]
            fn who_signs_in_is_online() {
                $crate::site::who_signs_in_is_online(&$program.into());
            }

            #[test]
            fn who_signs_out_is_offline_and_polling_does_not_count() {
                $crate::site::who_signs_out_is_offline_and_polling_does_not_count(&$program.into());
            }

            #[test]
            fn a_name_is_shown_as_text() {
                $crate::site::a_name_is_shown_as_text(&$program.into());
            }

            #[test]
            fn a_silent_memcached_is_not_known() {
                $crate::site::a_silent_memcached_is_not_known(&$program.into(), $background);
            }

            #[test]
            fn ctrl_c_ends_it_and_nothing_is_lost() {
                $crate::site::a_signal_ends_it_and_nothing_is_lost(&$program.into(), "INT", $background);
            }

            #[test]
            fn sigterm_ends_it_and_nothing_is_lost() {
                $crate::site::a_signal_ends_it_and_nothing_is_lost(&$program.into(), "TERM", $background);
            }
        }
    };
}

pub fn who_signs_in_is_online(program: &PathBuf) {
    on_both_stores(program, |site| {
        let [mut alice, mut bob] = ["alice", "bob"].map(|name| site.signed_in(name));
        assert_eq!(site.shown("alice"), ("just now".to_owned(), "yes".to_owned()));
        assert_eq!(site.shown("bob"), ("just now".to_owned(), "yes".to_owned()));
        assert!(alice.get("/").body.contains("Signed in as alice."));
        assert!(bob.get("/").body.contains("Signed in as bob."));
        assert!(site.visitor().get("/").body.contains("action=/sign-in"));
        assert_eq!(site.visitor().get("/health").body, "ok");
    });
}

pub fn who_signs_out_is_offline_and_polling_does_not_count(program: &PathBuf) {
    on_both_stores(program, |site| {
        let mut alice = site.signed_in("alice");
        alice.get("/");
        // Another tab of hers that keeps polling, with a cookie from before.
        let mut tab = alice.clone();
        let page = alice.submit("/sign-out", &[]);
        assert_eq!(page.status, 303, "{page:?}");
        assert!(alice.get("/").body.contains("action=/sign-in"));
        // At once, and through the flushes to come.
        let until = Instant::now() + ms(2_500);
        while Instant::now() < until {
            assert_eq!(row(&tab.get("/poll"), "alice"), ("5 minutes ago".to_owned(), "no".to_owned()));
            tab.get("/health");
            std::thread::sleep(ms(20));
        }
        // What does count brings her back.
        tab.get("/");
        eventually(|| (site.shown("alice").1 == "yes").then_some(()));
    });
}

pub fn a_name_is_shown_as_text(program: &PathBuf) {
    on_both_stores(program, |site| {
        let name = r#"<script>alert("ü&1%41;")</script>"#;
        let shown = "&lt;script&gt;alert(&quot;ü&amp;1%41;&quot;)&lt;/script&gt;";
        let page = site.signed_in(name).get("/");
        assert!(page.body.contains(&format!("Signed in as {shown}.")), "{page:?}");
        assert_eq!(row(&page, shown).1, "yes");
        assert!(!page.body.contains("<script>alert"), "{page:?}");

        let page = site.visitor().submit("/sign-in", &[("user", "<b>not a key</b>")]);
        assert_eq!(page.status, 400, "{page:?}");
        assert!(page.head.to_lowercase().contains("content-type: text/plain"), "{page:?}");
        assert!(page.body.contains("cannot be a memcached key"), "{page:?}");
    });
}

pub fn a_silent_memcached_is_not_known(program: &PathBuf, background: bool) {
    let memcached = Memcached::start();
    let site = Site::start(program, &[("LAST_SEEN_SERVERS", &memcached.address())]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| site.signed_in(name));
    memcached.suspend();
    let page = within_once(secs(1), || bob.get("/"));
    let unknown = ("unknown".to_owned(), "unknown".to_owned());
    assert_eq!((page.status, row(&page, "alice"), row(&page, "bob")), (200, unknown.clone(), unknown));
    assert_eq!(within(secs(3), || alice.submit("/sign-out", &[])).status, 303);
    memcached.resume();
    eventually(|| (site.shown("bob").1 == "yes").then_some(()));
    if background {
        // The recorder makes up for the sign-out that did not get through.
        eventually(|| (site.shown("alice").1 == "no").then_some(()));
    }
}

pub fn a_signal_ends_it_and_nothing_is_lost(program: &PathBuf, signal: &str, background: bool) {
    // A browser keeps its connection for the next request.
    a_signal_ends_it_while_open(program, signal, background, |site| site.open("/health", "\r\n\r\nok"));
}

/// Returns what `open` has opened. The signal comes while it is open.
pub fn a_signal_ends_it_while_open<T>(
    program: &PathBuf,
    signal: &str,
    background: bool,
    open: impl FnOnce(&Site) -> T,
) -> T {
    let memcached = Memcached::start();
    let variables = [("LAST_SEEN_SERVERS", &*memcached.address()), ("LAST_SEEN_FLUSH_INTERVAL", "60s")];
    let site = Site::start(program, &variables);
    let mut alice = site.signed_in("alice");
    let opened = open(&site);
    let long_ago = "1700000000";
    memcached.set("seen_alice", 0, long_ago.as_bytes());
    alice.get("/");
    let stored = || memcached.raw("get seen_alice");
    assert_eq!(stored().contains(long_ago), background, "{}", stored());
    let status = site.ended_by(signal);
    assert_eq!(status.success(), background, "{status}");
    assert!(stored().contains("VALUE seen_alice") && !stored().contains(long_ago), "{}", stored());
    opened
}

fn on_both_stores(program: &PathBuf, check: impl Fn(&Site)) {
    check(&Site::start(program, &[]));
    let memcached = Memcached::start();
    check(&Site::start(program, &[("LAST_SEEN_SERVERS", &memcached.address())]));
    assert!(memcached.stat("curr_items") > 0, "the records are in memcached");
}

/// An example that runs, ended by its handle.
pub struct Site {
    child: Child,
    pub address: String,
    /// Kept open: some frameworks say more.
    _said: BufReader<ChildStdout>,
}

impl Site {
    #[track_caller]
    pub fn start(program: &PathBuf, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = between(&line, "listening on http://", "/\n").map(str::to_owned);
        let site = Self { child, address: address.clone().unwrap_or_default(), _said: said };
        assert!(address.is_some(), "{} said {line:?}", program.display());
        site
    }

    pub fn visitor(&self) -> Browser {
        Browser::new(&self.address)
    }

    #[track_caller]
    pub fn signed_in(&self, name: &str) -> Browser {
        let mut browser = self.visitor();
        let page = browser.submit("/sign-in", &[("user", name)]);
        assert_eq!(page.status, 303, "{page:?}");
        assert!(page.head.contains("HttpOnly") && page.head.contains("SameSite=Lax"), "{page:?}");
        browser
    }

    /// What the page says of a user to somebody who is not signed in.
    #[track_caller]
    pub fn shown(&self, user: &str) -> (String, String) {
        row(&self.visitor().get("/"), user)
    }

    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(secs(30))).unwrap();
        stream
    }

    /// Asks for `path`, and leaves the connection open as soon as the answer has `part` in it.
    #[track_caller]
    pub fn open(&self, path: &str, part: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        while !answer.contains(part) {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "no {part:?} in {answer:?}");
            answer += &String::from_utf8_lossy(&piece[..length]);
        }
        stream
    }

    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Returns how it ended: with success if the program did so itself, and not the signal.
    #[track_caller]
    pub fn ended_by(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        eventually(|| self.child.try_wait().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When the user was last seen, and whether the user is online, as the table has it.
#[track_caller]
fn row(page: &Page, user: &str) -> (String, String) {
    let row = between(&page.body, &format!("<tr><td>{user}<td>"), "\n");
    let row = row.unwrap_or_else(|| panic!("nothing on {user}: {page:?}"));
    let (last_seen, online) = row.split_once("<td>").unwrap();
    (last_seen.to_owned(), online.to_owned())
}
