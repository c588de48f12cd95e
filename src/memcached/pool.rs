//! The connection pool of one server: its idle connections, and a limit that all callers in this process share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use event_listener::{Event, EventListener};

#[cfg(feature = "tokio")]
use super::tokio::Tokio;
use super::{blocking::Blocking, connection::Connection, link::Link};

/// Time for which a free connection is left for the callers ahead in the queue. An async caller that nobody polls does
/// not take it.
const TURN: Duration = Duration::from_millis(5);

/// Idle time after which a connection is checked before it is reused.
const CHECK_AFTER: Duration = Duration::from_millis(200);

pub(super) struct Pool {
    pub(super) limit: usize,
    /// Idle time after which a connection is closed instead of reused: the network may have dropped it silently.
    max_idle: Duration,
    state: Mutex<State>,
    released: Event,
}

#[derive(Default)]
pub(crate) struct State {
    /// Number of connections that are idle, in use or about to be opened.
    open: usize,
    waiting: usize,
    /// Incremented by [`Pool::renew`]. Connections of an earlier generation are not reused.
    generation: u64,
    pub(super) blocking: Vec<Idle<Blocking>>,
    #[cfg(feature = "tokio")]
    pub(super) asynchronous: Vec<Idle<Tokio>>,
}

pub(crate) struct Idle<L> {
    connection: Connection<L>,
    since: Instant,
}

/// The right to have one connection, which ends when the permit is dropped.
pub(super) struct Permit {
    pool: Arc<Pool>,
    generation: u64,
}

/// A permit, and an idle connection with its idle time if the pool had one.
pub(super) struct Taken<L> {
    pub(super) permit: Permit,
    pub(super) idle: Option<(Connection<L>, Duration)>,
}

impl Pool {
    pub(super) fn new(limit: usize, max_idle: Duration) -> Arc<Self> {
        Arc::new(Self { limit, max_idle, state: Mutex::default(), released: Event::new() })
    }

    /// Takes a permit without waiting. Returns `None` unless more are free than other callers wait for.
    pub(super) fn try_take<L: Link>(self: &Arc<Self>) -> Option<Taken<L>> {
        self.take_or_wait().ok()
    }

    /// Takes a permit, and waits for one if necessary, first come, first served, except that a caller who finds some free
    /// waits no longer than [`TURN`] for those ahead to take them. Returns `None` if none is free before the deadline.
    pub(super) async fn take<L: Link>(self: &Arc<Self>, until: Instant) -> Option<Taken<L>> {
        match self.take_or_wait() {
            Ok(taken) => Some(taken),
            Err(waiting) => Box::pin(waiting.wait(until)).await,
        }
    }

    fn take_or_wait<L: Link>(self: &Arc<Self>) -> Result<Taken<L>, Waiting> {
        let mut state = self.lock();
        let free = state.free(self.limit);
        if state.waiting < free
            && let Some(idle) = state.take(self.limit, self.max_idle)
        {
            return Ok(Taken { permit: self.permit(&state), idle });
        }
        state.waiting += 1;
        let listener = Some(self.released.listen());
        drop(state);
        Err(Waiting { pool: self.clone(), listener, left_to_others: free > 0 })
    }

    fn permit(self: &Arc<Self>, state: &State) -> Permit {
        Permit { pool: self.clone(), generation: state.generation }
    }

    /// Closes the idle connections. Connections in use are closed when they are given back.
    pub(super) fn renew(&self) {
        let mut state = self.lock();
        let old = mem::take(&mut *state);
        (state.open, state.waiting, state.generation) = (old.open, old.waiting, old.generation + 1);
        state.open -= old.blocking.len();
        #[cfg(feature = "tokio")]
        {
            state.open -= old.asynchronous.len();
        }
        drop(state);
        self.released.notify(old.waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns an idle connection, `Some(None)` if a new one may be opened, or `None` at the limit.
    fn take<L: Link>(
        &mut self,
        limit: usize,
        max_idle: Duration,
    ) -> Option<Option<(Connection<L>, Duration)>> {
        let belongs_here = L::belongs_here();
        let nearest = |idle: &[Idle<L>]| {
            let here = idle.iter().rposition(|idle| belongs_here(&idle.connection.link));
            here.or(idle.len().checked_sub(1))
        };
        while let Some(nth) = nearest(L::idle(self)) {
            let Idle { connection, since } = L::idle(self).remove(nth);
            let idle = since.elapsed();
            if idle < max_idle {
                return Some(Some((connection, idle)));
            }
            self.open -= 1;
        }
        // All connections of this kind (blocking or async) are in use. At the limit, an idle one of the other kind is
        // closed. `open` may briefly exceed the limit, while a connection is given back.
        if self.open >= limit && !self.close_idle() {
            return None;
        }
        self.open += 1;
        Some(None)
    }

    /// Returns how many connections are idle or may be opened.
    fn free(&self, limit: usize) -> usize {
        let idle = self.blocking.len();
        #[cfg(feature = "tokio")]
        let idle = idle + self.asynchronous.len();
        idle + limit.saturating_sub(self.open)
    }

    fn close_idle(&mut self) -> bool {
        let closed = self.blocking.pop().is_some();
        #[cfg(feature = "tokio")]
        let closed = closed || self.asynchronous.pop().is_some();
        self.open -= usize::from(closed);
        closed
    }
}

impl<L: Link> Taken<L> {
    /// Closes the idle connection if it can no longer be used.
    pub(super) async fn check(&mut self) {
        if let Some((Connection { link, .. }, idle)) = &mut self.idle
            && (link.move_here().is_err() || *idle >= CHECK_AFTER && link.check_open().await.is_err())
        {
            self.idle = None;
        }
    }
}

impl Permit {
    /// Returns the connection to the pool for the next call, or closes it if the pool was renewed meanwhile.
    pub(super) fn give_back<L: Link>(self, connection: Connection<L>) {
        let mut state = self.pool.lock();
        if state.generation == self.generation {
            // Dropping the permit at the end of this function decrements the count, but the connection stays open.
            state.open += 1;
            L::idle(&mut state).push(Idle { connection, since: Instant::now() });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.open -= 1;
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            // In addition to the callers that were notified before and have not taken a connection yet.
            self.pool.released.notify_additional(1);
        }
    }
}

/// A caller's place in the queue for a permit.
struct Waiting {
    pool: Arc<Pool>,
    listener: Option<EventListener>,
    /// Whether a connection was free, and was left to callers ahead.
    left_to_others: bool,
}

impl Waiting {
    async fn wait<L: Link>(mut self, until: Instant) -> Option<Taken<L>> {
        let mut next = if self.left_to_others { until.min(Instant::now() + TURN) } else { until };
        loop {
            L::wait(self.listener.take()?, next).await;
            if let Some(taken) = self.take() {
                return Some(taken);
            }
            if Instant::now() >= until {
                return None;
            }
            next = until;
        }
    }

    fn take<L: Link>(&mut self) -> Option<Taken<L>> {
        let mut state = self.pool.lock();
        let idle = state.take(self.pool.limit, self.pool.max_idle);
        if idle.is_none() {
            self.listener = Some(self.pool.released.listen());
        }
        Some(Taken { idle: idle?, permit: self.pool.permit(&state) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.lock().waiting -= 1;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        os::unix::net::UnixStream,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    #[cfg(feature = "tokio")]
    use ::tokio::runtime::Runtime;
    use event_listener::Listener;

    use super::*;
    use crate::memcached::link::run_through;

    const MINUTE: Duration = Duration::from_secs(60);

    fn connection() -> Connection<Blocking> {
        Connection::new(Blocking::of(UnixStream::pair().unwrap().0))
    }

    #[cfg(feature = "tokio")]
    fn runtime() -> Runtime {
        ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[cfg(feature = "tokio")]
    fn async_connection() -> Connection<Tokio> {
        Connection::new(Tokio::of(::tokio::net::UnixStream::pair().unwrap().0))
    }

    fn take(pool: &Arc<Pool>) -> Option<Taken<Blocking>> {
        pool.try_take()
    }

    fn queue(pool: &Arc<Pool>) -> Waiting {
        pool.take_or_wait::<Blocking>().err().unwrap()
    }

    #[test]
    fn two_that_come_back_at_once_serve_two_that_wait() {
        let pool = Pool::new(2, MINUTE);
        let held = [take(&pool).unwrap(), take(&pool).unwrap()];
        assert!(take(&pool).is_none());
        let (mut first, mut second) = (queue(&pool), queue(&pool));
        // Both are given back before the first caller wakes up.
        held.into_iter().for_each(|taken| taken.permit.give_back(connection()));
        let wakes = |waiting: &mut Waiting| {
            waiting.listener.take().unwrap().wait_deadline(Instant::now() + Duration::from_secs(10)).unwrap();
            waiting.take::<Blocking>().unwrap()
        };
        let one = wakes(&mut first);
        drop(first);
        let other = wakes(&mut second);
        drop(second);
        assert!(one.idle.is_some() && other.idle.is_some());
        drop((one, other));
        assert_eq!(pool.lock().open, 0);
    }

    #[test]
    fn one_that_gives_up_does_not_keep_the_next_from_waking() {
        let pool = Pool::new(1, MINUTE);
        let held = take(&pool).unwrap();
        let (first, mut second) = (queue(&pool), queue(&pool));
        drop(held);
        drop(first);
        second.listener.take().unwrap().wait_deadline(Instant::now() + Duration::from_secs(10)).unwrap();
        assert!(second.take::<Blocking>().is_some());
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(200)
    }

    #[test]
    fn a_caller_that_nobody_polls_keeps_no_connection_from_those_that_come_later() {
        let pool = Pool::new(1, MINUTE);
        let held = take(&pool).unwrap();
        let (not_polled, behind) = (queue(&pool), queue(&pool));
        held.permit.give_back(connection());
        for _ in 0..3 {
            let taken = run_through(pool.take::<Blocking>(soon())).unwrap();
            taken.permit.give_back(taken.idle.unwrap().0);
        }
        for waiting in [behind, not_polled] {
            let taken = run_through(waiting.wait::<Blocking>(soon())).unwrap();
            taken.permit.give_back(taken.idle.unwrap().0);
        }
        assert!(take(&pool).is_some());
    }

    #[test]
    fn a_caller_that_nobody_polls_keeps_no_connection_from_one_in_the_queue() {
        let pool = Pool::new(1, MINUTE);
        let held = take(&pool).unwrap();
        let (_not_polled, behind) = (queue(&pool), queue(&pool));
        drop(held);
        assert!(run_through(behind.wait::<Blocking>(soon())).is_some());
    }

    #[test]
    fn one_free_connection_is_left_for_each_caller_in_the_queue() {
        let pool = Pool::new(2, MINUTE);
        let held = [take(&pool).unwrap(), take(&pool).unwrap()];
        let first = queue(&pool);
        drop(held);
        let _later = take(&pool).unwrap();
        assert!(take(&pool).is_none());
        assert!(run_through(first.wait::<Blocking>(Instant::now())).is_some());
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        const LIMIT: usize = 2;
        let (pool, open) = (Pool::new(LIMIT, MINUTE), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(taken) = run_through(pool.take::<Blocking>(Instant::now() + MINUTE)) else {
                            panic!()
                        };
                        let connection = taken.idle.map(|(connection, _)| connection).unwrap_or_else(|| {
                            open.fetch_add(1, Ordering::SeqCst);
                            connection()
                        });
                        taken.permit.give_back(connection);
                    }
                });
            }
        });
        // Every connection was reused: none was closed and replaced by a new one.
        assert!(open.into_inner() <= LIMIT);
        assert!(pool.lock().open <= LIMIT);
    }

    #[test]
    fn a_count_over_the_limit_opens_no_more() {
        // A connection is counted twice while it is given back.
        let mut state = State { open: 3, ..State::default() };
        assert!(state.take::<Blocking>(2, MINUTE).is_none());
    }

    #[test]
    fn what_was_idle_for_long_is_not_used_again() {
        let pool = Pool::new(1, Duration::ZERO);
        take(&pool).unwrap().permit.give_back(connection());
        assert!(take(&pool).unwrap().idle.is_none());
        assert_eq!(pool.lock().open, 0);
    }

    #[test]
    fn what_was_taken_before_a_renewal_is_not_used_after_it() {
        let pool = Pool::new(2, MINUTE);
        take(&pool).unwrap().permit.give_back(connection());
        let held = take(&pool).unwrap();
        assert!(held.idle.is_some());
        pool.renew();
        held.permit.give_back(connection());
        assert_eq!(pool.lock().open, 0);
        assert!(take(&pool).unwrap().idle.is_none());
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn an_idle_connection_of_the_other_kind_makes_room() {
        let pool = Pool::new(1, MINUTE);
        take(&pool).unwrap().permit.give_back(connection());
        let runtime = runtime();
        let _entered = runtime.enter();
        let taken: Taken<Tokio> = pool.try_take().unwrap();
        assert!(taken.idle.is_none());
        taken.permit.give_back(async_connection());
        assert!(take(&pool).unwrap().idle.is_none());
        assert_eq!(pool.lock().open, 0);
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn a_runtime_takes_its_own_connection_before_one_of_another() {
        let (pool, runtimes) = (Pool::new(2, MINUTE), [runtime(), runtime()]);
        let open_on = |runtime: &Runtime| {
            let _entered = runtime.enter();
            (pool.try_take::<Tokio>().unwrap().permit, async_connection())
        };
        for (permit, connection) in runtimes.each_ref().map(open_on) {
            permit.give_back(connection);
        }
        let _entered = runtimes[0].enter();
        let is_own = || Tokio::belongs_here()(&pool.try_take::<Tokio>().unwrap().idle.unwrap().0.link);
        assert!(is_own());
        assert!(!is_own());
        assert!(pool.try_take::<Tokio>().unwrap().idle.is_none());
    }
}
