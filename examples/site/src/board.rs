//! What the page shows, kept from one feed and handed to every open page.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{Change, Presence, Roster, Status, Tracker};
use serde::Serialize;
use tokio::sync::broadcast;

/// A page that falls behind by as many is sent the whole state.
const BACKLOG: usize = 256;

/// How long users stay on the page who are offline.
const KEEP: Duration = Duration::from_secs(24 * 3_600);

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
    roster: Roster,
    /// Users of this site of whom the watch has told nothing so far.
    added: BTreeSet<String>,
    shown: BTreeMap<String, Row>,
    history: VecDeque<usize>,
    sampled: Instant,
    /// `None` when the site ends.
    pages: Option<broadcast::Sender<Update>>,
}

impl Board {
    pub(crate) fn new(online_timeout: Duration) -> Self {
        Self(Mutex::new(State {
            online_timeout,
            roster: Roster::keeping(KEEP),
            added: BTreeSet::new(),
            shown: BTreeMap::new(),
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
        let state = self.lock();
        let names: BTreeSet<&str> = state.names().collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// A user of this site, from the moment of the sign-in.
    pub(crate) fn add(&self, user: &str) {
        let mut state = self.lock();
        if state.roster.get(user).is_none() {
            state.added.insert(user.to_owned());
        }
    }

    /// The whole state, and what follows it; nothing follows when the site ends.
    pub(crate) fn subscribe(&self) -> (Update, Option<broadcast::Receiver<Update>>) {
        let state = self.lock();
        (state.whole(), state.pages.as_ref().map(broadcast::Sender::subscribe))
    }

    pub(crate) fn close(&self) {
        self.lock().pages = None;
    }

    /// Follows who comes and goes until the site ends: one `Watch`, whatever the number of open pages.
    pub(crate) fn follow(&self, tracker: &Tracker) {
        let mut watch = match tracker.watch() {
            Ok(watch) => watch,
            Err(error) => return eprintln!("nobody is followed: {error}"),
        };
        while self.lock().pages.is_some() {
            // A moment at most, so that "ago" moves on.
            let mut wait = Duration::from_millis(200);
            while let Some(change) = watch.next_timeout(wait) {
                // The others of the same batch are here already.
                wait = Duration::ZERO;
                self.apply(&change);
            }
            self.publish();
        }
    }

    fn apply(&self, change: &Change) {
        let mut state = self.lock();
        match change {
            Change::Online { user, .. } | Change::Offline { user, .. } => {
                state.added.remove(&**user);
            }
            Change::ServerDown { error, .. } => eprintln!("{error}"),
            _ => {}
        }
        state.roster.apply(change);
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
    fn names(&self) -> impl Iterator<Item = &str> {
        self.roster.iter().map(|user| user.user).chain(self.added.iter().map(String::as_str))
    }

    fn known(&self) -> bool {
        self.roster.servers().all(|server| server.error.is_none())
    }

    /// As the roster has them; who was added is offline, or unknown.
    fn rows(&self) -> Vec<Row> {
        let (now, known) = (Utc::now(), self.known());
        let row = |user: &str| {
            let (last_seen, status) =
                self.roster.get(user).map_or((None, Status::Offline), |user| (user.last_seen, user.status));
            let presence = Presence::at(last_seen, now, self.online_timeout);
            Row::new(user, (known && status != Status::Unknown).then_some(presence))
        };
        let names: BTreeSet<&str> = self.names().collect();
        names.into_iter().map(row).collect()
    }

    fn whole(&self) -> Update {
        let rows = self.rows();
        let online = rows.iter().filter(|row| row.state == "online").count();
        let history = Some(self.samples(online));
        Update { rows, online, known: self.known(), history }
    }

    fn samples(&self, online: usize) -> Vec<usize> {
        self.history.iter().copied().chain([online]).collect()
    }
}
