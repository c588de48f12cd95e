//! What the page shows, kept from one feed and handed to every open page.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{Error, Presence, Result, Tracker, Watch};
use serde::Serialize;
use tokio::sync::broadcast;

/// A page that falls behind by as many is sent the whole state.
const BACKLOG: usize = 256;

/// The plot shows an hour at most.
const SAMPLE: Duration = Duration::from_secs(10);
const SAMPLES: usize = 360;

/// One user, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) ago: String,
    /// `online`, `offline` or `unknown`.
    pub(crate) state: &'static str,
}

impl Row {
    /// The three answers, told apart.
    pub(crate) fn new(user: &str, presence: Option<Presence>) -> Self {
        let (ago, state) = match presence {
            Some(presence) => {
                (presence.ago().to_string(), if presence.online { "online" } else { "offline" })
            }
            None => ("unknown".to_owned(), "unknown"),
        };
        Self { user: user.to_owned(), ago, state }
    }

    /// What stands under *Online*.
    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            "online" => "True",
            "offline" => "False",
            _ => "unknown",
        }
    }
}

/// What a page is sent: the rows that changed, or all of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Update {
    pub(crate) rows: Vec<Row>,
    pub(crate) online: usize,
    /// Whether the cache answers.
    pub(crate) known: bool,
    /// How many were online, every ten seconds of the last hour; not sent where it is as before.
    pub(crate) history: Option<Vec<usize>>,
}

#[derive(Debug)]
pub(crate) struct Board(Mutex<State>);

#[derive(Debug)]
struct State {
    online_timeout: Duration,
    users: BTreeMap<String, Presence>,
    shown: BTreeMap<String, Row>,
    known: bool,
    history: VecDeque<usize>,
    sampled: Instant,
    /// `None` when the site ends.
    pages: Option<broadcast::Sender<Update>>,
}

impl Board {
    pub(crate) fn new(online_timeout: Duration) -> Self {
        Self(Mutex::new(State {
            online_timeout,
            users: BTreeMap::new(),
            shown: BTreeMap::new(),
            known: true,
            history: VecDeque::new(),
            sampled: Instant::now(),
            pages: Some(broadcast::channel(BACKLOG).0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone whom the page has heard of.
    pub(crate) fn users(&self) -> Vec<String> {
        self.lock().users.keys().cloned().collect()
    }

    /// A user of this site, from the moment of the sign-in.
    pub(crate) fn add(&self, user: &str) {
        self.lock().users.entry(user.to_owned()).or_default();
    }

    /// The whole state, and what follows it; nothing follows when the site ends.
    pub(crate) fn subscribe(&self) -> (Update, Option<broadcast::Receiver<Update>>) {
        let state = self.lock();
        (state.whole(), state.pages.as_ref().map(broadcast::Sender::subscribe))
    }

    pub(crate) fn close(&self) {
        self.lock().pages = None;
    }

    /// Follows the feed until the site ends: one `Watch`, whatever the number of open pages.
    pub(crate) fn follow(&self, tracker: &Tracker) {
        match tracker.online_users() {
            Ok(online) => {
                let users: Vec<String> = online.into_iter().map(|(user, _)| user).collect();
                self.read(tracker, &users);
            }
            Err(error) => eprintln!("who is online was not listed: {error}"),
        }
        let mut watch = tracker.watch().inspect_err(|error| eprintln!("no feed, so users are read: {error}"));
        let mut last_read = Instant::now();
        while self.lock().pages.is_some() {
            self.hear(watch.as_mut().ok());
            let lost = !self.lock().known;
            // A feed that broke off may have missed somebody: all are read when the cache is back.
            if (lost || watch.is_err()) && last_read.elapsed() >= Duration::from_secs(1) {
                let users = self.users();
                self.read(tracker, &users);
                last_read = Instant::now();
            }
            self.publish();
        }
    }

    /// Waits for the next events of the feed, a moment at most: users go offline by the clock, too.
    fn hear(&self, watch: Option<&mut Watch>) {
        let moment = Duration::from_millis(200);
        let Some(watch) = watch else { return std::thread::sleep(moment) };
        let mut wait = moment;
        while let Some(event) = watch.next_timeout(wait) {
            // The others of the same piece are here already.
            wait = Duration::ZERO;
            match event {
                Ok((user, presence)) => drop(self.lock().users.insert(user, presence)),
                Err(error) => {
                    eprintln!("{error}");
                    self.lock().known = false;
                }
            }
        }
    }

    fn read(&self, tracker: &Tracker, users: &[String]) {
        let presences: Vec<Result<Presence>> = tracker.presences(users);
        let mut state = self.lock();
        state.known = presences.iter().all(|one| !matches!(one, Err(Error::Unavailable { .. })))
            && (!users.is_empty() || tracker.server_status().iter().all(|server| server.info.is_ok()));
        for (user, presence) in users.iter().zip(presences) {
            if let Ok(presence) = presence {
                state.users.insert(user.clone(), presence);
            }
        }
    }

    /// Sends what has changed to every open page.
    fn publish(&self) {
        let mut state = self.lock();
        let whole = state.whole();
        let is_new = |row: &&Row| state.shown.get(&row.user) != Some(row);
        let rows: Vec<Row> = whole.rows.iter().filter(is_new).cloned().collect();
        let mut sampled = false;
        while state.sampled.elapsed() >= SAMPLE {
            state.sampled += SAMPLE;
            state.history.push_back(whole.online);
            sampled = true;
        }
        while state.history.len() >= SAMPLES {
            state.history.pop_front();
        }
        if rows.is_empty() && !sampled {
            return;
        }
        let history = sampled.then(|| state.samples(whole.online));
        state.shown.extend(rows.iter().map(|row| (row.user.clone(), row.clone())));
        if let Some(pages) = &state.pages {
            // Without an open page there is nobody to hear it.
            let _ = pages.send(Update { rows, history, ..whole });
        }
    }
}

impl State {
    /// Online or not by the clock of this moment, whenever the presence was read.
    fn rows(&self) -> Vec<Row> {
        let now = Utc::now();
        let row = |(user, presence): (&String, &Presence)| {
            let presence = Presence::at(presence.last_seen, now, self.online_timeout);
            Row::new(user, self.known.then_some(presence))
        };
        self.users.iter().map(row).collect()
    }

    fn whole(&self) -> Update {
        let rows = self.rows();
        let online = rows.iter().filter(|row| row.state == "online").count();
        let history = Some(self.samples(online));
        Update { rows, online, known: self.known, history }
    }

    fn samples(&self, online: usize) -> Vec<usize> {
        self.history.iter().copied().chain([online]).collect()
    }
}
