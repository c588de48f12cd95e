//! A reverse proxy before the site, which refuses answers or holds them back, as they do.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, Condvar, Mutex},
};

use last_seen_tests::{Fake, eventually};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    /// The site is asked, and its answer is kept until the way is another one.
    Hold,
    /// As during a deploy of the site.
    Refuse,
}

pub struct Proxy {
    listener: Fake,
    paths: Arc<Paths>,
}

#[derive(Default)]
struct Paths {
    ways: Mutex<HashMap<String, Way>>,
    changed: Condvar,
    /// How many answers to a path are held back.
    held: Mutex<HashMap<String, usize>>,
}

impl Proxy {
    /// In front of the site, with the ways of some paths; the others pass.
    pub fn start(site: &str, ways: &[(&str, Way)]) -> Self {
        let (site, paths) = (site.to_owned(), Arc::new(Paths::default()));
        ways.iter().for_each(|(path, way)| paths.set(path, *way));
        let carried = paths.clone();
        // A browser that has left breaks a connection off.
        Self { listener: Fake::start(move |client| drop(carried.carry(client, &site))), paths }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.address())
    }

    pub fn set(&self, path: &str, way: Way) {
        self.paths.set(path, way);
    }

    /// Waits until an answer to this path is held back.
    #[track_caller]
    pub fn wait_for_held(&self, path: &str) {
        eventually(|| self.paths.held.lock().unwrap().get(path).filter(|held| **held > 0).map(drop));
    }
}

impl Paths {
    fn set(&self, path: &str, way: Way) {
        self.ways.lock().unwrap().insert(path.to_owned(), way);
        self.changed.notify_all();
    }

    fn way(&self, path: &str) -> Way {
        self.ways.lock().unwrap().get(path).copied().unwrap_or(Way::Pass)
    }

    /// One request and its answer, which ends with the connection.
    fn carry(&self, mut client: TcpStream, site: &str) -> std::io::Result<()> {
        let mut head = String::new();
        let mut lines = BufReader::new(client.try_clone()?);
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        if self.way(&path) == Way::Refuse {
            return client
                .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        let mut server = TcpStream::connect(site)?;
        server.write_all(head.replacen("Connection: keep-alive", "Connection: close", 1).as_bytes())?;
        let mut piece = vec![0; 64 * 1024];
        loop {
            let length = server.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            *self.held.lock().unwrap().entry(path.clone()).or_default() += 1;
            let hold = |ways: &mut HashMap<String, Way>| ways.get(&path) == Some(&Way::Hold);
            drop(self.changed.wait_while(self.ways.lock().unwrap(), hold).unwrap());
            *self.held.lock().unwrap().entry(path.clone()).or_default() -= 1;
            client.write_all(&piece[..length])?;
        }
    }
}
