//! The watch: an iterator over the changes of all servers.

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    change::Change,
    feed::Feed,
    follower::{Follower, Source},
    hub::Hub,
    local::Local,
    pace::Intervals,
};
use crate::{
    error::{Error, Result},
    record::Key,
    store::Hook,
    tracker::Tracker,
};

/// Who is online, and who comes and goes: from [`Tracker::watch`], to be applied to a [`Roster`](crate::Roster).
///
/// As an iterator it waits for the next change and never ends. A reader who is slow loses nothing and makes nothing
/// grow: beyond a thousand changes that wait, a user who is seen again and again becomes one change, read when the reader
/// has caught up. Dropping it closes its connections at once and ends its threads.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// use std::time::Duration;
/// use last_seen::Change;
/// # let tracker = last_seen::Tracker::in_memory();
/// let mut watch = tracker.watch()?;
/// # tracker.seen("alice")?;
/// while let Some(change) = watch.next_timeout(Duration::from_millis(200)) {
///     match change {
///         Change::Online { user, .. } => println!("{user} is here"),
///         Change::Offline { user, .. } => println!("{user} is gone"),
///         Change::ServerDown { error, .. } => eprintln!("{error}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Watch {
    hub: Arc<Hub>,
    /// The hook of the in-memory store, which calls it as long as it lives.
    _hook: Option<Arc<Hook>>,
}

impl Watch {
    pub(super) fn start(tracker: &Tracker, intervals: Intervals) -> Result<Self> {
        let (store, settings) = (tracker.store(), tracker.settings());
        let servers = store.remotes();
        let hub = Arc::new(Hub::new(servers.len().max(1)));
        // From here on an error drops `watch`, which closes what was opened.
        let mut watch = Self { hub, _hook: None };
        if servers.is_empty() {
            let (sender, keys) = mpsc::channel();
            let hook: Arc<Hook> = Arc::new(move |key: &Key| drop(sender.send(key.clone())));
            store.hook(Arc::downgrade(&hook));
            watch._hook = Some(hook);
            let source = Local { tracker: tracker.clone(), keys };
            spawn(Follower::new(source, 0, &watch.hub, intervals, settings))?;
        }
        for (place, server) in servers.into_iter().enumerate() {
            let source = Feed::new(server, tracker, &watch.hub);
            spawn(Follower::new(source, place, &watch.hub, intervals, settings))?;
        }
        Ok(watch)
    }

    /// Returns the next change, waited for at most for `timeout`; `None` if there was none. For threads that have to look
    /// up now and then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Change> {
        self.hub.wait(Instant::now().checked_add(timeout))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }
}

fn spawn<S: Source + Send + 'static>(follower: Follower<S>) -> Result<()> {
    let thread = thread::Builder::new().name("last-seen-watch".to_owned());
    thread.spawn(move || follower.run()).map(drop).map_err(Error::no_thread)
}

impl Iterator for Watch {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        self.hub.wait(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::{SocketAddr, TcpListener, TcpStream},
        sync::Mutex,
    };

    use chrono::Utc;

    use super::*;
    use crate::{
        memcached::{Lookup, Memcached},
        settings::{Servers, Settings},
        store::Store,
        who::roster::{Roster, Status},
    };

    /// Starts a fake memcached with one user, who was just seen.
    fn server_of(user: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(user, &stream));
            }
        });
        address
    }

    fn answer(user: &str, mut stream: &TcpStream) {
        for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
            let (key, now) = (format!("seen_{user}"), Utc::now().timestamp());
            let words: Vec<&str> = line.split(' ').collect();
            let answer = match words[..] {
                ["version"] => "VERSION 1.6.45\r\n".to_owned(),
                ["stats"] => format!("STAT time {now}\r\nEND\r\n"),
                ["watch", ..] => "OK\r\n".to_owned(),
                ["lru_crawler", ..] => format!("key={key} exp=-1 la={now} size=60\nEND\r\n"),
                ["get", ref keys @ ..] if keys.contains(&key.as_str()) => {
                    format!("VALUE {key} 0 10\r\n{now}\r\nEND\r\n")
                }
                _ => "END\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    }

    #[test]
    fn a_name_that_moves_takes_calls_list_and_watch_along() {
        let address = Arc::new(Mutex::new(server_of("alice")));
        let now = address.clone();
        let lookup: Lookup = Arc::new(move |_, _| Ok(vec![*now.lock().unwrap()]));
        let settings =
            Settings::default().with_servers(["cache.test"]).with_server_timeout(Duration::from_secs(2));
        let Servers::Memcached(servers) = settings.check().unwrap() else { panic!("a server") };
        let often = crate::memcached::Intervals {
            resolve: Duration::from_millis(100),
            idle: Duration::from_secs(60),
        };
        let store = Store::Memcached(Memcached::with(servers, &settings, &lookup, often).unwrap());
        let tracker = Tracker::on(store, settings.clone(), settings.codec().unwrap());
        let mut watch = Watch::start(&tracker, Intervals::REAL).unwrap();
        let mut roster = Roster::default();
        let mut knows = |here: &str, gone: &str| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while roster.get(here).is_none_or(|user| user.status != Status::Online)
                || roster.get(gone).is_some_and(|user| user.status != Status::Offline)
                || !roster.is_complete()
            {
                assert!(Instant::now() < deadline, "{roster:?}");
                if let Some(change) = watch.next_timeout(Duration::from_millis(50)) {
                    roster.apply(&change);
                }
            }
        };
        knows("alice", "bob");
        *address.lock().unwrap() = server_of("bob");
        knows("bob", "alice");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !tracker.online("bob").unwrap() {
            assert!(Instant::now() < deadline);
        }
        let listed = tracker.online_users().unwrap().complete().unwrap();
        assert_eq!(listed.iter().map(|online| &*online.user).collect::<Vec<_>>(), ["bob"]);
    }
}
