//! The stacks: how each program is started, and what is special about it.

use std::{path::Path, process::Command};

use crate::program::{Temporary, cache, here, output};

pub struct Stack {
    pub name: &'static str,
    /// A file, or a folder to compile, relative to this one.
    program: &'static str,
    /// What the language writes for a value of its own type, and what this crate makes of it.
    pub typed: &'static [(&'static str, Typed)],
    /// Whether the client takes a name outside ASCII.
    pub any_name: bool,
    /// Whether the client tells a lost memcached from a user without a record.
    pub tells_when_gone: bool,
    start: Start,
    /// What was compiled of it.
    built: Option<Temporary>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Typed {
    /// The time that was written.
    Time,
    /// `Error::InvalidRecord`.
    Refused,
    /// The client itself refuses to write it.
    NotWritten,
}
use Typed::{NotWritten, Refused, Time};

#[derive(Clone, Copy)]
enum Start {
    With(&'static str),
    Python,
    Django { version: &'static str, backend: &'static str },
    Node,
    Go,
    Java,
}

pub fn all() -> Vec<Stack> {
    let stack = |name, program, start| Stack {
        name,
        program,
        typed: &[],
        any_name: true,
        tells_when_gone: true,
        start,
        built: None,
    };
    let django = |name, version, backend| Stack {
        typed: &[("int", Time), ("float", Time), ("datetime", Time)],
        ..stack(name, "django/last_seen.py", Start::Django { version, backend })
    };
    vec![
        Stack {
            typed: &[("int", Time), ("float", Time), ("datetime", Time), ("aware", Time)],
            ..stack("Python, pymemcache", "python/with_pymemcache.py", Start::Python)
        },
        Stack {
            typed: &[("int", Time), ("float", Time), ("str", Time), ("datetime", Time), ("isoformat", Time)],
            ..stack("Python, pylibmc", "python/with_pylibmc.py", Start::Python)
        },
        django("Django 5.2, PyMemcacheCache", "django52", "PyMemcacheCache"),
        django("Django 5.2, PyLibMCCache", "django52", "PyLibMCCache"),
        django("Django 3.2, PyMemcacheCache", "django32", "PyMemcacheCache"),
        django("Django 3.2, PyLibMCCache", "django32", "PyLibMCCache"),
        Stack {
            tells_when_gone: false,
            ..django("Django 3.2, MemcachedCache", "django32", "MemcachedCache")
        },
        Stack {
            typed: &[
                ("int", Time),
                ("float", Time),
                ("DateTime", Time),
                ("DateTimeImmutable", Time),
                ("in Shanghai", Refused),
                ("serialize", Time),
                ("DATE_ATOM", Time),
                ("DATE_COOKIE", Time),
                ("DATE_RFC2822", Time),
            ],
            any_name: false,
            ..stack("PHP", "php/last_seen.php", Start::With("php"))
        },
        Stack {
            typed: &[
                ("Integer", Time),
                ("Float", Time),
                ("Time", Time),
                ("utc", Time),
                ("to_s", Time),
                ("httpdate", Time),
                ("Hash", Refused),
            ],
            ..stack("Ruby, dalli", "ruby/last_seen.rb", Start::With("ruby"))
        },
        Stack {
            typed: &[
                ("number", NotWritten),
                ("toString", Time),
                ("toUTCString", Time),
                ("toISOString", Time),
            ],
            ..stack("Node, memjs", "node/with_memjs.js", Start::Node)
        },
        Stack {
            typed: &[
                ("number", Time),
                ("Date", Time),
                ("toString", Time),
                ("toUTCString", Time),
                ("toISOString", Time),
                ("object", Refused),
            ],
            ..stack("Node, memcached", "node/with_memcached.js", Start::Node)
        },
        Stack {
            typed: &[("float", Time), ("hash", Refused), ("localtime", Refused)],
            ..stack("Perl, Cache::Memcached", "perl/with_cache_memcached.pl", Start::With("perl"))
        },
        Stack {
            typed: &[("float", Time), ("hash", Refused), ("localtime", Refused)],
            ..stack("Perl, ::Fast", "perl/with_cache_memcached_fast.pl", Start::With("perl"))
        },
        Stack {
            typed: &[
                ("String", Time),
                ("RFC3339", Time),
                ("RFC1123Z", Time),
                ("RFC1123, UTC", Time),
                ("RubyDate", Time),
                ("UnixNano", Time),
                ("json", Time),
                ("RFC1123", Refused),
                ("UnixDate", Refused),
                ("ANSIC", Refused),
                ("binary", Refused),
            ],
            any_name: false,
            ..stack("Go", "go", Start::Go)
        },
        Stack {
            typed: &[
                ("Integer", Refused),
                ("Long", Refused),
                ("Date", Refused),
                ("Date.toString", Refused),
                ("Instant", Time),
            ],
            ..stack("Java", "java", Start::Java)
        },
        Stack {
            typed: &[("date", Refused), ("-u", Time), ("-Iseconds", Time), ("-R", Time)],
            ..stack("shell, nc", "shell/last_seen.sh", Start::With("sh"))
        },
    ]
}

impl Stack {
    /// The command that runs the program on the memcached at `server`.
    #[track_caller]
    pub fn command(&mut self, server: &str) -> Command {
        let program = here().join(self.program);
        let mut command = match self.start {
            Start::With(interpreter) => Command::new(interpreter),
            Start::Python => Command::new(cache().join("django52/bin/python")),
            Start::Django { version, backend } => {
                let mut command = Command::new(cache().join(version).join("bin/python"));
                command.env("DJANGO_SETTINGS_MODULE", "settings").env("BACKEND", backend);
                command
            }
            Start::Node => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", cache().join("node/node_modules"));
                command
            }
            Start::Go => Command::new(
                &self.built.get_or_insert_with(|| go(&program, &["last_seen.go", "commands.go"])).0,
            ),
            Start::Java => {
                let classes = self.built.get_or_insert_with(|| java(&program)).0.display().to_string();
                let mut command = Command::new("java");
                command.args(["-cp", &format!("{classes}:{JARS}"), "Commands"]);
                command
            }
        };
        if self.built.is_none() {
            command.arg(program);
        }
        // Its CST is another one than Chicago's.
        command.env("MEMCACHE_SERVERS", server).env("TZ", "Asia/Shanghai");
        command
    }
}

const JARS: &str = "/usr/share/java/spymemcached.jar:/usr/share/java/slf4j-api.jar";

/// `go run` would leave its child behind.
#[track_caller]
pub fn go(folder: &Path, files: &[&str]) -> Temporary {
    let binary = Temporary::new("go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&binary.0).args(files).current_dir(folder);
    build
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", cache().join("go-build"));
    output(&mut build);
    binary
}

#[track_caller]
fn java(folder: &Path) -> Temporary {
    let classes = Temporary::new("java");
    let mut build = Command::new("javac");
    build.args(["-cp", JARS, "-d"]).arg(&classes.0).args(["LastSeen.java", "Commands.java"]);
    output(build.current_dir(folder));
    classes
}
