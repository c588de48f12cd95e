//! `show`: a page of users in one round trip a server.

use chrono::Utc;
use last_seen::{Presence, Result, Tracker};

use crate::{
    Exit, json,
    out::Out,
    users::{Known, Users},
    words,
};

pub(crate) fn show(tracker: &Tracker, users: &[String], quiet: bool, out: &mut Out) -> u8 {
    let presences = tracker.presences(users);
    let now = Utc::now();
    match (quiet, out.json) {
        (true, _) => {}
        (_, true) => {
            for (user, presence) in users.iter().zip(&presences) {
                json::user(out, user, presence, now);
            }
        }
        _ => print(users, &presences, now, out),
    }
    exit(&presences)
}

fn print(users: &[String], presences: &[Result<Presence>], now: chrono::DateTime<Utc>, out: &mut Out) {
    let mut table = Users::new(out.view, now, true);
    for (user, presence) in users.iter().zip(presences) {
        table.add(user, &known(presence));
    }
    table.lines().iter().for_each(|line| out.line(line));
    let errors = presences.iter().filter_map(|presence| presence.as_ref().err());
    // The others are in their rows.
    let errors: Vec<_> = errors.filter(|error| words::of_user(error).is_none()).collect();
    let more = match presences.iter().any(Result::is_ok) {
        false => ". Is memcached running?".to_owned(),
        true => format!(" ({} of {} users unknown)", errors.len(), users.len()),
    };
    errors.into_iter().for_each(|error| out.report_once(error, &more));
}

pub(crate) fn known(presence: &Result<Presence>) -> Known {
    match presence {
        Ok(presence) => Known::Is(*presence),
        Err(error) => Known::Unknown(words::of_user(error)),
    }
}

fn exit(presences: &[Result<Presence>]) -> u8 {
    let unknown = presences.iter().filter(|presence| presence.is_err()).count();
    let known = match presences {
        [Ok(presence)] if !presence.online => Exit::NO,
        _ => Exit::DONE,
    };
    Exit::of(unknown, presences.len(), known)
}
