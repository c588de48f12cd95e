//! What the command line does, a file for each command.

pub(crate) mod completions;
pub(crate) mod inspect;
pub(crate) mod servers;
pub(crate) mod show;
pub(crate) mod watch;
pub(crate) mod who;
pub(crate) mod write;
