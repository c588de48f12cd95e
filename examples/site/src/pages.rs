//! What is answered.

use std::convert::Infallible;

use askama::Template;
use axum::{
    Extension, Form, Json,
    extract::State,
    http::{StatusCode, header},
    response::{
        Html, IntoResponse, Redirect, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use axum_extra::extract::cookie::CookieJar;
use futures_util::{Stream, stream};
use last_seen::Error;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    Site,
    board::{Row, Update},
    session::{self, User},
};

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    user: Option<String>,
    refusal: Option<String>,
    rows: Vec<Row>,
    online: usize,
    known: bool,
    plot: String,
}

impl Site {
    /// The page with what the cache says now, in one round trip; whom it cannot tell of is unknown.
    async fn page(&self, user: Option<String>, refusal: Option<String>) -> Response {
        let users = self.board.users();
        let presences = self.tracker.presences(&users).await;
        let rows: Vec<Row> =
            users.iter().zip(presences).map(|(user, presence)| Row::new(user, presence.ok())).collect();
        let online = rows.iter().filter(|row| row.state == "online").count();
        let (now, _) = self.board.subscribe();
        let known = now.known && rows.iter().all(|row| row.state != "unknown");
        let plot = plot(&now.history.unwrap_or_default());
        let status = if refusal.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        match (Page { user, refusal, rows, online, known, plot }).render() {
            Ok(page) => (status, Html(page)).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// The points of the line in a box of 359 by 60; none while there is no line yet.
fn plot(history: &[usize]) -> String {
    if history.len() < 2 {
        return String::new();
    }
    let most = history.iter().copied().max().unwrap_or(0).max(1);
    let step = 359.0 / (history.len() - 1) as f64;
    let point =
        |(sample, &count): (usize, &usize)| format!("{:.1},{}", sample as f64 * step, 58 - count * 56 / most);
    history.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

pub(crate) async fn home(State(site): State<Site>, user: Option<Extension<User>>) -> Response {
    site.page(user.map(|Extension(User(user))| user), None).await
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
    match site.tracker.seen(&user).await {
        Err(error @ Error::InvalidUser(_)) => return site.page(None, Some(error.to_string())).await,
        // A cache that cannot be reached is no reason to fail a request.
        Err(error) => eprintln!("not recorded: {error}"),
        Ok(()) => {}
    }
    site.board.add(&user);
    (session::begin(cookies, &user), Redirect::to("/")).into_response()
}

pub(crate) async fn sign_out(
    State(site): State<Site>,
    user: Option<Extension<User>>,
    cookies: CookieJar,
) -> impl IntoResponse {
    if let Some(Extension(User(user))) = user
        && let Err(error) = site.tracker.sign_out(user).await
    {
        eprintln!("sign-out not recorded: {error}");
    }
    (session::end(cookies), Redirect::to("/"))
}

/// Where events cannot pass: the whole state, asked for again and again.
pub(crate) async fn state(State(site): State<Site>) -> Json<Update> {
    Json(site.board.subscribe().0)
}

pub(crate) async fn events(State(site): State<Site>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (whole, updates) = site.board.subscribe();
    // The whole state first, and the feed from the same moment on.
    let stream = stream::unfold((Some(whole), updates), move |(first, updates)| {
        let site = site.clone();
        async move {
            if let Some(whole) = first {
                return Some((event(&whole), (None, updates)));
            }
            let mut updates: Receiver<Update> = updates?;
            match updates.recv().await {
                Ok(update) => Some((event(&update), (None, Some(updates)))),
                Err(RecvError::Lagged(_)) => {
                    let (whole, updates) = site.board.subscribe();
                    Some((event(&whole), (None, updates)))
                }
                Err(RecvError::Closed) => None,
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn event(update: &Update) -> Result<Event, Infallible> {
    Ok(Event::default().json_data(update).unwrap_or_else(|_| Event::default().comment("not shown")))
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
