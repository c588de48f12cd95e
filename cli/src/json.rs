//! One object a line.

use chrono::{DateTime, Utc};
use last_seen::{Error, Presence};
use serde::Serialize;

use crate::{out::Out, text, view::rfc3339};

/// A user as every command writes one.
#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    status: &'static str,
    last_seen: Option<String>,
    age_s: Option<i64>,
    error: Option<&'a Error>,
}

/// A server that is down, in a list of users.
#[derive(Serialize)]
struct Down<'a> {
    server: &'a str,
    status: &'static str,
    error: &'a Error,
}

pub(crate) fn line(out: &mut Out, object: &impl Serialize) {
    match serde_json::to_string(object) {
        Ok(json) => out.line(&text::escape_json(&json)),
        Err(error) => out.fail(error.into()),
    }
}

pub(crate) fn status(presence: Option<&Presence>) -> &'static str {
    match presence {
        Some(presence) if presence.online => "online",
        Some(_) => "offline",
        None => "unknown",
    }
}

pub(crate) fn user(out: &mut Out, user: &str, presence: &last_seen::Result<Presence>, now: DateTime<Utc>) {
    let (known, error) = (presence.as_ref().ok(), presence.as_ref().err());
    let last_seen = known.and_then(|presence| presence.last_seen);
    let age_s = last_seen.map(|at| (now.timestamp() - at.timestamp()).max(0));
    line(out, &User { user, status: status(known), last_seen: last_seen.map(rfc3339), age_s, error });
}

pub(crate) fn down(out: &mut Out, error: &Error) {
    line(out, &Down { server: error.server().unwrap_or_default(), status: "down", error });
}
