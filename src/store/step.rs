//! For tests of interleavings: each operation on the in-memory store waits for its turn, and may fail.

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use crate::error::{Error, Result};

/// What the test lets happen to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// The operation is done, but its answer is lost.
    Lost,
    /// The operation is done, and then the program ends.
    Ends,
}

thread_local! {
    pub(crate) static FATE: Cell<Fate> = const { Cell::new(Fate::Answered) };
    pub(crate) static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Runs an operation on the in-memory store after it has waited for its turn.
pub(super) async fn step<T>(operation: impl FnOnce() -> T) -> Result<T> {
    if !ACTIVE.get() {
        return Ok(operation());
    }
    let mut waited = false;
    let turn = |_: &mut Context<'_>| {
        if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    };
    std::future::poll_fn(turn).await;
    let result = operation();
    match FATE.get() {
        Fate::Lost => Err(Error::unavailable("memory:", std::io::ErrorKind::TimedOut.into())),
        _ => Ok(result),
    }
}
