//! `watch`: who is online, and who comes and goes.

mod followed;
mod frame;
mod live;
mod log;
mod screen;

use std::time::Duration;

use last_seen::Tracker;

use crate::{CommandResult, out::Out};
use followed::Followed;

pub(crate) struct Options {
    /// These alone; everyone if there are none.
    pub(crate) users: Vec<String>,
    pub(crate) plain: bool,
    pub(crate) all: bool,
    pub(crate) keep: Duration,
}

pub(crate) fn watch(tracker: &Tracker, options: Options, out: &mut Out) -> CommandResult {
    let (plain, all) = (options.plain, options.all);
    let followed = Followed::new(tracker, options.users, options.keep);
    if out.view.live && !out.json && !plain {
        return live::live(tracker, followed, out);
    }
    log::log(tracker, followed, all, out)
}
