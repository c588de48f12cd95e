//! Through a terminal: that of `script`, which util-linux brings.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
};

use last_seen_tests::{Memcached, eventually, ms};

use crate::program::{self, PROGRAM, Said, store};

/// The program on a terminal of its own; what it types there is in `screen`.
struct Terminal {
    child: Child,
    screen: std::path::PathBuf,
}

impl Terminal {
    fn start(memcached: &Memcached, name: &str, arguments: &str, variables: &[(&str, &str)]) -> Self {
        let screen = std::env::temp_dir().join(format!("last-seen-{}-{name}", std::process::id()));
        let mut command: Command = program::command("script", &memcached.address());
        command.args(["--quiet", "--return", "--flush", "--command", &format!("{PROGRAM} {arguments}")]);
        command.arg(&screen).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), screen }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.screen).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    fn waits_for(&self, what: impl Fn(&str) -> bool) {
        eventually(|| what(&self.screen()).then_some(()));
    }

    fn press(&mut self, key: u8) {
        self.child.stdin.as_mut().unwrap().write_all(&[key]).unwrap();
    }

    #[track_caller]
    fn ends(&mut self) -> Said {
        let code = eventually(|| self.child.try_wait().unwrap()).code();
        let screen = self.screen();
        // The first and the last line are those of `script`.
        let lines: Vec<&str> = screen.lines().filter(|line| !line.starts_with("Script ")).collect();
        Said { code, out: lines.join("\n"), err: String::new() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.screen);
    }
}

#[test]
fn colours_are_for_terminals() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let shows = |name: &str, arguments: &str, variables: &[(&str, &str)]| {
        Terminal::start(&memcached, name, arguments, variables).ends()
    };
    let said = shows("colour", "show alice bob", &[]);
    assert!(said.out.contains("\x1b[32myes\x1b[0m") && said.out.contains("\x1b[2mno\x1b[0m"), "{said:?}");
    assert_eq!(said.code, Some(0));
    for (name, variable) in [("no-color", ("NO_COLOR", "1")), ("dumb", ("TERM", "dumb"))] {
        let said = shows(name, "show alice bob", &[variable]);
        assert!(said.out.contains("  yes") && !said.out.contains('\x1b'), "{said:?}");
    }
    let said = shows("json", "show alice --json", &[]);
    assert!(said.out.contains(r#""status":"online""#) && !said.out.contains('\x1b'), "{said:?}");
    let said = program::run(&memcached, &["show", "alice"]);
    assert!(!said.out.contains('\x1b'), "{said:?}");
}

#[test]
fn a_mistake_on_a_terminal_is_one_sentence() {
    let memcached = Memcached::start();
    let said = Terminal::start(&memcached, "mistake", "who --zzz", &[]).ends();
    assert_eq!(said.code, Some(2));
    assert_eq!(said.out.trim_end(), "last-seen: unexpected argument '--zzz' found; see last-seen --help");
}

#[test]
fn ctrl_c_ends_a_watch_whose_table_was_live() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let mut terminal = Terminal::start(&memcached, "watch", "watch", &[("NO_COLOR", "1")]);
    terminal.waits_for(|screen| screen.contains("1 user is online"));
    store(&memcached, "bob", 0);
    terminal.waits_for(|screen| screen.contains("2 users are online"));
    program::run(&memcached, &["signed-out", "alice"]).lines(0);
    // The table stands where it stood: three lines, then up by as many, and so on.
    let table =
        |screen: &str| screen.rsplit("\x1b[J").find(|frame| frame.contains("online")).map(str::to_owned);
    terminal.waits_for(|screen| table(screen).is_some_and(|table| table.contains("5 minutes ago  no")));
    let last = table(&terminal.screen()).unwrap();
    assert!(last.starts_with("\r\x1b[4A") && last.contains("1 user is online"), "{last:?}");
    terminal.press(0x03);
    assert_eq!(terminal.ends().code, Some(130));
}

#[test]
fn a_table_has_no_more_lines_than_the_terminal() {
    let memcached = Memcached::start();
    for user in 0..100 {
        store(&memcached, &format!("user{user}-{}", "x".repeat(200)), 10);
    }
    let mut terminal = Terminal::start(&memcached, "many", "watch", &[("NO_COLOR", "1")]);
    terminal.waits_for(|screen| screen.contains("100 users are online, 21 users of 100 are shown"));
    let screen = terminal.screen();
    let long = screen.lines().filter(|line| !line.contains("Script")).map(str::trim_end);
    let long = long.filter(|line| line.replace("\x1b[K", "").trim_start_matches('\r').len() > 80).count();
    assert_eq!(long, 0, "{screen}");
    terminal.press(0x03);
    assert_eq!(terminal.ends().code, Some(130));
}

#[test]
fn a_listing_that_takes_long_shows_that_it_goes_on() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    memcached.suspend();
    let mut terminal = Terminal::start(&memcached, "slow", "who", &[]);
    terminal.waits_for(|screen| screen.contains("listing what 127.0.0.1:"));
    std::thread::sleep(ms(50));
    memcached.resume();
    let said = terminal.ends();
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(said.out.trim_end().ends_with("1 user is online"), "{}", said.out);
}
