//! What an open page is sent.

use std::time::Duration;

use axum::response::sse::Event;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Site,
    query::Query,
    view::{Update, View},
};

/// A page is sent what has changed at most so often.
const PACE: Duration = Duration::from_secs(1);

/// And so often at least: a page that hears nothing for longer shows that it has lost the site.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// After so long a page that has lost the site tries again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Feed {
    site: Site,
    query: Query,
    /// `None` when the site ends.
    changed: Option<watch::Receiver<u64>>,
    shown: Option<View>,
    /// The last sample that the page has from before.
    resumed: i64,
    sent: Instant,
}

impl Feed {
    pub(crate) fn new(site: Site, query: Query, resumed: i64) -> Self {
        let changed = site.presence.subscribe();
        Self { site, query, changed, shown: None, resumed, sent: Instant::now() }
    }

    /// A snapshot first, and from then on what has changed of what the page shows.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let changed = self.changed.as_mut()?;
        let Some(shown) = &mut self.shown else {
            changed.mark_unchanged();
            let view = self.site.presence.view(&self.query, self.resumed);
            let event = event(&view.snapshot()).retry(RETRY);
            (self.shown, self.sent) = (Some(view), Instant::now());
            return Some(event);
        };
        let mut looked = self.sent;
        loop {
            sleep_until(looked + PACE).await;
            let rest = (self.sent + HEARTBEAT).duration_since(Instant::now());
            let quiet = match timeout(rest, changed.changed()).await {
                Ok(Err(_)) => return None,
                Ok(Ok(())) => false,
                Err(_) => true,
            };
            let view = self.site.presence.view(&self.query, shown.last_sample);
            looked = Instant::now();
            let update = view.since(shown);
            if quiet || !update.is_empty() {
                let event = event(&update);
                (*shown, self.sent) = (view, looked);
                return Some(event);
            }
        }
    }
}

/// Named by its last sample: a page that has lost the site says so when it is back, and is sent those that it lacks.
fn event(update: &Update) -> Event {
    Event::default()
        .id(update.last_sample.to_string())
        .json_data(update)
        .unwrap_or_else(|_| Event::default().comment("not shown"))
}
