//! A real memcached on a free loopback port, ended by its handle.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use last_seen::{Settings, Tracker};

use super::{eventually, secs};

pub struct Memcached {
    child: Child,
    port: u16,
    options: Vec<String>,
}

impl Memcached {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (child, port) = spawn(&options, None);
        Self { child, port, options }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Settings with this server and nothing else changed.
    pub fn settings(&self) -> Settings {
        Settings::default().with_servers([self.address()])
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

    /// Starts again, empty, on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.options, Some(self.port)).0;
    }

    /// The answer to a text command, up to its last line.
    #[track_caller]
    pub fn raw(&self, command: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(secs(5))).unwrap();
        stream.write_all(command.as_ref()).unwrap();
        // `mn` is answered after everything before it.
        stream.write_all(b"\r\nmn\r\n").unwrap();
        let mut reader = BufReader::new(stream);
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
fn spawn(options: &[String], port: Option<u16>) -> (Child, u16) {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let nth = STARTED.fetch_add(1, Ordering::Relaxed);
    // memcached takes a free port itself and writes it there.
    let file = std::env::temp_dir().join(format!("last-seen-{}-{nth}", std::process::id()));
    let mut command = Command::new("memcached");
    command.args(["-l", "127.0.0.1", "-U", "0", "-u", "root"]).args(options);
    command.args(["-p", &port.map_or("-1".to_owned(), |port| port.to_string())]);
    command.env("MEMCACHED_PORT_FILENAME", &file).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("memcached cannot be started ({error}): install it, or run tests/run, which does")
    });
    let port = eventually(|| {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("memcached ended with {status}: {said}");
        }
        let written = std::fs::read_to_string(&file).ok()?;
        written.lines().find_map(|line| line.strip_prefix("TCP INET: ")?.parse().ok())
    });
    std::fs::remove_file(&file).unwrap();
    (child, port)
}
