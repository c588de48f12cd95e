//! What is answered.

use std::convert::Infallible;

use askama::Template;
use axum::{
    Extension, Form, Json,
    extract::{Query as Asked, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response, Sse, sse::Event},
};
use axum_extra::extract::cookie::CookieJar;
use futures_util::{Stream, stream};
use last_seen::{Error, Status};
use serde::Deserialize;

use crate::{
    Site,
    feed::Feed,
    page::Page,
    plot::Plot,
    query::Query,
    session::{self, User},
};

impl Site {
    fn page(&self, user: Option<String>, refusal: Option<String>, query: Query) -> Response {
        let view = self.presence.view(&query, 0);
        let plot = Plot::new(&view.history, view.at);
        let status = if refusal.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let (prefix, places) = (self.presence.prefix.clone(), self.presence.places.clone());
        match (Page { user, refusal, query, prefix, places, view, plot }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

pub(crate) async fn home(
    State(site): State<Site>,
    Asked(query): Asked<Query>,
    user: Option<Extension<User>>,
) -> Response {
    site.page(user.map(|Extension(User(user))| user), None, query)
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    user: String,
}

pub(crate) async fn sign_in(
    State(site): State<Site>,
    cookies: CookieJar,
    Form(SignIn { user }): Form<SignIn>,
) -> Response {
    // Nobody was signed in when the layer looked. Written now, so that the next page shows the user online.
    let next = match site.tracker.seen(&user).await {
        Err(error @ Error::InvalidUser(_)) => {
            return site.page(None, Some(error.to_string()), Query::default());
        }
        // A cache that cannot be reached is no reason to fail a request.
        Err(error) => {
            eprintln!("not recorded: {error}");
            "/?unrecorded=true"
        }
        Ok(()) => {
            site.presence.wait_for(&user, Status::Online).await;
            "/"
        }
    };
    (session::begin(cookies, &user), Redirect::to(next)).into_response()
}

pub(crate) async fn sign_out(
    State(site): State<Site>,
    user: Option<Extension<User>>,
    cookies: CookieJar,
) -> impl IntoResponse {
    if let Some(Extension(User(user))) = user {
        match site.tracker.sign_out(&user).await {
            Ok(true) => site.presence.wait_for(&user, Status::Offline).await,
            Ok(false) => {}
            Err(error) => eprintln!("sign-out not recorded: {error}"),
        }
    }
    (session::end(cookies), Redirect::to("/"))
}

/// Where events cannot pass: a snapshot, asked for again and again.
pub(crate) async fn state(State(site): State<Site>, Asked(query): Asked<Query>) -> Response {
    Json(site.presence.view(&query, 0).snapshot()).into_response()
}

/// A snapshot first, and from then on what has changed of what this page shows.
pub(crate) async fn events(
    State(site): State<Site>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
) -> ([(&'static str, &'static str); 1], Sse<impl Stream<Item = Result<Event, Infallible>>>) {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let feed = Feed::new(site, query, last.unwrap_or_default());
    let events = stream::unfold(feed, |mut feed| async { Some((Ok(feed.next().await?), feed)) });
    // nginx holds an answer back until its buffer is full, unless the answer says otherwise.
    ([("x-accel-buffering", "no")], Sse::new(events))
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../static/site.css"))
}

pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../static/site.js"))
}

pub(crate) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("../static/favicon.svg"))
}

pub(crate) async fn icon_of_unknown() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("../static/favicon-unknown.svg"))
}
