//! The Rust sides of the comparison. `benches/compare/run` starts this once for each client, and asks line by
//! line; `measure.py` says what for.

use std::{
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use async_memcached::AsciiProtocol;
use chrono::Utc;
use last_seen::{AsyncTracker, Recorder, Settings, Tracker};
use memcache::exp::{Get, MetaClient};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

const WEEK: u32 = 604_800;

/// Each does its work `calls` times, user after user.
trait Side {
    fn set(&mut self, users: &[String], calls: usize);
    fn get(&mut self, users: &[String], calls: usize);
    fn many(&mut self, page: &[String], calls: usize);
    /// What is left to do after the clock was read.
    fn settle(&mut self) {}
}

/// The same in async code.
trait AsyncSide {
    async fn set(&mut self, users: &[String], calls: usize);
    async fn get(&mut self, users: &[String], calls: usize);
    async fn many(&mut self, page: &[String], calls: usize);
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
    let prepared = || Prepared::new(&server, &tracker(), &users);
    let (name, mut side): (_, Box<dyn Side>) = match client.as_str() {
        "raw" => match server.strip_prefix("unix:") {
            Some(path) => {
                ("raw socket", Box::new(Raw::new([UnixStream::connect(path).unwrap()], prepared())))
            }
            None => ("raw socket", Box::new(Raw::new(server.split(',').map(connect), prepared()))),
        },
        "raw-tokio" => ("raw tokio", Box::new(OnTokio::new(async || RawTokio::new(&server, prepared())))),
        "tracker" => ("Tracker", Box::new(tracker())),
        "async" => ("AsyncTracker", Box::new(OnTokio::new(async || AsyncTracker::from(tracker())))),
        "recorder" => ("Recorder", Box::new(Recorder::new(tracker()))),
        "ascii" => ("memcache::Client, ASCII", Box::new(memcache("ascii"))),
        "binary" => ("memcache::Client, binary", Box::new(memcache("binary"))),
        "meta" => ("memcache::exp::MetaClient", Box::new(MetaClient::connect(&server).unwrap())),
        "async-memcached" => {
            let client = async || async_memcached::Client::new(format!("tcp://{server}")).await.unwrap();
            ("async-memcached", Box::new(OnTokio::new(client)))
        }
        // The versions of the client crates stand in Cargo.lock alone.
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

/// What the raw sides send, and to which server.
struct Prepared {
    sets: Vec<Vec<u8>>,
    gets: Vec<Vec<u8>>,
    /// Of each user, the place of the server in the list.
    places: Vec<usize>,
}

impl Prepared {
    fn new(servers: &str, tracker: &Tracker, users: &[String]) -> Self {
        let now = Utc::now();
        let set = |user| format!("set seen_{user} 0 {WEEK} 10\r\n{}\r\n", now.timestamp()).into_bytes();
        let place = |user| {
            let holder = tracker.preview(user, now).unwrap().server;
            // The holder of a Unix socket is its path alone.
            servers.split(',').position(|server| server.ends_with(&holder)).unwrap()
        };
        Self {
            sets: users.iter().map(set).collect(),
            gets: users.iter().map(|user| get([user]).into_bytes()).collect(),
            places: users.iter().map(place).collect(),
        }
    }

    /// The line to each server, and how many lines its answer has.
    fn page(&self, page: &[String], servers: usize) -> Vec<(String, usize)> {
        let of = |server| page.iter().zip(&self.places).filter(move |&(_, &place)| place == server);
        let part = |server| (get(of(server).map(|(user, _)| user)), lines(of(server).count()));
        (0..servers).map(part).collect()
    }
}

fn get<'a>(users: impl IntoIterator<Item = &'a String>) -> String {
    let keys: String = users.into_iter().map(|user| format!(" seen_{user}")).collect();
    format!("get{keys}\r\n")
}

/// A `VALUE` and a value of each user, and `END`.
fn lines(users: usize) -> usize {
    2 * users + 1
}

fn connect(server: &str) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The same work in the fewest steps there are: what to send stands ready, of what comes the lines are counted.
struct Raw<S> {
    streams: Vec<BufReader<S>>,
    prepared: Prepared,
    line: Vec<u8>,
}

impl<S: Read + Write> Raw<S> {
    fn new(streams: impl IntoIterator<Item = S>, prepared: Prepared) -> Self {
        let buffered = |stream| BufReader::with_capacity(64 * 1024, stream);
        Self { streams: streams.into_iter().map(buffered).collect(), prepared, line: Vec::new() }
    }

    fn read(&mut self, server: usize, lines: usize) -> &[u8] {
        for _ in 0..lines {
            self.line.clear();
            self.streams[server].read_until(b'\n', &mut self.line).unwrap();
        }
        &self.line
    }
}

impl<S: Read + Write> Side for Raw<S> {
    fn set(&mut self, users: &[String], calls: usize) {
        for user in (0..users.len()).cycle().take(calls) {
            let server = self.prepared.places[user];
            self.streams[server].get_mut().write_all(&self.prepared.sets[user]).unwrap();
            assert_eq!(self.read(server, 1), b"STORED\r\n");
        }
    }

    fn get(&mut self, users: &[String], calls: usize) {
        for user in (0..users.len()).cycle().take(calls) {
            let server = self.prepared.places[user];
            self.streams[server].get_mut().write_all(&self.prepared.gets[user]).unwrap();
            assert_eq!(self.read(server, lines(1)), b"END\r\n");
        }
    }

    /// Asks all servers, and then reads from each.
    fn many(&mut self, page: &[String], calls: usize) {
        let parts = self.prepared.page(page, self.streams.len());
        for _ in 0..calls {
            for (stream, (get, _)) in self.streams.iter_mut().zip(&parts) {
                stream.get_mut().write_all(get.as_bytes()).unwrap();
            }
            for (server, (_, lines)) in parts.iter().enumerate() {
                assert_eq!(self.read(server, *lines), b"END\r\n");
            }
        }
    }
}

/// As `Raw`, on tokio and with one server.
struct RawTokio {
    stream: tokio::io::BufReader<tokio::net::TcpStream>,
    prepared: Prepared,
    line: Vec<u8>,
}

impl RawTokio {
    fn new(server: &str, prepared: Prepared) -> Self {
        let stream = connect(server);
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let stream = tokio::io::BufReader::with_capacity(64 * 1024, stream);
        Self { stream, prepared, line: Vec::new() }
    }

    async fn read(&mut self, lines: usize) -> &[u8] {
        for _ in 0..lines {
            self.line.clear();
            self.stream.read_until(b'\n', &mut self.line).await.unwrap();
        }
        &self.line
    }
}

impl AsyncSide for RawTokio {
    async fn set(&mut self, users: &[String], calls: usize) {
        for user in (0..users.len()).cycle().take(calls) {
            self.stream.write_all(&self.prepared.sets[user]).await.unwrap();
            assert_eq!(self.read(1).await, b"STORED\r\n");
        }
    }

    async fn get(&mut self, users: &[String], calls: usize) {
        for user in (0..users.len()).cycle().take(calls) {
            self.stream.write_all(&self.prepared.gets[user]).await.unwrap();
            assert_eq!(self.read(lines(1)).await, b"END\r\n");
        }
    }

    async fn many(&mut self, page: &[String], calls: usize) {
        let get = get(page);
        for _ in 0..calls {
            self.stream.write_all(get.as_bytes()).await.unwrap();
            assert_eq!(self.read(lines(page.len())).await, b"END\r\n");
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
struct OnTokio<A> {
    side: A,
    runtime: tokio::runtime::Runtime,
}

impl<A> OnTokio<A> {
    fn new(side: impl AsyncFnOnce() -> A) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { side: runtime.block_on(side()), runtime }
    }
}

impl<A: AsyncSide> Side for OnTokio<A> {
    fn set(&mut self, users: &[String], calls: usize) {
        self.runtime.block_on(self.side.set(users, calls));
    }

    fn get(&mut self, users: &[String], calls: usize) {
        self.runtime.block_on(self.side.get(users, calls));
    }

    fn many(&mut self, page: &[String], calls: usize) {
        self.runtime.block_on(self.side.many(page, calls));
    }
}

impl AsyncSide for AsyncTracker {
    async fn set(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            self.seen(user).await.unwrap();
        }
    }

    async fn get(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            self.last_seen(user).await.unwrap().unwrap();
        }
    }

    async fn many(&mut self, page: &[String], calls: usize) {
        for _ in 0..calls {
            let presences = black_box(self.presences(page).await);
            assert!(presences.iter().flatten().filter(|presence| presence.online).count() == page.len());
        }
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
            self.client.set(&format!("seen_{user}"), Utc::now().timestamp(), WEEK).unwrap();
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

/// The client crate's second client, which speaks the meta protocol.
impl Side for MetaClient {
    fn set(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            let value = Utc::now().timestamp().to_string();
            let set = MetaClient::set(self, format!("seen_{user}"), value).ttl_raw(WEEK);
            assert!(set.send().unwrap().applied());
        }
    }

    fn get(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            black_box(timestamp(MetaClient::get(self, format!("seen_{user}")).send().unwrap().value));
        }
    }

    fn many(&mut self, page: &[String], calls: usize) {
        for _ in 0..calls {
            let gets = page.iter().map(|user| Get::new(format!("seen_{user}")));
            for found in self.run_many(gets).unwrap() {
                black_box(timestamp(found.unwrap().value));
            }
        }
    }
}

impl AsyncSide for async_memcached::Client {
    async fn set(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            let (key, value) = (format!("seen_{user}"), Utc::now().timestamp().to_string());
            AsciiProtocol::set(self, key, value.as_str(), Some(WEEK.into()), None).await.unwrap();
        }
    }

    async fn get(&mut self, users: &[String], calls: usize) {
        for user in users.iter().cycle().take(calls) {
            let found = AsciiProtocol::get(self, format!("seen_{user}")).await.unwrap();
            black_box(timestamp(found.unwrap().data));
        }
    }

    async fn many(&mut self, page: &[String], calls: usize) {
        for _ in 0..calls {
            let keys = page.iter().map(|user| format!("seen_{user}"));
            let found = self.get_multi(keys).await.unwrap();
            assert_eq!(found.len(), page.len());
            found.into_iter().for_each(|value| {
                black_box(timestamp(value.data));
            });
        }
    }
}

fn timestamp(value: Option<Vec<u8>>) -> i64 {
    String::from_utf8(value.unwrap()).unwrap().parse().unwrap()
}
