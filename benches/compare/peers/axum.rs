//! The axum sites of the comparison: the same app without the layer, with it, with the layer and no user in the
//! request, and with one write to memcached in each request. Says where each listens, and serves until its
//! standard input ends. `measure.py` asks.
//!
//! The handler does nothing: with a real one the layer weighs less.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};

fn main() {
    let Ok(server) = std::env::var("MEMCACHE_SERVERS") else {
        return println!("run benches/compare/run, which asks these sites");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let tracker = Tracker::connect(&server).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let app = Router::new().route("/", get(async || "ok"));
    let layer = SeenLayer::new(recorder.clone(), identify);
    let idle = SeenLayer::new(recorder.clone(), |_: &Parts| None::<String>);
    let asynchronous = middleware::from_fn_with_state(AsyncTracker::from(tracker.clone()), write);
    let blocking = middleware::from_fn_with_state(tracker, write_blocking);
    let layers = [app.clone(), app.clone().layer(layer), app.clone().layer(idle)];
    let writes = [app.clone().layer(asynchronous), app.layer(blocking)];
    for app in layers.into_iter().chain(writes) {
        println!("{}", runtime.block_on(serve(app)));
    }
    std::io::stdin().lines().for_each(drop);
    // Everyone was recorded, or the figures say nothing.
    recorder.flush().unwrap();
    let stats = recorder.stats();
    assert!(stats.dropped + stats.invalid_users + stats.failed_writes == 0, "{stats:?}");
}

async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

fn identify(parts: &Parts) -> Option<String> {
    Some(parts.headers.get("user")?.to_str().ok()?.to_owned())
}

async fn write(State(tracker): State<AsyncTracker>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(user) = identify(&parts) {
        tracker.seen(user).await.unwrap();
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn write_blocking(State(tracker): State<Tracker>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(user) = identify(&parts) {
        tracker.seen(user).unwrap();
    }
    next.run(Request::from_parts(parts, body)).await
}
