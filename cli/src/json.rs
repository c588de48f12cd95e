//! One object a line.

use chrono::{DateTime, Utc};
use last_seen::{Error, Presence};
use serde::Serialize;

use crate::{out::Out, text};

/// A user as every verb writes one.
#[derive(Serialize)]
struct User<'a> {
    user: &'a str,
    status: &'static str,
    last_seen: Option<DateTime<Utc>>,
    age_s: Option<i64>,
    error: Option<&'a Error>,
}

pub(crate) fn line(out: &mut Out, object: &impl Serialize) {
    match serde_json::to_string(object) {
        Ok(json) => out.line(&text::plain_json(&json)),
        Err(error) => out.fail(error.into()),
    }
}

pub(crate) fn presence(out: &mut Out, user: &str, presence: &last_seen::Result<Presence>) {
    let (last_seen, status) = match presence {
        Ok(presence) => (presence.last_seen, if presence.online { "online" } else { "offline" }),
        Err(_) => (None, "unknown"),
    };
    let age_s = last_seen.map(|at| (Utc::now().timestamp() - at.timestamp()).max(0));
    line(out, &User { user, status, last_seen, age_s, error: presence.as_ref().err() });
}
