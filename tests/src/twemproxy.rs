//! A real twemproxy (`nutcracker`) in front of some memcached servers, ended by its handle.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{Folder, Memcached, eventually, ms, secs};

pub struct Twemproxy {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Twemproxy {
    /// Waits 500 ms for a backend.
    #[track_caller]
    pub fn start(backends: &[&Memcached]) -> Self {
        let folder = Folder::create();
        // It takes no port 0, and another program may be faster to a free one.
        let (child, port) = eventually(|| spawn(&folder, backends));
        Self { child, port, _folder: folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Twemproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn spawn(folder: &Folder, backends: &[&Memcached]) -> Option<(Child, u16)> {
    let [port, stats] = free_ports();
    let backends: String = backends.iter().map(|server| format!("\n   - {}:1", server.place())).collect();
    let config = format!(
        "site:\n  listen: 127.0.0.1:{port}\n  hash: md5\n  distribution: ketama\n  auto_eject_hosts: false\n  \
         timeout: 500\n  servers:{backends}\n"
    );
    // Its own files are elsewhere, where a plain user may not write.
    let [config, log, pid] = [
        folder.write("nutcracker.yml", &config),
        folder.file("nutcracker.log"),
        folder.file("nutcracker.pid"),
    ];
    let mut command = Command::new("nutcracker");
    // Debian has it in a folder that a plain user's PATH may lack.
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin");
    command.args(["-c", &config, "-o", &log, "-p", &pid, "-a", "127.0.0.1", "-s", &stats.to_string()]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("nutcracker cannot be started ({error}): install it, or run tests/run, which does")
    });
    let answers = eventually(|| match child.try_wait().unwrap() {
        Some(_) => Some(false),
        None => answers(port).then_some(true),
    });
    answers.then_some((child, port))
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), ms(100)) else {
        return false;
    };
    stream.set_read_timeout(Some(secs(1))).unwrap();
    let mut answer = [0; 8];
    stream.write_all(b"version\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"VERSION "
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
