use std::sync::Arc;

use last_seen::Recorder;
use poem::{
    Endpoint, EndpointExt, Request, Result, Route,
    session::{CookieConfig, CookieSession, Session},
};

pub fn app(pages: Route, recorder: Recorder) -> impl Endpoint {
    pages
        // What is added last runs first: the session, then the sighting.
        .around(move |pages, request| record(recorder.clone(), pages, request))
        .with(CookieSession::new(CookieConfig::default().secure(true)))
}

async fn record<E: Endpoint>(recorder: Recorder, pages: Arc<E>, request: Request) -> Result<E::Output> {
    let session = request.extensions().get::<Session>();
    if let Some(user) = session.and_then(|session| session.get::<String>("user")) {
        recorder.seen(user);
    }
    pages.call(request).await
}
