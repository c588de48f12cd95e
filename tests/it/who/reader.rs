//! A reader of a watch, as a program has one, and a network between it and the server.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use last_seen::{Change, Roster, Status, Tracker, Watch};

use last_seen_tests::{ms, secs, soak};

/// How many times shorter the intervals of a watch are: not at all where tests may take long.
pub fn pace() -> u32 {
    if soak() { 1 } else { 10 }
}

/// How long it takes at most until a dead log is found out.
pub fn detection() -> Duration {
    if soak() { secs(25) } else { secs(9) }
}

pub struct Reader {
    pub watch: Watch,
    pub roster: Roster,
    /// What was told so far.
    pub told: Vec<Change>,
}

impl Reader {
    pub fn start(tracker: &Tracker) -> Self {
        Self { watch: tracker.watch_faster(pace()).unwrap(), roster: Roster::default(), told: Vec::new() }
    }

    /// One that has been told of everyone who is online.
    #[track_caller]
    pub fn ready(tracker: &Tracker) -> Self {
        let mut reader = Self::start(tracker);
        reader.until(secs(20), |change| matches!(change, Change::Ready { complete: true, .. }));
        reader
    }

    pub fn next(&mut self, timeout: Duration) -> Option<Change> {
        let change = self.watch.next_timeout(timeout)?;
        self.roster.apply(&change);
        if let Change::Ready { online, complete, .. } = change {
            assert_eq!(self.roster.online(), online);
            assert_eq!(self.roster.is_complete(), complete);
        }
        self.told.push(change.clone());
        Some(change)
    }

    /// Reads on to the first change that is meant, which must be told within the limit.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, meant: impl Fn(&Change) -> bool) -> Change {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(change) if meant(&change) => return change,
                Some(_) => {}
                None => panic!(
                    "not told within {limit:?}: {:#?}",
                    self.told.iter().rev().take(5).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// Reads on until the roster is as it should be, within the limit.
    #[track_caller]
    pub fn holds(&mut self, limit: Duration, so: impl Fn(&Roster) -> bool) {
        let deadline = Instant::now() + limit;
        while !so(&self.roster) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "not so within {limit:?}: {:#?}",
                self.told.iter().rev().take(8).collect::<Vec<_>>()
            );
            self.next(left.min(ms(50)));
        }
    }

    /// What the watch reports until nothing comes for that long.
    pub fn drain(&mut self, quiet: Duration) -> Vec<Change> {
        std::iter::from_fn(|| self.next(quiet)).collect()
    }

    pub fn status(&self, user: &str) -> Option<Status> {
        self.roster.get(user).map(|user| user.status)
    }
}

/// In short, for comparisons.
pub fn short(change: &Change) -> String {
    match change {
        Change::Online { user, .. } => format!("online {user}"),
        Change::Seen { user, .. } => format!("seen {user}"),
        Change::Offline { user, reason, .. } => format!("offline {user} {reason:?}"),
        Change::Unreadable { user, .. } => format!("unreadable {user}"),
        Change::ServerDown { .. } => "down".to_owned(),
        Change::ServerUp { .. } => "up".to_owned(),
        Change::Missed { .. } => "missed".to_owned(),
        Change::Ready { online, complete, .. } => {
            format!("{online} online{}", if *complete { "" } else { ", incomplete" })
        }
        _ => "something new".to_owned(),
    }
}

/// Passes bytes on to a server, until connections die or everything is cut off: then bytes vanish, and nothing is
/// closed.
pub struct Relay {
    pub address: String,
    cut: Arc<AtomicBool>,
    carried: Arc<Mutex<Vec<Arc<Carried>>>>,
}

#[derive(Default)]
struct Carried {
    /// It carries a log.
    log: AtomicBool,
    dead: AtomicBool,
}

impl Relay {
    pub fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, carried) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Arc<Carried>>>>::default());
        let (is_cut, all) = (cut.clone(), carried.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let this = Arc::<Carried>::default();
                all.lock().unwrap().push(this.clone());
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let (this, is_cut) = (this.clone(), is_cut.clone());
                    thread::spawn(move || carry(from, into, &this, &is_cut));
                }
            }
        });
        Self { address, cut, carried }
    }

    /// Connections that are open die, and new ones too while it is so.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        self.kill(|_| cut);
    }

    pub fn kill_log(&self) {
        self.kill(|log| log);
    }

    pub fn kill_others(&self) {
        self.kill(|log| !log);
    }

    fn kill(&self, which: impl Fn(bool) -> bool) {
        for carried in &*self.carried.lock().unwrap() {
            if which(carried.log.load(Ordering::SeqCst)) {
                carried.dead.store(true, Ordering::SeqCst);
            }
        }
    }
}

fn carry(mut from: TcpStream, mut into: TcpStream, this: &Carried, is_cut: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if buffer[..count].starts_with(b"watch ") {
            this.log.store(true, Ordering::SeqCst);
        }
        if is_cut.load(Ordering::SeqCst) {
            this.dead.store(true, Ordering::SeqCst);
        }
        if !this.dead.load(Ordering::SeqCst) && into.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = (into.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
