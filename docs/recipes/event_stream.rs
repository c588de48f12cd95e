use std::convert::Infallible;

use axum::{
    Extension, Router,
    extract::State,
    response::{Sse, sse::Event},
    routing::get,
};
use futures_util::{Stream, StreamExt};
use last_seen::Recorder;

use crate::backend::{User, news}; // what your authentication inserts, and your events

pub fn app(recorder: Recorder) -> Router {
    Router::new().route("/events", get(events)).with_state(recorder)
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
