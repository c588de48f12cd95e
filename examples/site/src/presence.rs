//! Who is online, kept by one watch for all open pages.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use chrono::Utc;
use last_seen::{AsyncWatch, Change, Roster, Settings, Status};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    history::{History, STEP, Sample},
    query::Query,
    view::{Counted, Summary, View},
};

#[derive(Debug)]
pub(crate) struct PresenceState {
    state: RwLock<State>,
    /// Tells every open page that something has changed. Each looks for itself at what that means for what it shows, so
    /// that a page that is slow holds up nobody. `None` when the site ends.
    changed: Mutex<Option<watch::Sender<u64>>>,
    /// What is shown under *Records*: before the user in a key, and the servers.
    pub(crate) prefix: String,
    pub(crate) places: String,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) roster: Roster,
    pub(crate) history: History,
    /// How many servers the settings name.
    pub(crate) servers: usize,
    pub(crate) in_memory: bool,
    /// Whether the watch has told everyone who was online when it began.
    pub(crate) ready: bool,
    /// How many were online when everything was known the last time.
    pub(crate) last_known: Option<Counted>,
}

impl PresenceState {
    pub(crate) fn new(settings: &Settings, history: Option<PathBuf>) -> std::io::Result<Self> {
        // A comma in an address is encoded; what may be secret in it is not shown.
        let servers = settings.servers().iter().flat_map(|list| list.split(',')).map(str::trim);
        let servers: Vec<&str> = servers.filter(|server| !server.is_empty()).collect();
        let host = |server: &&str| {
            let server = server.split('?').next().unwrap_or_default();
            server.rsplit('@').next().unwrap_or_default().to_owned()
        };
        let places = servers.iter().map(host).collect::<Vec<_>>().join(", ");
        let state = State {
            // As long as the records are kept.
            roster: Roster::keeping(settings.last_seen_timeout()),
            history: History::open(history, Utc::now().timestamp())?,
            servers: servers.len(),
            in_memory: servers == ["memory:"],
            ready: false,
            last_known: None,
        };
        let (state, changed) = (RwLock::new(state), Mutex::new(Some(watch::Sender::new(0))));
        Ok(Self { state, changed, prefix: settings.key_prefix().to_owned(), places })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a page shows now, with the samples after a time.
    pub(crate) fn view(&self, query: &Query, after: i64) -> View {
        View::new(&self.read(), query, after, Utc::now().timestamp())
    }

    /// Tells of every change from now on; nothing when the site ends.
    pub(crate) fn subscribe(&self) -> Option<watch::Receiver<u64>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(watch::Sender::subscribe)
    }

    pub(crate) fn close(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until the watch has reported the user, for a second at most: the next page shows it.
    pub(crate) async fn wait_for(&self, user: &str, status: Status) {
        let is_so = || self.read().roster.get(user).is_some_and(|user| user.status == status);
        let told = async {
            let Some(mut changed) = self.subscribe() else { return };
            while !is_so() && changed.changed().await.is_ok() {}
        };
        let _ = timeout(Duration::from_secs(1), told).await;
    }

    /// Follows who comes and goes: one watch for all open pages.
    pub(crate) async fn follow(&self, mut watch: AsyncWatch) {
        loop {
            let now = Utc::now();
            let next = (now.timestamp() / STEP + 1) * STEP * 1_000 - now.timestamp_millis();
            let sample = sleep(Duration::from_millis(next.unsigned_abs()));
            tokio::pin!(sample);
            loop {
                tokio::select! {
                    change = watch.next() => match change {
                        Some(change) => self.apply(&change),
                        None => return,
                    },
                    () = &mut sample => break,
                }
            }
            self.sample();
        }
    }

    fn apply(&self, change: &Change) {
        let mut state = self.write();
        match change {
            Change::ServerDown { error, .. } => eprintln!("{error}"),
            Change::Ready { .. } => state.ready = true,
            _ => {}
        }
        let (complete, count) = (state.roster.is_complete(), state.roster.online());
        state.roster.apply(change);
        // By an outage, or by lost updates.
        if complete && !state.roster.is_complete() {
            state.last_known = Some(Counted { count, at: Utc::now().timestamp() });
        }
        drop(state);
        self.tell();
    }

    fn sample(&self) {
        let mut state = self.write();
        let Summary { online, complete, .. } = Summary::new(&state);
        // The clock may have been set back.
        let at = Utc::now().timestamp() / STEP * STEP;
        if state.history.last().is_some_and(|last| last >= at) {
            return;
        }
        let written = state.history.push(Sample(at, online, complete));
        drop(state);
        self.tell();
        if let Some(write) = written {
            spawn_blocking(|| write().unwrap_or_else(|error| eprintln!("the history is not kept: {error}")));
        }
    }

    fn tell(&self) {
        if let Some(changed) = &*self.changed.lock().unwrap_or_else(PoisonError::into_inner) {
            changed.send_modify(|changes| *changes += 1);
        }
    }
}
