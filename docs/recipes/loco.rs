use async_trait::async_trait;
use axum::{Router, http::request::Parts};
use last_seen::{Recorder, SeenLayer};
use loco_rs::{
    Error, Result,
    app::{AppContext, Initializer},
    controller::extractor::auth::extract_jwt_from_request_parts,
};

/// To be returned by `Hooks::initializers`.
pub struct LastSeen;

#[async_trait]
impl Initializer for LastSeen {
    fn name(&self) -> String {
        "last-seen".to_owned()
    }

    async fn after_routes(&self, router: Router, context: &AppContext) -> Result<Router> {
        let recorder = Recorder::new(last_seen::global().map_err(Error::wrap)?.clone());
        context.shared_store.insert(recorder.clone());
        let context = context.clone();
        let identify = move |parts: &Parts| {
            let token = extract_jwt_from_request_parts(parts, &context).ok()?;
            Some(token.claims.pid)
        };
        Ok(router.layer(SeenLayer::new(recorder, identify)))
    }
}

/// To be called in `Hooks::on_shutdown`, which runs while requests are still open: `close` would drop theirs.
pub async fn on_shutdown(context: &AppContext) {
    let Some(recorder) = context.shared_store.get::<Recorder>() else { return };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || recorder.flush()).await {
        eprintln!("sightings are not written yet: {error}");
    }
}
