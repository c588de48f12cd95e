//! For tests of interleavings: an operation on the store in memory waits for its turn, and may fail.

use std::{
    cell::Cell,
    task::{Context, Poll},
};

use crate::error::{Error, Result};

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done, and the program ends.
    Ends,
}

thread_local! {
    pub(crate) static FATE: Cell<Fate> = const { Cell::new(Fate::Answered) };
    pub(crate) static ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Around each operation of the store in memory: waits for its turn.
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
