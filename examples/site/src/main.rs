//! A site that shows live who of its users is online. `cargo run -p site`, then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached, and the page shows everyone who is seen by any
//! other program that shares it, those of a Django site among them (`LAST_SEEN_FORMAT=django`,
//! `LAST_SEEN_KEY_PREFIX=:1:seen_` and `LAST_SEEN_TIME_ZONE`). Stop memcached, and the page says that it does not know.
//! With `SITE_HISTORY=FILE` the plot outlives a restart of the site.
//!
//! Everyone who opens the page sees all names, the servers' addresses, the key prefix and the errors, signed in or not. Let
//! only those who may see them reach `/`, `/events` and `/state`.

mod feed;
mod guard;
mod history;
mod page;
mod pages;
mod plot;
mod presence;
mod query;
mod session;
#[path = "../../axum/src/shutdown.rs"]
mod shutdown;
mod view;

use std::sync::Arc;

use axum::{
    Router,
    http::request::Parts,
    middleware,
    routing::{get, post},
};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};

use presence::PresenceState;
use session::User;

#[derive(Clone)]
struct Site {
    tracker: AsyncTracker,
    presence: Arc<PresenceState>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    let recorder = Recorder::new(tracker.clone());
    let history = std::env::var_os("SITE_HISTORY").map(Into::into);
    let presence = Arc::new(PresenceState::new(tracker.settings(), history)?);
    let site = Site { tracker: tracker.into(), presence: presence.clone() };
    let watch = site.tracker.watch().await?;
    tokio::spawn({
        let presence = presence.clone();
        async move { presence.follow(watch).await }
    });
    let app = Router::new()
        .route("/", get(pages::home))
        .route("/sign-in", post(pages::sign_in))
        .route("/sign-out", post(pages::sign_out))
        .layer(SeenLayer::new(recorder.clone(), identify))
        // Below the layer, so not recorded: a page is open, but nobody need be before it.
        .route("/events", get(pages::events))
        .route("/state", get(pages::state))
        .route("/health", get(|| async { "ok" }))
        .route("/site.css", get(pages::style))
        .route("/site.js", get(pages::script))
        .route("/favicon.svg", get(pages::icon))
        .route("/favicon-unknown.svg", get(pages::icon_of_unknown))
        .layer(middleware::from_fn(session::authenticate))
        .layer(middleware::from_fn(guard::protect))
        .with_state(site);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let end_events = async { presence.close() };
    shutdown::serve(listener, app, end_events).await?;
    // Writes what is queued, and blocks while it does.
    if let Err(error) = tokio::task::spawn_blocking(move || recorder.close()).await? {
        eprintln!("the last sightings are lost: {error}");
    }
    Ok(())
}

/// Request code: the layer records whom this names.
fn identify(parts: &Parts) -> Option<String> {
    parts.extensions.get::<User>().map(|user| user.0.clone())
}
