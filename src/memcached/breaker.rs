//! Circuit breaker for one server. Pure state machine: the caller passes the time.

use std::time::{Duration, Instant};

/// Consecutive failures that open the circuit.
pub(super) const FAILURES: u32 = 3;

/// Pause before the first probe of an outage, without jitter.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause before a probe, without jitter.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Decides whether calls to one server are let through.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures within this window count as one, because one hiccup fails every call in flight.
    spacing: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32, counted: Option<Instant> },
    Open { since: Instant },
}

impl Breaker {
    pub(super) fn new(spacing: Duration) -> Self {
        Self { spacing, state: State::Closed { failures: 0, counted: None } }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Resets the failure count after the server answered a call.
    pub(super) fn answered(&mut self) {
        if let State::Closed { failures, counted } = &mut self.state {
            (*failures, *counted) = (0, None);
        }
    }

    /// Counts a failed call, and returns whether it opens the circuit.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let State::Closed { failures, counted } = &mut self.state else { return false };
        if counted.is_some_and(|at| now.saturating_duration_since(at) < self.spacing) {
            return false;
        }
        (*failures, *counted) = (*failures + 1, Some(now));
        let enough = *failures >= FAILURES;
        if enough {
            self.state = State::Open { since: now };
        }
        enough
    }

    /// Returns how long to wait at `now` before the next probe. `jitter`, from 0 to 1, makes the pause 50 % shorter to
    /// 50 % longer. A site's processes then do not all probe at the same time.
    pub(super) fn pause(&self, now: Instant, jitter: f64) -> Duration {
        let State::Open { since } = self.state else { return Duration::ZERO };
        // Backoff depends on the length of the outage, not on the number of probes, so that recovery from a short
        // outage is always noticed quickly.
        let (age, mut pause) = (now.saturating_duration_since(since), MIN_PAUSE);
        while pause < MAX_PAUSE && age >= pause * 10 {
            pause *= 2;
        }
        pause.min(MAX_PAUSE).mul_f64(0.5 + jitter.clamp(0.0, 1.0))
    }

    /// Closes the circuit after a successful probe, and returns how long it was open.
    pub(super) fn close(&mut self, now: Instant) -> Duration {
        let open_for = match self.state {
            State::Open { since } => now.saturating_duration_since(since),
            State::Closed { .. } => Duration::ZERO,
        };
        *self = Self::new(self.spacing);
        open_for
    }
}

#[cfg(test)]
mod tests {
    use arbtest::arbtest;

    use super::*;

    const SPACING: Duration = Duration::from_millis(100);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn open(since: Instant) -> Breaker {
        Breaker { spacing: SPACING, state: State::Open { since } }
    }

    #[test]
    fn three_consecutive_failures_open_the_circuit() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        assert!(!breaker.failed(start));
        assert!(!breaker.failed(start + ms(100)));
        assert!(!breaker.is_open());
        assert!(breaker.failed(start + ms(200)));
        assert!(breaker.is_open());
    }

    #[test]
    fn an_answer_between_them_starts_the_count_again() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        for n in 0..100 {
            assert!(!breaker.failed(start + ms(200 * n)));
            assert!(!breaker.failed(start + ms(200 * n + 100)));
            breaker.answered();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_hiccup_under_many_threads_counts_once() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        assert!((0..32).all(|n| !breaker.failed(start + ms(3 * n))));
        assert!(!breaker.failed(start + ms(100)));
        assert!(breaker.failed(start + ms(200)));
    }

    #[test]
    fn calls_that_end_while_the_circuit_is_open_change_nothing() {
        let start = Instant::now();
        let mut breaker = open(start);
        breaker.answered();
        assert!(!breaker.failed(start + ms(500)));
        assert!(breaker.is_open());
        assert_eq!(breaker.close(start + ms(700)), ms(700));
        assert!(!breaker.is_open());
        assert!(!breaker.failed(start + ms(800)));
    }

    #[test]
    fn pauses_double_with_the_outage_up_to_ten_seconds() {
        let start = Instant::now();
        let pauses = [0, 4, 5, 10, 20, 40, 80, 3_600].map(|age| {
            let pause = open(start).pause(start + Duration::from_secs(age), 0.5);
            (age, pause.as_millis())
        });
        let expected = [
            (0, 500),
            (4, 500),
            (5, 1_000),
            (10, 2_000),
            (20, 4_000),
            (40, 8_000),
            (80, 10_000),
            (3_600, 10_000),
        ];
        assert_eq!(pauses, expected);
    }

    /// Bounds the time until a recovery is noticed, if a probe itself takes no time.
    #[test]
    fn recovery_is_noticed_soon() {
        arbtest(|u| {
            let (outage, start) = (u.int_in_range(0..=120_000)?, Instant::now());
            let breaker = open(start);
            let (recovered, mut now) = (start + ms(outage), start);
            while now < recovered {
                let pause = breaker.pause(now, f64::from(u.int_in_range(0..=1_000)?) / 1_000.0);
                assert!((ms(250)..=ms(15_000)).contains(&pause), "{pause:?}");
                now += pause;
            }
            let bound = ms(if outage <= 5_000 { 1_500 } else { 15_000 });
            assert!(now - recovered <= bound, "{:?} after {outage} ms", now - recovered);
            Ok(())
        });
    }
}
