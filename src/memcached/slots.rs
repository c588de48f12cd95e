//! The connections that one server may have from this process at a time. The client crate counts them too,
//! but reports its full pool in the same words as a silent server.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

#[derive(Debug)]
pub(super) struct Slots {
    count: Mutex<Count>,
    returned: Condvar,
}

#[derive(Debug)]
struct Count {
    free: usize,
    waiting: usize,
}

impl Slots {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { count: Mutex::new(Count { free: count, waiting: 0 }), returned: Condvar::new() })
    }

    /// A slot, or `None` where all are in use until then.
    pub(super) fn take(self: Arc<Self>, until: Instant) -> Option<Slot> {
        let mut count = self.lock();
        while count.free == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            count.waiting += 1;
            count = self.returned.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
            count.waiting -= 1;
        }
        count.free -= 1;
        drop(count);
        Some(Slot(self))
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.free += 1;
        let waited_for = count.waiting > 0;
        drop(count);
        // A system call, also where nobody waits.
        if waited_for {
            self.0.returned.notify_one();
        }
    }
}
