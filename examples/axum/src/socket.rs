//! `/socket`: a WebSocket keeps its user online for as long as it is open. To open one, sign in and enter this in the
//! browser's console: `socket = new WebSocket("/socket")`.

use std::time::Duration;

use axum::{
    Extension,
    body::Bytes,
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use last_seen::{OnlineGuard, Recorder};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::User;

#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) recorder: Recorder,
    /// Changes when the site is about to stop. Each open socket has a clone.
    pub(crate) stopping: watch::Receiver<()>,
    /// How often a client is pinged. One that does not answer two in a row is gone.
    pub(crate) ping_interval: Duration,
}

pub(crate) async fn open(
    State(sockets): State<Sockets>,
    user: Option<Extension<User>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(Extension(User(user))) = user else { return StatusCode::UNAUTHORIZED.into_response() };
    // Made before the upgrade, so that a sign-out meanwhile ends it.
    let guard = sockets.recorder.keep_online(user);
    upgrade.on_upgrade(move |socket| hold(socket, guard, sockets.stopping, sockets.ping_interval))
}

/// Holds the guard until the client closes the connection or stops answering, the user signs out, or the site stops.
async fn hold(
    mut socket: WebSocket,
    guard: OnlineGuard,
    mut stopping: watch::Receiver<()>,
    ping_interval: Duration,
) {
    let mut pings = interval(ping_interval);
    // By default a program that was suspended would make up for its pings at once, with no time to answer them.
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;
    let (code, reason) = loop {
        tokio::select! {
            biased; // What has arrived is read before the next ping.
            () = guard.wait_ended() => break (close_code::POLICY, "signed out"),
            _ = stopping.changed() => break (close_code::AWAY, "the site stops"),
            message = socket.recv() => match message {
                Some(Ok(_)) => unanswered = 0, // a pong, or anything else
                Some(Err(_)) | None => return,
            },
            _ = pings.tick() => {
                // A network that is gone closes no connection. Not after one ping: a program that was suspended
                // may hear of the time before it hears of the answer.
                if unanswered == 2 {
                    return;
                }
                unanswered += 1;
                let ping = socket.send(Message::Ping(Bytes::new()));
                if !matches!(timeout(ping_interval, ping).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    };
    // Closed by both sides: a client that does not read must not hold it open.
    let close = async {
        socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await?;
        while socket.recv().await.transpose()?.is_some() {}
        Ok::<_, axum::Error>(())
    };
    drop(timeout(ping_interval, close).await);
}
