//! A program of another language: started once, asked line by line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A first answer waits for a compiler or a virtual machine to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// This folder.
pub fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

/// Where `install` put the Python environments and the Node modules.
pub fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("LAST_SEEN_INTEROP_CACHE") {
        return folder.into();
    }
    let home = || Path::new(&std::env::var_os("HOME").expect("HOME is not set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("last-seen-interop")
}

pub fn everything_is_installed() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let commands = ["memcached", "php", "ruby", "perl", "node", "go", "java", "javac", "nc", "dpkg-query"];
    let mut missing: Vec<String> = commands
        .into_iter()
        .filter(|command| !std::env::split_paths(&path).any(|folder| folder.join(command).is_file()))
        .map(str::to_owned)
        .collect();
    let files = [
        "django52/bin/gunicorn",
        "django42/bin/gunicorn",
        "django32/bin/gunicorn",
        "node/node_modules/memjs",
    ];
    let files = files.into_iter().map(|file| cache().join(file));
    missing.extend(files.filter(|file| !file.exists()).map(|file| file.display().to_string()));
    assert!(missing.is_empty(), "missing: {}; run tests/interop/install", missing.join(", "));
}

/// What a command prints, which must succeed.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| cannot_start(command, &error));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[track_caller]
fn cannot_start(command: &Command, error: &io::Error) -> ! {
    panic!("{} cannot be started ({error}): run tests/interop/install", command.get_program().display())
}

/// A file or folder of the test's own, gone at its end.
pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new(name: &str) -> Self {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let nth = NTH.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("last-seen-interop-{}-{nth}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.0.is_dir() {
            let _ = std::fs::remove_dir_all(&self.0);
        } else {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// A running program, ended by its handle.
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
    errors: Temporary,
}

impl Program {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let errors = Temporary::new("stderr");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors.0).unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| cannot_start(command, &error));
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Self { input: child.stdin.take(), child, answers, errors }
    }

    /// The program's answer to one command.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        let mut input = self.input.as_ref().unwrap();
        if writeln!(input, "{command}").and_then(|()| input.flush()).is_err() {
            panic!("the program ended before {command:?}: {}", self.errors());
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer to {command:?} ({error}): {}", self.errors()),
        }
    }

    /// Asks a command that answers with nothing but success.
    #[track_caller]
    pub fn tell(&mut self, command: &str) {
        assert_eq!(self.ask(command), "ok", "{command}: {}", self.errors());
    }

    /// What the program wrote to its standard error.
    pub fn errors(&self) -> String {
        let text = std::fs::read(&self.errors.0).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// A line that the program writes to its standard error, as soon as it is there.
    #[track_caller]
    pub fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.errors().lines().find_map(&find) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            let waits = ended.is_none() && Instant::now() < deadline;
            assert!(waits, "the program did not start ({ended:?}): {}", self.errors());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // At the end of its input a program ends itself; a server waits to be told, and tells its workers.
        self.input = None;
        if !self.ends_within(Duration::from_millis(500)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            if !self.ends_within(Duration::from_secs(5)) {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }
}
