//! What a page shows, and what of that has changed.

use std::collections::HashMap;

use last_seen::{RosterUser, Status};
use serde::Serialize;

use crate::{
    history::Sample,
    presence::State,
    query::{Query, Show},
};

/// Offline for longer is only counted, unless it is asked for.
const RECENT: i64 = 24 * 3_600;

/// A number, and when it was true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    pub(crate) count: usize,
    pub(crate) at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    /// Nothing yet.
    Loading,
    /// Everything, as it is now.
    Live,
    /// The users of the servers that are up.
    Partial,
    /// No server answers.
    Outage,
    /// Updates were lost, or a server is back: its users are being read.
    Rereading,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) since: i64,
    pub(crate) error: Option<String>,
}

/// What is true of all users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) known: Known,
    pub(crate) in_memory: bool,
    /// The number of servers in the settings. `servers` has those that a change has named.
    pub(crate) total: usize,
    pub(crate) servers: Vec<Server>,
    /// How many are online, of the servers that are up; `None` while no server answers.
    pub(crate) online: Option<usize>,
    pub(crate) online_last_known: Option<Counted>,
    /// Whether nobody is missing from `online`.
    pub(crate) complete: bool,
    /// The state in words; during an outage, since when.
    pub(crate) says: String,
    pub(crate) since: Option<i64>,
}

impl Summary {
    pub(crate) fn new(state: &State) -> Self {
        let server = |server: last_seen::RosterServer| Server {
            name: server.name.to_owned(),
            up: server.error.is_none(),
            since: server.since.timestamp(),
            error: server.error.map(last_seen::Error::reason),
        };
        let servers: Vec<Server> = state.roster.servers().map(server).collect();
        let down = servers.iter().filter(|server| !server.up).count();
        let complete = state.ready && state.roster.is_complete();
        let known = match down {
            _ if down == state.servers => Known::Outage,
            _ if !state.ready => Known::Loading,
            0 if complete => Known::Live,
            0 => Known::Rereading,
            _ => Known::Partial,
        };
        let online = (!matches!(known, Known::Loading | Known::Outage)).then(|| state.roster.online());
        let online_last_known = state.last_known.filter(|_| known == Known::Outage);
        let total = state.servers;
        let says = match known {
            Known::Loading => "Loading…".to_owned(),
            Known::Live if state.in_memory => "Live · in memory: only this process".to_owned(),
            Known::Live => "Live".to_owned(),
            Known::Rereading => "Reading all users again…".to_owned(),
            Known::Partial => format!("{down} of {total} servers down since"),
            Known::Outage if total == 1 => "memcached is down since".to_owned(),
            Known::Outage => format!("all {total} servers are down since"),
        };
        let since = servers.iter().filter(|server| !server.up).map(|server| server.since);
        let since = if known == Known::Outage { since.max() } else { since.min() };
        let in_memory = state.in_memory;
        Self { known, in_memory, total, servers, online, online_last_known, complete, says, since }
    }
}

impl Summary {
    /// How many servers are up, and why the first of the others is not.
    pub(crate) fn up(&self) -> String {
        let down = self.servers.iter().filter(|server| !server.up).count();
        match self.known {
            Known::Loading => "–".to_owned(),
            _ if self.in_memory => "this process".to_owned(),
            _ => format!("{} of {} up", self.total - down, self.total),
        }
    }

    pub(crate) fn error(&self) -> String {
        let down = self.servers.iter().find_map(|server| Some((&server.name, server.error.as_ref()?)));
        match down {
            Some((_, error)) if self.total == 1 => error.clone(),
            Some((name, error)) => format!("{name}: {error}"),
            None => String::new(),
        }
    }
}

/// One user, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) status: Status,
    pub(crate) last_seen: Option<i64>,
    /// Of a user who is unknown: what was known last, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) was: Option<(Status, i64)>,
}

impl Row {
    fn new(user: &RosterUser) -> Self {
        let was = (user.status != user.last_known).then(|| (user.last_known, user.since.timestamp()));
        let (last_seen, status) = (user.last_seen.map(|at| at.timestamp()), user.status);
        Self { user: user.user.to_owned(), status, last_seen, was }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) all: usize,
    pub(crate) online: usize,
    pub(crate) offline: usize,
    pub(crate) unknown: usize,
}

/// The numbers of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Numbers {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    pub(crate) counts: Counts,
    /// What goes before a count of who is online or offline.
    pub(crate) about: &'static str,
    /// How many are found; `rows` has the first of them.
    pub(crate) found: usize,
    /// How many more were offline for so long that they are not among them.
    pub(crate) older: usize,
    /// What is said where there is no row, and what to do next.
    pub(crate) empty: Option<String>,
}

impl Numbers {
    fn empty(&self, query: &Query) -> Option<String> {
        let (q, counts) = (&query.q, self.counts);
        let unknown = match counts.unknown {
            0 => String::new(),
            unknown => format!(" {unknown} are unknown."),
        };
        Some(match (self.summary.known, query.show) {
            _ if self.found > 0 => return None,
            (Known::Loading, _) => return None,
            (Known::Outage, _) if counts.all == 0 => {
                "No server answers, and nobody is known. Is memcached running there? It is tried again and again."
                    .to_owned()
            }
            _ if counts.all == 0 && self.summary.in_memory => {
                "Nobody has been seen yet. Sign in above; to see whom other programs record, start the site with \
                 LAST_SEEN_SERVERS=127.0.0.1:11211."
                    .to_owned()
            }
            _ if counts.all == 0 => {
                "Nobody has been seen yet. Sign in above, or run: last-seen seen alice".to_owned()
            }
            (_, Show::All) if q.is_empty() => "Nobody was seen within the last day.".to_owned(),
            (_, Show::All) => format!("No user matches “{q}”."),
            (Known::Live, show) if q.is_empty() && counts.unknown == 0 => format!("Nobody is {}.", show.word()),
            (_, Show::Unknown) if q.is_empty() => "Nobody is unknown.".to_owned(),
            (_, show) if q.is_empty() => format!("Nobody is known to be {}.{unknown}", show.word()),
            _ => format!("No user who is {} matches “{q}”.", query.show.word()),
        })
    }
}

/// What a page shows.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) at: i64,
    pub(crate) numbers: Numbers,
    pub(crate) rows: Vec<Row>,
    pub(crate) history: Vec<Sample>,
    /// The time of the newest sample that there is.
    pub(crate) last_sample: i64,
}

impl View {
    pub(crate) fn new(state: &State, query: &Query, after: i64, at: i64) -> Self {
        let (mut counts, mut older, mut found) = (Counts::default(), 0, Vec::new());
        let mut of_an_outage = false;
        let folded = query.q.to_lowercase();
        for user in state.roster.iter() {
            // Whose record is gone is nobody to show.
            if user.last_seen.is_none() && user.last_known == Status::Offline {
                continue;
            }
            counts.all += 1;
            of_an_outage |= user.status != user.last_known;
            match user.status {
                Status::Online => counts.online += 1,
                Status::Offline => counts.offline += 1,
                _ => counts.unknown += 1,
            }
            if !query.matches(&user, &folded) {
                continue;
            }
            let long_ago = user.last_seen.is_some_and(|seen| seen.timestamp() < at - RECENT);
            if query.show == Show::All && folded.is_empty() && user.status == Status::Offline && long_ago {
                older += 1;
            } else {
                found.push(user);
            }
        }
        let (length, limit) = (found.len(), query.limit());
        if length > limit {
            found.select_nth_unstable_by(limit, |a, b| query.compare(a, b));
            found.truncate(limit);
        }
        found.sort_unstable_by(|a, b| query.compare(a, b));
        let rows = found.iter().map(Row::new).collect();
        let summary = Summary::new(state);
        let about = match summary.known {
            Known::Live => "",
            // A lost update may be a sign-out.
            Known::Rereading if !of_an_outage => "about ",
            _ => "≥ ",
        };
        let mut numbers = Numbers { summary, counts, about, found: length, older, empty: None };
        numbers.empty = numbers.empty(query);
        let (history, last_sample) = (state.history.after(after), state.history.last().unwrap_or_default());
        Self { at, numbers, rows, history, last_sample }
    }

    /// All of it.
    pub(crate) fn snapshot(&self) -> Update<'_> {
        let (removed, rows) = (Vec::new(), self.rows.iter().collect());
        let numbers = Some(&self.numbers);
        let Self { at, ref history, last_sample, .. } = *self;
        Update { at, snapshot: true, numbers, rows, removed, history, last_sample }
    }

    /// What a page lacks that shows another one.
    pub(crate) fn since<'a>(&'a self, before: &'a Self) -> Update<'a> {
        let mut gone: HashMap<&str, &Row> = before.rows.iter().map(|row| (&*row.user, row)).collect();
        let rows = self.rows.iter().filter(|row| gone.remove(&*row.user) != Some(row)).collect();
        let removed = gone.into_keys().collect();
        let numbers = (self.numbers != before.numbers).then_some(&self.numbers);
        let Self { at, ref history, last_sample, .. } = *self;
        Update { at, snapshot: false, numbers, rows, removed, history, last_sample }
    }
}

/// What a page is sent: what has changed, or all of it. Times are Unix seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Update<'a> {
    at: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(flatten)]
    numbers: Option<&'a Numbers>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<&'a Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    history: &'a [Sample],
    #[serde(skip)]
    pub(crate) last_sample: i64,
}

impl Update<'_> {
    /// Whether it tells nothing but the time.
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_none() && self.rows.is_empty() && self.removed.is_empty() && self.history.is_empty()
    }
}
