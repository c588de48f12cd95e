use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use last_seen::Recorder;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

pub fn app(pages: Router, recorder: Recorder) -> Router {
    let sessions = SessionManagerLayer::new(MemoryStore::default());
    // The layer that is added last runs first: the session, then the sighting.
    pages.layer(middleware::from_fn_with_state(recorder, record)).layer(sessions)
}

/// A middleware in place of `SeenLayer`, whose `identify` cannot await the session.
async fn record(
    State(recorder): State<Recorder>,
    session: Session,
    request: Request,
    next: Next,
) -> Response {
    if let Ok(Some(user)) = session.get::<String>("user").await {
        recorder.seen(user);
    }
    next.run(request).await
}
