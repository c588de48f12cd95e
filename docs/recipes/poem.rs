use std::sync::Arc;

use last_seen::Recorder;
use poem::{
    Endpoint, EndpointExt, Request, Result, Route,
    session::{CookieConfig, CookieSession, Session},
    web::cookie::{CookieKey, SameSite},
};

pub fn app(pages: Route, key: CookieKey, recorder: Recorder) -> impl Endpoint {
    // Encrypted: anyone can write the cookie of `CookieConfig::default()`, and be any user.
    let sessions = CookieConfig::private(key).same_site(SameSite::Lax);
    pages
        // What is added last runs first: the session, then the sighting.
        .around(move |pages, request| record(recorder.clone(), pages, request))
        .with(CookieSession::new(sessions))
}

async fn record<E: Endpoint>(recorder: Recorder, pages: Arc<E>, request: Request) -> Result<E::Output> {
    let session = request.extensions().get::<Session>();
    if let Some(user) = session.and_then(|session| session.get::<String>("user")) {
        recorder.seen(user);
    }
    pages.call(request).await
}
