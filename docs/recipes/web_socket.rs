use std::convert::Infallible;

use axum::{
    Extension, Router,
    extract::{
        State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    response::{Response, Sse, sse::Event},
    routing::get,
};
use futures_util::{Stream, StreamExt};
use last_seen::{OnlineGuard, Recorder};

use crate::backend::{User, news}; // what your authentication inserts, and your events

/// Without a `SeenLayer`: a request that opens a stream is recorded by `keep_online`.
pub fn streams(recorder: Recorder) -> Router {
    Router::new().route("/socket", get(socket)).route("/events", get(events)).with_state(recorder)
}

async fn socket(
    State(recorder): State<Recorder>,
    Extension(User(user)): Extension<User>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let guard = recorder.keep_online(user);
    upgrade.on_upgrade(|socket| serve(socket, guard))
}

/// The user is online for as long as the guard lives.
async fn serve(mut socket: WebSocket, guard: OnlineGuard) {
    loop {
        tokio::select! {
            () = guard.wait_ended() => return, // signed out
            message = socket.recv() => match message {
                Some(Ok(message)) => println!("{message:?}"), // your protocol
                _ => return,
            },
        }
    }
}

async fn events(
    State(recorder): State<Recorder>,
    Extension(User(user)): Extension<User>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let guard = recorder.keep_online(user);
    let events = news().map(|text| Ok(Event::default().data(text)));
    // The stream ends with a sign-out, and the guard with the stream.
    Sse::new(events.take_until(async move { guard.wait_ended().await }))
}
