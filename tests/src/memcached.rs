//! A real memcached on a free loopback port, ended by its handle.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use last_seen::{Settings, Tracker};

use super::{Folder, events, eventually, secs};

pub struct Memcached {
    child: Child,
    place: Place,
    options: Vec<String>,
    /// What surrounds the place in what a tracker connects to.
    affixes: [String; 2],
    login: Option<String>,
    /// Removed when the server has ended.
    _folder: Option<Folder>,
}

/// Where it listens.
enum Place {
    Port(u16),
    Socket(String),
}

impl Memcached {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_at(None, options)
    }

    /// On a Unix socket alone.
    #[track_caller]
    pub fn start_on_socket() -> Self {
        let folder = Folder::create();
        let mut server = Self::start_at(Some(&Place::Socket(folder.file("socket"))), &[]);
        server._folder = Some(folder);
        server.reached_as("unix:", "")
    }

    /// For those alone who log in.
    #[track_caller]
    pub fn start_with_password(user: &str, password: &str, options: &[&str]) -> Self {
        let folder = Folder::create();
        let file = folder.write("passwords", &format!("{user}:{password}\n"));
        let mut server = Self::start_at(None, &[options, &["-Y", &file]].concat());
        server.login = Some(format!("{user} {password}"));
        server._folder = Some(folder);
        server.reached_as(&format!("memcache://{user}:{password}@"), "")
    }

    #[track_caller]
    fn start_at(place: Option<&Place>, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (child, place) = spawn(&options, place);
        let server = Self { child, place, options, affixes: Default::default(), login: None, _folder: None };
        events::forget(&server.place());
        server
    }

    /// With this around the place in [`address`](Self::address).
    #[must_use]
    pub fn reached_as(mut self, before: &str, after: &str) -> Self {
        self.affixes = [before, after].map(str::to_owned);
        self
    }

    /// What a tracker connects to.
    pub fn address(&self) -> String {
        let [before, after] = &self.affixes;
        format!("{before}{}{after}", self.place())
    }

    /// The host and port, or the path of the socket.
    pub fn place(&self) -> String {
        match &self.place {
            Place::Port(port) => format!("127.0.0.1:{port}"),
            Place::Socket(path) => path.clone(),
        }
    }

    /// Settings with this server, and more time than the default gives: what a test prepares must not fail because
    /// the machine is busy. `Tracker::connect` has the default.
    pub fn settings(&self) -> Settings {
        Settings::default().with_servers([self.address()]).with_server_timeout(secs(2))
    }

    pub fn tracker(&self) -> Tracker {
        Tracker::new(self.settings()).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the process until [`resume`](Self::resume): its sockets take bytes and answer nothing.
    #[track_caller]
    pub fn suspend(&self) {
        self.signal("STOP");
        // The signal is only on its way: each thread stops on its own.
        let tasks = format!("/proc/{}/task", self.id());
        let stopped = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let all = || std::fs::read_dir(&tasks).unwrap().all(|task| stopped(task.unwrap()));
        eventually(|| all().then_some(()));
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again, empty, in the same place.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.options, Some(&self.place)).0;
    }

    /// The answer to a text command, up to its last line. Not over TLS.
    #[track_caller]
    pub fn raw(&self, command: impl AsRef<[u8]>) -> String {
        match &self.place {
            Place::Port(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
                stream.set_read_timeout(Some(secs(5))).unwrap();
                self.converse(stream, command.as_ref())
            }
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(secs(5))).unwrap();
                self.converse(stream, command.as_ref())
            }
        }
    }

    #[track_caller]
    fn converse(&self, stream: impl Read + Write, command: &[u8]) -> String {
        let mut reader = BufReader::new(stream);
        if let Some(login) = &self.login {
            write!(reader.get_mut(), "set login 0 0 {}\r\n{login}\r\n", login.len()).unwrap();
            let mut answer = String::new();
            reader.read_line(&mut answer).unwrap();
            assert_eq!(answer, "STORED\r\n");
        }
        reader.get_mut().write_all(command).unwrap();
        // `mn` is answered after everything before it.
        reader.get_mut().write_all(b"\r\nmn\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"MN\r\n") {
            assert_ne!(reader.read_until(b'\n', &mut answer).unwrap(), 0, "memcached closed the connection");
        }
        String::from_utf8_lossy(&answer[..answer.len() - 4]).into_owned()
    }

    /// Stores raw bytes as any other client might.
    #[track_caller]
    pub fn set(&self, key: &str, flags: u32, value: &[u8]) {
        let mut command = format!("set {key} {flags} 0 {}\r\n", value.len()).into_bytes();
        command.extend_from_slice(value);
        assert!(self.raw(command).starts_with("STORED\r\n"));
    }

    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.raw("stats");
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn spawn(options: &[String], place: Option<&Place>) -> (Child, Place) {
    let folder = Folder::create();
    // memcached takes a free port itself and writes it there.
    let file = folder.file("port");
    let mut command = Command::new("memcached");
    match place {
        None => command.args(["-l", "127.0.0.1", "-U", "0", "-p", "-1"]),
        Some(Place::Port(port)) => command.args(["-l", "127.0.0.1", "-U", "0", "-p", &port.to_string()]),
        Some(Place::Socket(path)) => command.args(["-s", path, "-a", "0777"]),
    };
    command.args(["-u", "root"]).args(options);
    command.env("MEMCACHED_PORT_FILENAME", &file).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("memcached cannot be started ({error}): install it, or run tests/run, which does")
    });
    let place = eventually(|| {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("memcached ended with {status}: {said}");
        }
        if let Some(Place::Socket(path)) = place {
            return UnixStream::connect(path).is_ok().then(|| Place::Socket(path.clone()));
        }
        let written = std::fs::read_to_string(&file).ok()?;
        written.lines().find_map(|line| line.strip_prefix("TCP INET: ")?.parse().ok()).map(Place::Port)
    });
    (child, place)
}
