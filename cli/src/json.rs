//! One object a line.

use last_seen::Presence;
use serde::Serialize;

use crate::{out::Out, text};

/// A user as every verb writes one.
#[derive(Serialize)]
pub(crate) struct User<'a> {
    pub(crate) user: &'a str,
    #[serde(flatten)]
    pub(crate) presence: &'a Presence,
}

/// A user, or a server, of whom nothing is known now.
#[derive(Serialize)]
pub(crate) struct Unknown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<&'a str>,
    pub(crate) error: String,
}

pub(crate) fn line(out: &mut Out, object: &impl Serialize) {
    match serde_json::to_string(object) {
        Ok(json) => out.line(&text::plain_json(&json)),
        Err(error) => out.fail(error.into()),
    }
}

pub(crate) fn presence(out: &mut Out, user: &str, presence: &last_seen::Result<Presence>) {
    match presence {
        Ok(presence) => line(out, &User { user, presence }),
        Err(error) => line(out, &Unknown { user: Some(user), server: None, error: text::chain(error) }),
    }
}
