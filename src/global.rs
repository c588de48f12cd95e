//! The program's tracker, for code that has no place to keep one.

use once_cell::sync::OnceCell;

use crate::{error::Result, tracker::Tracker};

static GLOBAL: OnceCell<Tracker> = OnceCell::new();

/// The program's tracker: the one given to [`set_global`], or else one made from the environment at the
/// first call, as [`Tracker::from_env`] does.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # last_seen::set_global(last_seen::Tracker::in_memory()).expect("set once");
/// last_seen::global()?.seen("alice")?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`Error::Settings`](crate::Error::Settings), each time, where the environment cannot be used.
pub fn global() -> Result<&'static Tracker> {
    GLOBAL.get_or_try_init(Tracker::from_env)
}

/// Makes this the program's tracker.
///
/// # Errors
/// Gives the tracker back where the program has one already.
pub fn set_global(tracker: Tracker) -> Result<(), Tracker> {
    GLOBAL.set(tracker)
}
