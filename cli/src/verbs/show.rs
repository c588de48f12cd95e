//! `show`: a page of users in one round trip a server.

use last_seen::{Presence, Result, Tracker};

use crate::{
    Answer, DONE, FAILED, OFFLINE, ONLINE, json,
    out::Out,
    table::{self, Table},
};

pub(crate) fn show(tracker: &Tracker, users: &[String], json: bool, out: &mut Out) -> Answer {
    let presences = tracker.presences(users);
    if json {
        for (user, presence) in users.iter().zip(&presences) {
            json::presence(out, user, presence);
        }
    } else {
        let mut table = Table::new(&table::PRESENCE);
        for (user, presence) in users.iter().zip(&presences) {
            table.row(table::presence(user, presence.as_ref().ok()));
        }
        table.print(out);
        for error in presences.iter().filter_map(|presence| presence.as_ref().err()) {
            out.complain_of(error);
        }
    }
    Ok(code(&presences))
}

fn code(presences: &[Result<Presence>]) -> u8 {
    match presences {
        [Ok(presence)] if presence.online => ONLINE,
        [Ok(_)] => OFFLINE,
        presences if presences.iter().any(Result::is_err) => FAILED,
        _ => DONE,
    }
}
