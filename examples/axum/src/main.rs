//! axum: `SeenLayer` records, `AsyncTracker` answers. Then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached; stop it, and the page says so.
//!
//! A WebSocket to `/socket` keeps its user online for as long as it is open, without a request: `socket.rs`. `/metrics` is
//! for Prometheus: `metrics.rs`.
//!
//! `Tracker` has no place in an async handler: it blocks the thread, and with it every other request there, as
//! long as memcached takes to answer. `AsyncTracker` has the same verbs and waits without.

mod metrics;
#[path = "../../page/mod.rs"]
mod page;
mod shutdown;
mod socket;

use std::time::Duration;

use axum::{
    Extension, Form, Router,
    extract::{Request, State},
    http::{StatusCode, request::Parts},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use last_seen::{AsyncTracker, Error, Recorder, SeenLayer, Tracker};
use serde::Deserialize;
use tokio::sync::watch;

use socket::Sockets;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    let recorder = Recorder::new(tracker.clone());
    let (stop, stopping) = watch::channel(());
    // A user whose network is gone goes offline within two windows; and proxies end what is silent for a minute.
    let ping_interval = (tracker.settings().online_timeout() / 3).min(Duration::from_secs(30));
    let sockets = Sockets { recorder: recorder.clone(), stopping, ping_interval };
    let monitored = (recorder.clone(), AsyncTracker::from(tracker.clone()));
    let app = Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(SeenLayer::new(recorder.clone(), identify))
        // Added after the layer, so not recorded: a page that polls is open, but nobody need be before it.
        .route("/poll", get(poll))
        .route("/socket", get(socket::open).with_state(sockets))
        .route("/health", get(|| async { "ok" }))
        .route("/metrics", get(metrics::show).with_state(monitored))
        // The last one is the outermost: it runs before the one that records.
        .layer(middleware::from_fn(authenticate))
        .with_state(AsyncTracker::from(tracker));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    let end_sockets = async {
        stop.send_replace(());
        stop.closed().await; // until no socket is open
    };
    shutdown::serve(listener, app, end_sockets).await?;
    // Writes what is queued, and blocks while it does.
    if let Err(error) = tokio::task::spawn_blocking(move || recorder.close()).await? {
        eprintln!("the last sightings are lost: {error}");
    }
    Ok(())
}

/// Who makes the request, as the authentication leaves it in the extensions.
#[derive(Clone)]
struct User(String);

/// The authentication. A real site keeps a signed session in the cookie, not the bare name.
async fn authenticate(cookies: CookieJar, mut request: Request, next: Next) -> Response {
    if let Some(user) = cookies.get("user") {
        request.extensions_mut().insert(User(user.value().to_owned()));
    }
    next.run(request).await
}

/// Request code: the layer records whom this names.
fn identify(parts: &Parts) -> Option<String> {
    parts.extensions.get::<User>().map(|User(name)| name.clone())
}

async fn home(State(tracker): State<AsyncTracker>, user: Option<Extension<User>>) -> Html<String> {
    let user = user.as_ref().map(|Extension(User(name))| name.as_str());
    Html(page::whole(user, &table(&tracker).await))
}

async fn poll(State(tracker): State<AsyncTracker>) -> Html<String> {
    Html(table(&tracker).await)
}

/// Everyone, in one round trip.
async fn table(tracker: &AsyncTracker) -> String {
    let users = page::users();
    page::table(&users, tracker.presences(&users).await)
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(State(tracker): State<AsyncTracker>, cookies: CookieJar, form: Form<SignIn>) -> Response {
    let user = &form.user;
    // Nobody was signed in when the layer looked. Written now, so that the next page shows the user online.
    match tracker.seen(user).await {
        Err(error @ Error::InvalidUser(_)) => {
            return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
        // A cache that cannot be reached is no reason to fail a request.
        Err(error) => eprintln!("not recorded: {error}"),
        Ok(()) => {}
    }
    page::add_user(user);
    let cookie = Cookie::build(("user", user.clone())).path("/").http_only(true).same_site(SameSite::Lax);
    (cookies.add(cookie), Redirect::to("/")).into_response()
}

async fn sign_out(
    State(tracker): State<AsyncTracker>,
    user: Option<Extension<User>>,
    cookies: CookieJar,
) -> impl IntoResponse {
    if let Some(Extension(User(name))) = user
        && let Err(error) = tracker.sign_out(name).await
    {
        eprintln!("sign-out not recorded: {error}");
    }
    (cookies.remove(Cookie::build("user").path("/")), Redirect::to("/"))
}
