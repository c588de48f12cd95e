//! The live feed, as its reader sees it.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    feed::{Follower, LOG_TIMEOUT, TOO_MANY},
    inbox::{CAPACITY, Inbox, PIECE, Taken},
};
use crate::{
    error::{Error, Result},
    presence::Presence,
    record::Key,
    store::Hook,
    tracker::Tracker,
};

/// Users that could not be read back are tried again after as long.
const RETRY: Duration = Duration::from_millis(500);

/// The live feed of who comes and goes, from [`Tracker::watch`].
///
/// As an iterator it waits for the next event and never ends. Events wait in the feed until they are asked
/// for, up to 100,000 users: one that is stored again meanwhile is one event, and its presence is read when
/// it is given out. So a reader that is slow gets fewer events, not old ones.
///
/// Dropping it closes its connections at once and ends its threads.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// use std::time::Duration;
/// # let tracker = last_seen::Tracker::in_memory();
/// let mut watch = tracker.watch()?;
/// # tracker.seen("alice")?;
/// while let Some(event) = watch.next_timeout(Duration::from_millis(200)) {
///     match event {
///         Ok((user, presence)) => println!("{user}: {}", if presence.online { "here" } else { "gone" }),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Watch {
    tracker: Tracker,
    inbox: Arc<Inbox>,
    /// The store in this process calls it as long as it is here.
    _hook: Arc<Hook>,
    ready: VecDeque<Result<(String, Presence)>>,
    unread: Vec<Arc<str>>,
    retry: Option<Instant>,
}

impl Watch {
    pub(super) fn start(tracker: &Tracker) -> Result<Self> {
        let (store, settings) = (tracker.store(), tracker.settings());
        let (prefix, timeout) = (settings.key_prefix().to_owned(), settings.server_timeout());
        let servers = store.remotes();
        let inbox = Arc::new(Inbox::new(servers.iter().map(|server| server.name().to_owned())));

        let (stored, skip) = (Arc::clone(&inbox), prefix.len());
        let hook: Arc<Hook> = Arc::new(move |key: &Key| stored.push([&key.as_str()[skip..]]));
        store.hook(Arc::downgrade(&hook));

        // From here on a failure closes what was opened.
        let (ready, unread) = (VecDeque::new(), Vec::new());
        let watch = Self { tracker: tracker.clone(), inbox, _hook: hook, ready, unread, retry: None };
        for (place, server) in servers.iter().enumerate() {
            let inbox = Arc::clone(&watch.inbox);
            let follower = Follower { server: server.clone(), place, prefix: prefix.clone(), inbox };
            thread::Builder::new()
                .name("last-seen-watch".to_owned())
                .spawn(move || follower.run())
                .map_err(Error::no_thread)?;
        }
        // Two dials and two answers.
        for place in watch.inbox.unanswered(LOG_TIMEOUT + timeout * 4) {
            let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
            watch.inbox.lost(place, Error::unavailable(servers[place].name(), silent));
        }
        let refusal =
            |error: &Error| matches!(error, Error::Server { message, .. } if !message.starts_with(TOO_MANY));
        watch.inbox.news(refusal).map_or(Ok(watch), Err)
    }

    /// The next event, waited for at most for `timeout`, and the time that reading it back takes; `None`
    /// where none came. For threads that have to look up now and then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<(String, Presence)>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// How many stores were lost at most: those that the servers logged and could not send, of any key of
    /// any program, and those that came while 100,000 users waited in the feed. Up to a second late. What was
    /// stored while a server was not followed is not counted; the error told of it.
    pub fn missed(&self) -> u64 {
        self.inbox.missed()
    }

    /// How many keys with the prefix were stored whose rest is no user: no UTF-8, or with a blank or control
    /// byte. They are no events.
    pub fn skipped(&self) -> u64 {
        self.inbox.skipped()
    }

    /// What ends it, and what counts.
    #[cfg(feature = "tokio")]
    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Result<(String, Presence)>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.retry.is_some_and(|retry| retry <= Instant::now()) {
                self.read_again();
                continue;
            }
            match self.inbox.take(deadline.into_iter().chain(self.retry).min()) {
                Taken::News(error) => return Some(Err(error)),
                Taken::Names(names) => self.read(&names),
                Taken::Nothing if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return None,
                Taken::Nothing => {}
                Taken::Closed => return None,
            }
        }
    }

    fn read_again(&mut self) {
        self.retry = None;
        for piece in std::mem::take(&mut self.unread).chunks(PIECE) {
            self.read(piece);
        }
        if self.unread.is_empty() {
            self.inbox.readable();
        }
    }

    fn read(&mut self, names: &[Arc<str>]) {
        let mut failed: Vec<(String, Error)> = Vec::new();
        for (name, presence) in names.iter().zip(self.tracker.presences(names)) {
            match presence {
                Ok(presence) => self.ready.push_back(Ok((name.to_string(), presence))),
                Err(error) => match &error {
                    Error::Unavailable { server, .. } | Error::Server { server, .. } => {
                        if !failed.iter().any(|(known, _)| known == server) {
                            failed.push((server.clone(), error));
                        }
                        match self.unread.len() < CAPACITY {
                            true => self.unread.push(Arc::clone(name)),
                            false => self.inbox.miss(1),
                        }
                    }
                    _ => self.ready.push_back(Err(error)),
                },
            }
        }
        for (server, error) in failed {
            self.inbox.unreadable(&server, &error);
            self.retry = Some(Instant::now() + RETRY);
        }
    }
}

impl Iterator for Watch {
    type Item = Result<(String, Presence)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("tracker", &self.tracker).finish_non_exhaustive()
    }
}
