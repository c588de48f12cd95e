//! `seen`, `sign-out`, `forget`: each user on its own; one that fails stops none of the others.

use std::io::{self, IsTerminal};

use chrono::Utc;
use last_seen::{Error, Result, Tracker};
use serde::Serialize;

use crate::{
    Exit, json,
    out::{Out, print_raw},
    table::Table,
    text, view, words,
};

/// One of the three.
struct Write {
    /// As JSON and a screen call it if there was something to do.
    done: [&'static str; 2],
    /// In "alice not recorded".
    participle: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    user: &'a str,
    result: &'static str,
    error: Option<&'a Error>,
}

pub(crate) fn seen(tracker: &Tracker, users: &[String], verbose: bool, out: &mut Out) -> u8 {
    let write = Write { done: ["recorded", "recorded"], participle: "recorded" };
    each(users, verbose, &write, out, |user| tracker.seen(user).map(|()| true), |_| None)
}

pub(crate) fn sign_out(tracker: &Tracker, users: &[String], verbose: bool, out: &mut Out) -> u8 {
    let write = Write { done: ["signed_out", "offline"], participle: "signed out" };
    let verbose = verbose || out.view.width.is_some();
    each(
        users,
        verbose,
        &write,
        out,
        |user| tracker.sign_out(user),
        |user| {
            // What was not read again is not said.
            let (presence, now) = (tracker.presence(user).ok()?, Utc::now());
            let window = i64::try_from(tracker.settings().online_timeout().as_secs()).ok()?;
            let age = now.timestamp() - presence.last_seen?.timestamp();
            Some(match view::ago(&presence, now) {
                ago if presence.online => format!("seen again {ago}"),
                ago if age <= window + 60 => format!("last seen set to {ago}"),
                ago => format!("last seen {ago}"),
            })
        },
    )
}

/// Asks on a terminal, where somebody may have mistyped.
pub(crate) fn forget(tracker: &Tracker, users: &[String], force: bool, verbose: bool, out: &mut Out) -> u8 {
    if !force && out.view.width.is_some() && io::stdin().is_terminal() && !confirmed(tracker, users) {
        out.remark("nothing was deleted");
        return Exit::NO;
    }
    let write = Write { done: ["deleted", "deleted"], participle: "deleted" };
    let verbose = verbose || out.view.width.is_some();
    each(users, verbose, &write, out, |user| tracker.forget(user), |_| None)
}

fn confirmed(tracker: &Tracker, users: &[String]) -> bool {
    let servers = words::servers(tracker.settings());
    let servers: Vec<&str> = servers.iter().map(|server| words::short(server)).collect();
    let whose = match users {
        [user] => format!("record of {}", text::escape(user)),
        users => format!("records of {} users", users.len()),
    };
    print_raw(&format!("Delete the last-seen {whose} on {}? [y/N] ", servers.join(", ")));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn each(
    users: &[String],
    verbose: bool,
    write: &Write,
    out: &mut Out,
    mut command: impl FnMut(&str) -> Result<bool>,
    detail: impl Fn(&str) -> Option<String>,
) -> u8 {
    let [result, word] = write.done;
    let mut table = Table::plain(2);
    let (mut failures, mut found) = (Vec::new(), false);
    for user in users {
        let done = command(user);
        found |= *done.as_ref().unwrap_or(&false);
        if out.json {
            let result = done.as_ref().map_or("failed", |done| if *done { result } else { "no_record" });
            json::line(out, &Line { user, result, error: done.as_ref().err() });
        }
        match done {
            Ok(true) if verbose => {
                let detail = detail(user).map(|detail| format!(" ({detail})")).unwrap_or_default();
                table.row(vec![user.as_str().into(), (word.to_owned() + &detail).into()]);
            }
            Ok(false) if verbose => table.row(vec![user.as_str().into(), "no record".into()]),
            Ok(_) => {}
            Err(error) => failures.push((user, error)),
        }
    }
    if !out.json {
        table.lines(out.view).iter().for_each(|line| out.line(line));
        for (user, error) in &failures {
            let why = words::of_user(error).unwrap_or_else(|| words::sentence(error));
            out.report(&format!("{} not {}: {why}", text::escape(user), write.participle));
        }
        if !failures.is_empty() && users.len() > 1 {
            let done = users.len() - failures.len();
            out.report(&format!("{done} of {} users {}", users.len(), write.participle));
        }
    }
    Exit::of(failures.len(), users.len(), if found || users.is_empty() { Exit::DONE } else { Exit::NO })
}
