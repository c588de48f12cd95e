use axum::{
    Extension, Router,
    extract::{
        State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
};
use last_seen::{OnlineGuard, Recorder};

use crate::backend::User; // inserted by your authentication layer

pub fn app(recorder: Recorder) -> Router {
    Router::new().route("/socket", get(open)).with_state(recorder)
}

async fn open(
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
