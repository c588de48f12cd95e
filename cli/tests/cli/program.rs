//! Runs the program.

use std::process::{Command, Output, Stdio};

use last_seen_tests::Memcached;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_last-seen");

/// The program in an environment of its own, on this server.
pub fn command(program: &str, servers: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAST_SEEN_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("NO_COLOR")
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    // Slow machines run the tests too.
    command.env("LAST_SEEN_SERVERS", servers).env("LAST_SEEN_SERVER_TIMEOUT", "5s");
    command
}

/// What it said, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        Self { code: output.status.code(), out, err }
    }
}

impl Said {
    /// One sentence on the standard error, and the exit code.
    #[track_caller]
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        let sentence = self.err.strip_prefix("last-seen: ").and_then(|said| said.strip_suffix('\n'));
        let sentence = sentence.unwrap_or_else(|| panic!("{self:?}"));
        assert!(!sentence.contains('\n') && !sentence.contains("panicked"), "{sentence}");
        sentence.to_owned()
    }

    /// Lines of words, without a complaint and with the exit code.
    #[track_caller]
    pub fn lines(self, code: i32) -> Vec<String> {
        assert_eq!((self.code, self.err.as_str()), (Some(code), ""), "{}", self.out);
        self.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[track_caller]
    pub fn json(self, code: i32) -> Vec<serde_json::Value> {
        assert_eq!((self.code, self.err.as_str()), (Some(code), ""), "{}", self.out);
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn on(servers: &str, arguments: &[&str]) -> Said {
    command(PROGRAM, servers).args(arguments).output().unwrap().into()
}

pub fn run(memcached: &Memcached, arguments: &[&str]) -> Said {
    on(&memcached.address(), arguments)
}

/// A line of a shell, in which `last-seen` is the program.
pub fn shell(memcached: &Memcached, line: &str) -> Said {
    shell_on(&memcached.address(), line)
}

pub fn shell_on(servers: &str, line: &str) -> Said {
    let mut command = command("sh", servers);
    command.env("PATH", path());
    command.args(["-c", line]).output().unwrap().into()
}

/// Where a shell finds the program first.
pub fn path() -> std::ffi::OsString {
    let folder = std::path::Path::new(PROGRAM).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

/// Stores a user as another program would that saw it so many seconds ago, and gives the time.
#[track_caller]
pub fn store(memcached: &Memcached, user: &str, seconds_ago: i64) -> String {
    let at = chrono::Utc::now() - chrono::TimeDelta::seconds(seconds_ago);
    memcached.set(&format!("seen_{user}"), 0, at.timestamp().to_string().as_bytes());
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
