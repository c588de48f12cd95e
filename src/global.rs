//! The program's tracker, for code that has no place to keep one.

use once_cell::sync::OnceCell;

use crate::{error::Result, tracker::Tracker};

static GLOBAL: OnceCell<Tracker> = OnceCell::new();

/// Returns the program's tracker: the one given to [`set_global`], or else one created from the environment at the first
/// call, as by [`Tracker::from_env`].
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # last_seen::set_global(last_seen::Tracker::in_memory()).expect("set once");
/// last_seen::global()?.seen("alice")?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Returns [`Error::Settings`](crate::Error::Settings), at each call, if an environment variable cannot be used.
pub fn global() -> Result<&'static Tracker> {
    GLOBAL.get_or_try_init(Tracker::from_env)
}

/// Makes this the program's tracker, which [`global`] returns from then on.
///
/// ```
/// use last_seen::{Settings, Tracker, set_global};
///
/// let settings = Settings::default().with_servers(["memory:"]);
/// set_global(Tracker::new(settings)?).expect("called once, before `global`");
/// # Ok::<(), last_seen::Error>(())
/// ```
///
/// # Errors
/// Returns the tracker if the program has one already.
pub fn set_global(tracker: Tracker) -> Result<(), Tracker> {
    GLOBAL.set(tracker)
}
