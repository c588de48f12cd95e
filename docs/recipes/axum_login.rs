use axum::{
    Form, Router,
    extract::State,
    http::{StatusCode, request::Parts},
    routing::post,
};
use axum_login::{
    AuthManagerLayerBuilder, AuthUser,
    tower_sessions::{SessionManagerLayer, SessionStore},
};
use last_seen::{AsyncTracker, Recorder, SeenLayer};

use crate::backend::{Backend, Credentials}; // your `AuthnBackend`

type AuthSession = axum_login::AuthSession<Backend>;

pub fn app(
    pages: Router,
    sessions: impl SessionStore + Clone,
    backend: Backend,
    recorder: Recorder,
    tracker: AsyncTracker,
) -> Router {
    let auth = AuthManagerLayerBuilder::new(backend, SessionManagerLayer::new(sessions)).build();
    let signs = Router::new().route("/sign-in", post(sign_in)).route("/sign-out", post(sign_out));
    // The layer that is added last runs first: authentication, then the sighting.
    pages
        .layer(SeenLayer::new(recorder.clone(), identify))
        .merge(signs.with_state((recorder, tracker)))
        .layer(auth)
}

fn identify(parts: &Parts) -> Option<i64> {
    parts.extensions.get::<AuthSession>()?.user.as_ref().map(AuthUser::id)
}

async fn sign_in(
    State((recorder, _)): State<(Recorder, AsyncTracker)>,
    mut session: AuthSession,
    Form(credentials): Form<Credentials>,
) -> StatusCode {
    let Ok(Some(user)) = session.authenticate(credentials).await else { return StatusCode::UNAUTHORIZED };
    if session.login(&user).await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    recorder.seen(user.id()); // when this request began, nobody was signed in
    StatusCode::NO_CONTENT
}

async fn sign_out(
    State((_, tracker)): State<(Recorder, AsyncTracker)>,
    mut session: AuthSession,
) -> StatusCode {
    let Ok(Some(user)) = session.logout().await else { return StatusCode::UNAUTHORIZED };
    if let Err(error) = tracker.sign_out(user.id()).await {
        eprintln!("sign-out not recorded: {error}"); // the user goes offline by `online_timeout`
    }
    StatusCode::NO_CONTENT
}
