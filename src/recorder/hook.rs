//! The hook of a recorder, on a thread of its own: it may be slow, and it may panic.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::{self, JoinHandle},
};

use super::RecorderEvent;

pub(super) type OnFlush = Box<dyn Fn(&[RecorderEvent]) + Send>;

/// How many batches wait in the channel; what comes later is put together in one.
const BATCHES: usize = 4;

pub(super) struct Hook {
    batches: Option<SyncSender<Vec<RecorderEvent>>>,
    thread: Option<JoinHandle<()>>,
    /// What the channel had no room for.
    backlog: Vec<RecorderEvent>,
    /// At most as many events wait in the backlog.
    capacity: usize,
    overrun: bool,
}

impl Hook {
    pub(super) fn start(on_flush: OnFlush, capacity: usize) -> Self {
        let (batches, received) = mpsc::sync_channel(BATCHES);
        let run = move || call(&on_flush, &received);
        let thread = thread::Builder::new().name("last-seen-hook".to_owned()).spawn(run);
        let thread = thread
            .inspect_err(|error| tracing::error!(%error, "the hook has no thread: it is not called"))
            .ok();
        Self { batches: Some(batches), thread, backlog: Vec::new(), capacity, overrun: false }
    }

    /// Hands over the events of a flush. Never waits.
    pub(super) fn send(&mut self, mut events: Vec<RecorderEvent>) {
        self.backlog.append(&mut events);
        if self.backlog.is_empty() {
            return;
        }
        let batches = self.batches.as_ref();
        match batches.map(|batches| batches.try_send(std::mem::take(&mut self.backlog))) {
            Some(Err(TrySendError::Full(events))) => self.backlog = events,
            _ => self.overrun = false,
        }
        if self.backlog.len() > self.capacity {
            let lost = self.backlog.len() - self.capacity;
            self.backlog.drain(..lost);
            if !self.overrun {
                self.overrun = true;
                tracing::warn!(lost, "the hook is falling behind: dropped the oldest events");
            }
        }
    }

    /// Waits until the hook has had everything.
    pub(super) fn close(mut self) {
        if let Some(batches) = self.batches.take()
            && !self.backlog.is_empty()
        {
            let _ = batches.send(std::mem::take(&mut self.backlog));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn call(on_flush: &OnFlush, batches: &Receiver<Vec<RecorderEvent>>) {
    let mut panicked = false;
    for events in batches {
        // The hook is called again after a panic, with other events: what it keeps is its own affair.
        let failed = catch_unwind(AssertUnwindSafe(|| on_flush(&events))).is_err();
        if failed && !panicked {
            tracing::error!(events = events.len(), "the hook panicked: it may have missed these events");
        }
        panicked = failed;
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("backlog", &self.backlog.len()).finish_non_exhaustive()
    }
}
