use axum::{
    Router,
    extract::{Path, Request, State},
    http::request::Parts,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = Tracker::from_env()?; // LAST_SEEN_SERVERS=127.0.0.1:11211
    let recorder = Recorder::new(tracker.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    // On Unix: what service managers and container runtimes send.
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! { _ = ctrl_c() => {}, _ = terminate.recv() => {} }
    };
    axum::serve(listener, app(&recorder, tracker)).with_graceful_shutdown(stop).await?;
    // Writes what is queued, and blocks while it does.
    if let Err(error) = tokio::task::spawn_blocking(move || recorder.close()).await? {
        eprintln!("not written: {error}");
    }
    Ok(())
}

pub fn app(recorder: &Recorder, tracker: Tracker) -> Router {
    Router::new()
        .route("/users/{name}", get(user))
        .layer(SeenLayer::new(recorder.clone(), identify))
        // Added after the layer, so not recorded.
        .route("/health", get(|| async { "ok" }))
        // The layer that is added last runs first: authentication, then the sighting.
        .layer(from_fn(authenticate))
        .with_state(AsyncTracker::from(tracker))
}

#[derive(Clone)]
struct UserId(u64);

/// Your authentication. Here a header names the user.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let header = request.headers().get("user-id");
    if let Some(id) = header.and_then(|id| id.to_str().ok()?.parse().ok()) {
        request.extensions_mut().insert(UserId(id));
    }
    next.run(request).await
}

fn identify(parts: &Parts) -> Option<u64> {
    parts.extensions.get().map(|UserId(id)| *id)
}

async fn user(State(tracker): State<AsyncTracker>, Path(name): Path<String>) -> String {
    match tracker.presence(&name).await {
        Ok(presence) => format!("{name}: {}, online: {}", presence.ago(), presence.online),
        Err(_) => format!("{name}: unknown"),
    }
}
