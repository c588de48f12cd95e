//! `seen`, `sign-out`, `forget`: each user on its own; one that fails stops none of the others.

use last_seen::{Error, Result, Tracker};

use crate::{Answer, DONE, FAILED, out::Out, text};

pub(crate) fn seen(tracker: &Tracker, users: &[String], out: &mut Out) -> Answer {
    each(users, out, |user, _| tracker.seen(user))
}

pub(crate) fn sign_out(tracker: &Tracker, users: &[String], out: &mut Out) -> Answer {
    each(users, out, |user, _| tracker.sign_out(user).map(drop))
}

/// Says whether there was a record: it is the one thing that can be asked only once.
pub(crate) fn forget(tracker: &Tracker, users: &[String], out: &mut Out) -> Answer {
    each(users, out, |user, out| {
        let there = tracker.forget(user)?;
        out.line(&format!("{}: {}", text::plain(user), if there { "forgotten" } else { "no record" }));
        Ok(())
    })
}

fn each(users: &[String], out: &mut Out, mut verb: impl FnMut(&str, &mut Out) -> Result<()>) -> Answer {
    let mut code = DONE;
    for user in users {
        let Err(error) = verb(user, out) else { continue };
        code = FAILED;
        match &error {
            // Of these the server knows, and the user has to be named.
            Error::Unavailable { .. } | Error::Server { .. } if users.len() > 1 => {
                out.complain(&format!("{user}: {}", text::chain(&error)));
            }
            _ => out.complain_of(&error),
        }
    }
    Ok(code)
}
