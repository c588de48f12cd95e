//! What README.md shows of axum: it compiles, and records who makes a request.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

// --- snippet ---
// cargo add last-seen --features tokio,tower
use axum::{Router, middleware, routing::get};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};

fn site(tracker: Tracker, recorder: Recorder) -> Router {
    let seen = SeenLayer::new(recorder, |parts| {
        parts.extensions.get::<User>().map(|user| user.id) // None: not recorded
    });
    Router::new()
        .route("/", get(home)) // a handler: tracker.presence(id).await
        .layer(seen)
        .layer(middleware::from_fn(authenticate)) // yours: inserts User; added later, it runs first
        .with_state(AsyncTracker::from(tracker))
}
// --- end ---

#[derive(Clone)]
struct User {
    id: u64,
}

async fn authenticate(mut request: Request, next: Next) -> Response {
    let cookie = request.headers().get("cookie").and_then(|cookie| cookie.to_str().ok());
    if let Some(id) = cookie.and_then(|cookie| cookie.strip_prefix("user=")?.parse().ok()) {
        request.extensions_mut().insert(User { id });
    }
    next.run(request).await
}

async fn home(State(tracker): State<AsyncTracker>) -> String {
    format!("{:?}", tracker.presence(7).await.map(|presence| presence.online))
}

#[test]
fn the_readme_records_who_makes_a_request() {
    let tracker = Tracker::in_memory();
    let app = site(tracker.clone(), Recorder::new(tracker));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { axum::serve(listener, app).await });
    let ask = |cookie: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET / HTTP/1.0\r\n{cookie}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(ask(""), "Ok(false)");
    assert_eq!(ask("cookie: user=8\r\n"), "Ok(false)");
    assert_eq!(ask("cookie: user=7\r\n"), "Ok(true)");
    assert_eq!(ask(""), "Ok(true)");
}
