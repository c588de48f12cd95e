//! On a terminal of a test's own: what a person sees, and which keys do what.

use std::{
    io::{Read, Write},
    num::NonZeroU16,
    os::unix::process::ExitStatusExt,
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use last_seen_tests::{Memcached, eventually};
use pty_process::{Size, blocking as pty};

use crate::program::{PROGRAM, path, run, store};

/// A program on a terminal, and the screen that its bytes make.
pub struct Terminal {
    child: Child,
    pty: Arc<pty::Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was written.
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
}

impl Terminal {
    /// The program itself, on so many columns and lines.
    #[track_caller]
    pub fn start(servers: &str, arguments: &[&str], size: (u16, u16), variables: &[(&str, &str)]) -> Self {
        Self::run(PROGRAM, servers, arguments, size, variables)
    }

    #[track_caller]
    pub fn run(
        program: &str,
        servers: &str,
        arguments: &[&str],
        (columns, lines): (u16, u16),
        variables: &[(&str, &str)],
    ) -> Self {
        let (pty, pts) = pty::open().unwrap();
        pty.resize(Size::new(lines, columns)).unwrap();
        let command = pty::Command::new(program).args(arguments).env_clear().env("PATH", path());
        let command = command.env("TERM", "xterm-256color").env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        let command = command.env("LAST_SEEN_SERVERS", servers).env("LAST_SEEN_SERVER_TIMEOUT", "5s");
        let child = command.envs(variables.iter().copied()).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(lines), some(columns), 0)));
        let (bytes, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let reader = (pty.clone(), screen.clone(), bytes.clone(), ended.clone());
        std::thread::spawn(move || {
            let (pty, screen, bytes, ended) = reader;
            let mut buffer = [0; 65_536];
            // Linux ends a terminal that nobody holds any more with an error.
            while let Ok(count @ 1..) = (&*pty).read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..count]);
                bytes.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
            ended.store(true, Ordering::SeqCst);
        });
        Self { child, pty, screen, bytes, ended }
    }

    /// The lines that are not empty, each without the blanks at its end.
    pub fn lines(&self) -> Vec<String> {
        let contents = self.screen.lock().unwrap().screen().contents();
        contents.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn waits_for(&self, what: impl Fn(&str) -> bool) -> String {
        let deadline = std::time::Instant::now() + last_seen_tests::secs(20);
        loop {
            let text = self.text();
            if what(&text) {
                return text;
            }
            assert!(std::time::Instant::now() < deadline, "still not so:\n{text}");
            std::thread::sleep(last_seen_tests::ms(5));
        }
    }

    #[track_caller]
    pub fn shows(&self, words: &str) -> String {
        self.waits_for(|text| text.contains(words))
    }

    #[track_caller]
    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    pub fn resize(&self, columns: u16, lines: u16) {
        // What is drawn for the new size comes after that.
        self.screen.lock().unwrap().screen_mut().set_size(some(lines), some(columns));
        self.pty.resize(Size::new(lines, columns)).unwrap();
    }

    pub fn signal(&self, signal: &str) {
        kill(&self.child.id().to_string(), signal);
    }

    /// The exit code as a shell has it, when everything that was written is on the screen.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let status = eventually(|| self.child.try_wait().unwrap());
        eventually(|| self.ended.load(Ordering::SeqCst).then_some(()));
        status.code().or_else(|| Some(128 + status.signal()?)).unwrap()
    }

    /// Whether the terminal is as a shell wants it.
    pub fn is_given_back(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
    }
}

fn kill(id: &str, signal: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), id]).status();
    assert!(status.unwrap().success());
}

fn some(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SIZE: (u16, u16) = (80, 24);

#[test]
fn colours_are_for_terminals() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let shows = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut terminal = Terminal::start(&memcached.address(), arguments, SIZE, variables);
        assert_eq!(terminal.ends(), 0);
        String::from_utf8(terminal.bytes()).unwrap()
    };
    let show = ["show", "alice", "bob"];
    let said = shows(&show, &[]);
    assert!(said.contains("\x1b[32m● online\x1b[0m") && said.contains("\x1b[2m○ offline\x1b[0m"), "{said:?}");
    let never = &["show", "alice", "bob", "--color", "never"][..];
    for (arguments, variable) in
        [(&show[..], ("NO_COLOR", "1")), (&show[..], ("TERM", "dumb")), (never, ("NO_COLOR", ""))]
    {
        let said = shows(arguments, &[variable]);
        assert!(said.contains("● online") && !said.contains('\x1b'), "{said:?}");
    }
    let said = shows(&["show", "alice", "--json"], &[]);
    assert!(said.contains(r#""status":"online""#) && !said.contains('\x1b'), "{said:?}");
    assert!(!run(&memcached, &show).out.contains('\x1b'));
    let said = run(&memcached, &["show", "alice", "--color", "always"]);
    assert!(said.out.contains("\x1b[32monline\x1b[0m"), "{said:?}");
}

#[test]
fn glyphs_are_for_locales_that_have_them() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let long = "a-very-long-user-name-of-somebody@example.com";
    let mut terminal =
        Terminal::start(&memcached.address(), &["show", "alice", "bob", long], (60, 24), &[("LC_ALL", "C")]);
    assert_eq!(terminal.ends(), 0);
    let text = terminal.text();
    assert!(text.is_ascii() && text.contains("* online") && text.contains("- offline"), "{text}");
    assert!(text.contains("a-very-long-...@example.com"), "{text}");
}

#[test]
fn times_are_local_or_in_utc() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 2 * 86_400);
    let day = |arguments: &[&str]| {
        let mut terminal = Terminal::start(&memcached.address(), arguments, SIZE, &[("TZ", "LINT-14")]);
        assert_eq!(terminal.ends(), 1);
        terminal.lines()[1].split_whitespace().skip(5).collect::<Vec<_>>().join(" ")
    };
    let at = chrono::Utc::now() - chrono::TimeDelta::days(2);
    let minute = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    let ahead = |by: i64| {
        [at, at - chrono::TimeDelta::minutes(1)].map(|at| minute(at + chrono::TimeDelta::hours(by)))
    };
    let shown = day(&["show", "alice"]);
    assert!(ahead(14).contains(&shown), "{shown}");
    let shown = day(&["show", "alice", "--utc"]);
    assert!(ahead(0).contains(&shown), "{shown}");
}

#[test]
fn a_mistake_on_a_terminal_is_one_sentence() {
    let mut terminal = Terminal::start("127.0.0.1:1", &["who", "--zzz"], SIZE, &[]);
    assert_eq!(terminal.ends(), 64);
    assert_eq!(terminal.text(), "last-seen: unexpected argument '--zzz' found; see last-seen --help");
}

#[test]
fn forget_asks_first() {
    let memcached = Memcached::start();
    for (answer, code, told) in
        [("n\r", 1, "nothing was deleted"), ("\r", 1, "nothing"), ("y\r", 0, "deleted")]
    {
        store(&memcached, "alice", 10);
        let mut terminal = Terminal::start(&memcached.address(), &["forget", "alice", "bob"], SIZE, &[]);
        terminal.shows("Delete the last-seen records of 2 users on 127.0.0.1:");
        terminal.press(answer);
        assert_eq!(terminal.ends(), code);
        assert!(terminal.text().contains(told), "{}", terminal.text());
        assert_eq!(run(&memcached, &["show", "alice"]).code, Some(i32::from(code == 0)));
    }
    let mut terminal = Terminal::start(&memcached.address(), &["forget", "-f", "bob"], SIZE, &[]);
    assert_eq!((terminal.ends(), terminal.text().as_str()), (1, "bob  no record"));
}

#[test]
fn a_listing_that_takes_long_shows_that_it_goes_on() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    memcached.suspend();
    let mut terminal = Terminal::start(&memcached.address(), &["who"], SIZE, &[]);
    terminal.shows("listing keys: 127.0.0.1:");
    memcached.resume();
    assert_eq!(terminal.ends(), 0);
    let text = terminal.text();
    assert!(text.contains("1 online at ") && !text.contains("listing keys"), "{text}");
}

fn watch(memcached: &Memcached, arguments: &[&str]) -> Terminal {
    let arguments: Vec<&str> = [&["watch"], arguments].concat();
    Terminal::start(&memcached.address(), &arguments, SIZE, &[("NO_COLOR", "1")])
}

#[test]
fn every_way_out_of_a_watch_gives_the_terminal_back_and_leaves_one_line() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    type Out = fn(&Terminal);
    let ways: [(Out, i32); 7] = [
        (|terminal| terminal.press("q"), 0),
        (|terminal| terminal.press("\x1b"), 0),
        (|terminal| terminal.press("\x03"), 130),
        (|terminal| terminal.signal("INT"), 130),
        (|terminal| terminal.signal("TERM"), 143),
        (|terminal| terminal.signal("HUP"), 129),
        (|terminal| terminal.signal("QUIT"), 131),
    ];
    for (way, code) in ways {
        let mut terminal = watch(&memcached, &[]);
        terminal.shows(" 1 online ");
        assert!(!terminal.is_given_back());
        way(&terminal);
        assert_eq!(terminal.ends(), code);
        assert!(terminal.is_given_back());
        let text = terminal.text();
        assert!(text.starts_with("1 online at ") && text.contains(" (watched for "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn the_terminal_itself_is_as_it_was() {
    let memcached = Memcached::start();
    let script = "stty -a >/tmp/$$; last-seen watch; stty -a | cmp - /tmp/$$ && echo as it was; rm /tmp/$$";
    let mut terminal = Terminal::run("sh", &memcached.address(), &["-c", script], SIZE, &[]);
    terminal.shows(" 0 online ");
    terminal.press("q");
    assert_eq!(terminal.ends(), 0);
    assert!(terminal.text().ends_with("as it was"), "{}", terminal.text());
}

#[test]
fn a_watch_that_is_suspended_gives_the_terminal_back_until_it_goes_on() {
    let memcached = Memcached::start();
    type Stop = fn(&Terminal);
    // A script that waits for it is suspended with it.
    let ways: [(&str, Stop); 2] = [
        ("last-seen watch; exit", |terminal| terminal.press("\x1a")),
        ("echo process $$.; exec last-seen watch", |terminal| {
            let said = String::from_utf8(terminal.bytes()).unwrap();
            let id = said.split_once("process ").and_then(|(_, id)| id.split_once('.')).unwrap().0;
            kill(id, "TSTP");
        }),
    ];
    for (job, stop) in ways {
        let script = format!(
            "before=$(stty -g); set -m; sh -c '{job}'
             [ \"$(stty -g)\" = \"$before\" ] && echo as it was; read go; fg"
        );
        let mut terminal = Terminal::run("sh", &memcached.address(), &["-c", &script], SIZE, &[]);
        terminal.shows(" 0 online ");
        stop(&terminal);
        terminal.shows("as it was");
        assert!(terminal.is_given_back());
        terminal.press("\r");
        terminal.waits_for(|text| text.contains(" 0 online ") && !text.contains("as it was"));
        terminal.press("q");
        assert_eq!(terminal.ends(), 0);
        assert!(terminal.is_given_back());
    }
}

#[test]
fn a_watch_that_nobody_could_make_go_on_is_not_suspended() {
    let memcached = Memcached::start();
    let mut terminal = watch(&memcached, &[]);
    terminal.shows(" 0 online ");
    terminal.signal("TSTP");
    terminal.press("\x1aq");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_watch_follows_who_comes_and_goes() {
    let memcached = Memcached::start();
    let mut terminal = watch(&memcached, &[]);
    terminal.shows("Nobody is online. Waiting for the first request…");
    store(&memcached, "alice", 0);
    terminal.shows("alice");
    store(&memcached, "bob", 0);
    terminal.shows(" 2 online ");
    run(&memcached, &["sign-out", "alice"]).lines(0);
    terminal.waits_for(|text| text.contains(" 1 online ") && text.contains("○ offline  5 min ago"));
    // A key that means nothing is not typed into the table.
    let before = terminal.lines();
    terminal.press("x\r\x1b");
    terminal.waits_for(|text| text.lines().skip(1).eq(before.iter().skip(1).map(String::as_str)));
    terminal.press("q");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn offline_users_leave_after_a_while_unless_they_were_named() {
    let memcached = Memcached::start();
    let user = |name| store(&memcached, name, 0);
    let everyone = watch(&memcached, &["--keep", "1s"]);
    let named = watch(&memcached, &["--keep", "1s", "alice", "nobody"]);
    user("alice");
    user("bob");
    everyone.shows(" 2 online ");
    named.waits_for(|text| text.contains(" 1 online ") && text.contains("nobody"));
    run(&memcached, &["sign-out", "alice"]).lines(0);
    everyone.waits_for(|text| text.contains(" 1 online ") && !text.contains("alice"));
    named.waits_for(|text| text.contains(" 0 online ") && text.contains("alice") && !text.contains("bob"));
}

#[test]
fn keys_scroll_filter_sort_and_pause() {
    let memcached = Memcached::start();
    for nth in 0..60 {
        store(&memcached, &format!("user{nth:02}"), 10 + nth);
    }
    let mut terminal = watch(&memcached, &[]);
    let first =
        |text: &str| text.lines().nth(2).unwrap_or_default().trim_start_matches(['>', ' ']).to_owned();
    let shows_first = |user: &str| terminal.waits_for(|text| first(text).starts_with(user));
    terminal.shows(" 60 online ");
    shows_first("user00");
    terminal.shows("1 to 20 of 60");
    terminal.press("G");
    assert!(terminal.shows("41 to 60 of 60").contains("\n>user59"));
    terminal.press("g");
    terminal.shows("\n>user00");
    terminal.press("\x1b[6~");
    terminal.shows("\n>user20");
    terminal.press("kk");
    terminal.shows("\n>user18");
    terminal.press("s");
    terminal.shows("s sort: user");
    terminal.press("gS");
    shows_first("user59");
    terminal.press("S/R1");
    terminal.waits_for(|text| text.contains("/ R1_") && first(text).starts_with("user10"));
    terminal.press("\r");
    terminal.shows("/ filter: R1 ");
    terminal.press("\x1b");
    terminal.shows("/ filter  s");
    terminal.press("p");
    terminal.shows("paused ");
    store(&memcached, "zoe", 0);
    let text = terminal.shows("p resume, 1 changes");
    assert!(text.contains(" 60 online "), "{text}");
    terminal.press("p");
    terminal.shows(" 61 online ");
    run(&memcached, &["sign-out", "user00"]).lines(0);
    shows_first("user00");
    terminal.press("o");
    shows_first("user01");
    terminal.press("?");
    terminal.shows("inspect the record of the user");
    terminal.press("?\r");
    terminal.shows("key      seen_user01");
    terminal.press("\x1bt");
    terminal.shows(" UTC");
    terminal.press("q");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_watch_is_drawn_anew_when_the_terminal_changes() {
    let memcached = Memcached::start();
    let long = "a-very-long-user-name-of-somebody@example.com";
    store(&memcached, long, 10);
    let terminal = watch(&memcached, &[]);
    terminal.shows(" 1 online ");
    for (columns, words) in
        [(200, long), (40, "a-very-lon…xample.com  ● online"), (20, "● a-v"), (12, "too narrow")]
    {
        terminal.resize(columns, 9);
        let text = terminal.shows(words);
        assert!(
            text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= columns.into()),
            "{text}"
        );
    }
    terminal.resize(80, 24);
    terminal.shows("a-very-long-user-nam…somebody@example.com");
    // What is drawn after it was suspended and goes on.
    terminal.screen.lock().unwrap().process(b"\x1b[2Jrubbish");
    terminal.signal("CONT");
    terminal.waits_for(|text| text.contains("…somebody@example.com") && !text.contains("rubbish"));
}

#[test]
fn a_watch_is_drawn_anew_when_a_terminal_that_gets_lower_has_moved_its_lines() {
    let memcached = Memcached::start();
    for nth in 0..60 {
        store(&memcached, &format!("user{nth:02}"), 10 + nth);
    }
    let terminal = watch(&memcached, &[]);
    terminal.shows("1 to 20 of 60");
    // The last change is in the last line, since the clock stands.
    terminal.press("p");
    terminal.shows("p resume");
    terminal.resize(80, 12);
    terminal.waits_for(|text| {
        let first: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        first.starts_with(&["60", "USER", "user00"]) && first.ends_with(&["user07", "…", "q"])
    });
}

#[test]
fn a_quiet_watch_draws_only_its_clock() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 100);
    let terminal = watch(&memcached, &[]);
    terminal.waits_for(|text| text.contains(" 1 online ") && text.contains("alice"));
    let clock = terminal.lines()[0].clone();
    terminal.waits_for(|text| text.lines().next() != Some(&clock));
    let before = terminal.bytes().len();
    let clock = terminal.lines()[0].clone();
    terminal.waits_for(|text| text.lines().next() != Some(&clock));
    let drawn = String::from_utf8_lossy(&terminal.bytes()[before..]).into_owned();
    assert!(!drawn.contains("\x1b[2J") && !drawn.contains("alice") && drawn.len() < 400, "{drawn:?}");
}
