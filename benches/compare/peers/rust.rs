//! The Rust sides of the comparison. `benches/compare/run` starts this once for each client, and asks line by
//! line; `measure.py` says what for.

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{AsyncTracker, Recorder, Settings, Tracker};

/// Each does its work `calls` times, user after user.
trait Side {
    fn set(&mut self, users: &[String], calls: usize);
    fn get(&mut self, users: &[String], calls: usize);
    fn many(&mut self, page: &[String], calls: usize);
    /// What is left to do after the clock was read.
    fn settle(&mut self) {}
}

fn main() {
    let (Some(client), Ok(server)) = (std::env::args().nth(1), std::env::var("MEMCACHE_SERVERS")) else {
        return println!("run benches/compare/run, which asks for what it measures");
    };
    let settings = Settings::default().with_servers([&server]).with_server_timeout(Duration::from_secs(5));
    let tracker = || Tracker::new(settings.clone()).unwrap();
    let memcache = |protocol| {
        let url = format!("memcache://{server}?protocol={protocol}");
        Old { client: memcache::Client::connect(url).unwrap() }
    };
    let users: Vec<String> = (0..1_000).map(|nth| format!("user{nth}")).collect();
    let (name, mut side): (_, Box<dyn Side>) = match client.as_str() {
        "raw" => ("raw socket", Box::new(Raw::new(&server, &users))),
        "tracker" => ("Tracker", Box::new(tracker())),
        "async" => ("AsyncTracker", Box::new(Async::new(tracker()))),
        "recorder" => ("Recorder", Box::new(Recorder::new(tracker()))),
        "ascii" => ("memcache::Client, ASCII", Box::new(memcache("ascii"))),
        "binary" => ("memcache::Client, binary", Box::new(memcache("binary"))),
        // The client crate's version stands in Cargo.lock alone.
        _ => return println!("no client {client:?}"),
    };
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().unwrap();
        let started = Instant::now();
        match words[..] {
            ["name"] => {
                println!("{name}");
                continue;
            }
            ["set", calls] => side.set(&users, number(calls)),
            ["get", calls] => side.get(&users, number(calls)),
            ["many", page, calls] => side.many(&users[..number(page)], number(calls)),
            _ => panic!("no command {line:?}"),
        }
        println!("{}", started.elapsed().as_secs_f64());
        side.settle();
    }
}

/// The same work in the fewest steps there are: what to send stands ready, what comes is not looked into.
struct Raw {
    stream: BufReader<TcpStream>,
    sets: Vec<Vec<u8>>,
    gets: Vec<Vec<u8>>,
}

impl Raw {
    fn new(server: &str, users: &[String]) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        let now = Utc::now().timestamp();
        let set = |user| format!("ms seen_{user} 10 T604800\r\n{now}\r\n").into_bytes();
        let get = |user| format!("mg seen_{user} v f\r\n").into_bytes();
        let (sets, gets) = (users.iter().map(set).collect(), users.iter().map(get).collect());
        Self { stream: BufReader::with_capacity(64 * 1024, stream), sets, gets }
    }
}

impl Side for Raw {
    fn set(&mut self, _: &[String], calls: usize) {
        for set in self.sets.iter().cycle().take(calls) {
            self.stream.get_mut().write_all(set).unwrap();
            let mut answer = [0; 4];
            self.stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HD\r\n");
        }
    }

    fn get(&mut self, _: &[String], calls: usize) {
        for get in self.gets.iter().cycle().take(calls) {
            self.stream.get_mut().write_all(get).unwrap();
            // VA 10 f0, and the time.
            let mut answer = [0; 22];
            self.stream.read_exact(&mut answer).unwrap();
            black_box(answer);
        }
    }

    fn many(&mut self, page: &[String], calls: usize) {
        let keys: String = page.iter().map(|user| format!(" seen_{user}")).collect();
        let get = format!("get{keys}\r\n");
        let mut line = Vec::new();
        for _ in 0..calls {
            self.stream.get_mut().write_all(get.as_bytes()).unwrap();
            for _ in 0..2 * page.len() + 1 {
                line.clear();
                self.stream.read_until(b'\n', &mut line).unwrap();
            }
            assert_eq!(line, b"END\r\n");
        }
    }
}

impl Side for Tracker {
    fn set(&mut self, users: &[String], calls: usize) {
        users.iter().cycle().take(calls).for_each(|user| self.seen(user).unwrap());
    }

    fn get(&mut self, users: &[String], calls: usize) {
        users.iter().cycle().take(calls).for_each(|user| {
            self.last_seen(user).unwrap().unwrap();
        });
    }

    fn many(&mut self, page: &[String], calls: usize) {
        for _ in 0..calls {
            let presences = black_box(self.presences(page));
            assert!(presences.iter().flatten().filter(|presence| presence.online).count() == page.len());
        }
    }
}

/// On a runtime of one thread, as one task of a server's worker thread.
struct Async {
    tracker: AsyncTracker,
    runtime: tokio::runtime::Runtime,
}

impl Async {
    fn new(tracker: Tracker) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { tracker: tracker.into(), runtime }
    }
}

impl Side for Async {
    fn set(&mut self, users: &[String], calls: usize) {
        self.runtime.block_on(async {
            for user in users.iter().cycle().take(calls) {
                self.tracker.seen(user).await.unwrap();
            }
        });
    }

    fn get(&mut self, users: &[String], calls: usize) {
        self.runtime.block_on(async {
            for user in users.iter().cycle().take(calls) {
                self.tracker.last_seen(user).await.unwrap().unwrap();
            }
        });
    }

    fn many(&mut self, page: &[String], calls: usize) {
        self.runtime.block_on(async {
            for _ in 0..calls {
                let presences = black_box(self.tracker.presences(page).await);
                assert!(presences.iter().flatten().filter(|presence| presence.online).count() == page.len());
            }
        });
    }
}

impl Side for Recorder {
    fn set(&mut self, users: &[String], calls: usize) {
        users.iter().cycle().take(calls).for_each(|user| self.seen(user));
    }

    fn get(&mut self, _: &[String], _: usize) {
        unreachable!("a recorder reads nothing");
    }

    fn many(&mut self, _: &[String], _: usize) {
        unreachable!("a recorder reads nothing");
    }

    fn settle(&mut self) {
        self.flush().unwrap();
    }
}

/// The client crate's first client, used as its README shows.
struct Old {
    client: memcache::Client,
}

impl Side for Old {
    fn set(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            self.client.set(&format!("seen_{user}"), Utc::now().timestamp(), 604_800).unwrap();
        }
    }

    fn get(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            black_box(self.client.get::<i64>(&format!("seen_{user}")).unwrap().unwrap());
        }
    }

    fn many(&mut self, page: &[String], calls: usize) {
        for _ in 0..calls {
            let keys: Vec<String> = page.iter().map(|user| format!("seen_{user}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            assert_eq!(black_box(self.client.gets::<i64>(&keys).unwrap()).len(), page.len());
        }
    }
}
