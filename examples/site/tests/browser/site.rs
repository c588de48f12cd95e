//! The site as a process, and plain requests to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use last_seen_tests::secs;

/// Ended by its handle.
pub struct Site {
    child: Child,
    address: String,
}

impl Site {
    #[track_caller]
    pub fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", variables)
    }

    #[track_caller]
    fn start_at(address: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_site"));
        command.arg(address).envs(variables.iter().copied()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix('/'));
        Self { address: address.unwrap_or_else(|| panic!("{line:?}")).to_owned(), child }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again in the same place.
    #[track_caller]
    pub fn restart(&mut self, variables: &[(&str, &str)]) {
        self.kill();
        *self = Self::start_at(&self.address, variables);
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub fn get(&self, path: &str) -> String {
        self.ask("GET", path, &[], "")
    }

    pub fn get_as(&self, path: &str, user: &str) -> String {
        self.ask("GET", path, &[&format!("Cookie: user={user}")], "")
    }

    pub fn post(&self, path: &str, form: &str, headers: &[&str]) -> String {
        self.ask("POST", path, headers, form)
    }

    /// The whole answer, head and body.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, headers: &[&str], form: &str) -> String {
        let mut answer = String::new();
        self.send(method, path, headers, form).read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn events_as(&self, user: &str) -> Events {
        Events(self.send("GET", "/events", &[&format!("Cookie: user={user}")], ""))
    }

    fn send(&self, method: &str, path: &str, headers: &[&str], form: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(secs(20))).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let (address, length) = (&self.address, form.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
        )
        .unwrap();
        stream
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An open event stream.
pub struct Events(pub TcpStream);

impl Events {
    /// Reads on until a line has this in it.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        let mut lines = BufReader::new(&self.0).lines();
        while !lines.next().expect("the stream has ended").unwrap().contains(part) {}
    }
}
