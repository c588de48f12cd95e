//! Runs a recorder's hook on a separate thread, because the hook may be slow and may panic.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::{self, JoinHandle},
};

use super::RecorderEvent;

pub(super) type OnFlush = Box<dyn Fn(&[RecorderEvent]) + Send>;

/// Number of batches that fit in the channel. While it is full, later events are collected in one further batch.
const BATCHES: usize = 4;

pub(super) struct Hook {
    batches: Option<SyncSender<Vec<RecorderEvent>>>,
    thread: Option<JoinHandle<()>>,
    /// Events for which the channel had no room.
    backlog: Vec<RecorderEvent>,
    /// Maximum number of events in the backlog.
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

    /// Passes the events of a flush to the hook. Never blocks.
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

    /// Waits until the hook has processed all events.
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
        // After a panic the hook is called again, with later events. Keeping its own state valid is up to the hook.
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
