//! When a server is given a rest; no I/O, no clock of its own.

use std::time::{Duration, Instant};

/// As many failures in a row put a server to rest.
pub(super) const FAILURES: u32 = 3;

/// The first pause before a server at rest is probed.
const SHORTEST: Duration = Duration::from_millis(500);

/// The longest, before chance is added.
const LONGEST: Duration = Duration::from_secs(10);

/// Whether one server's calls go through.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures as close as this count once: one hiccup fails every call under way.
    spacing: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Serving { failures: u32, counted: Option<Instant> },
    Resting { since: Instant },
}

impl Breaker {
    pub(super) fn new(spacing: Duration) -> Self {
        Self { spacing, state: State::Serving { failures: 0, counted: None } }
    }

    pub(super) fn rests(&self) -> bool {
        matches!(self.state, State::Resting { .. })
    }

    /// The server answered a call.
    pub(super) fn answered(&mut self) {
        if let State::Serving { failures, counted } = &mut self.state {
            (*failures, *counted) = (0, None);
        }
    }

    /// A call failed by the server. Says whether that puts it to rest.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let State::Serving { failures, counted } = &mut self.state else { return false };
        if counted.is_some_and(|at| now.saturating_duration_since(at) < self.spacing) {
            return false;
        }
        (*failures, *counted) = (*failures + 1, Some(now));
        let enough = *failures >= FAILURES;
        if enough {
            self.state = State::Resting { since: now };
        }
        enough
    }

    /// How long to wait at `now` before the next probe; `luck` is 0 to 1, and makes it 50 % shorter to 50 %
    /// longer, so that a site's processes do not probe in step.
    pub(super) fn pause(&self, now: Instant, luck: f64) -> Duration {
        let State::Resting { since } = self.state else { return Duration::ZERO };
        // Doubled as the outage grows, and not at each probe: a short one is found out soon, by whatever chance.
        let (age, mut pause) = (now.saturating_duration_since(since), SHORTEST);
        while pause < LONGEST && age >= pause * 10 {
            pause *= 2;
        }
        pause.min(LONGEST).mul_f64(0.5 + luck.clamp(0.0, 1.0))
    }

    /// A probe was answered. Says how long the server rested.
    pub(super) fn reopened(&mut self, now: Instant) -> Duration {
        let rested = match self.state {
            State::Resting { since } => now.saturating_duration_since(since),
            State::Serving { .. } => Duration::ZERO,
        };
        *self = Self::new(self.spacing);
        rested
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

    fn resting(since: Instant) -> Breaker {
        Breaker { spacing: SPACING, state: State::Resting { since } }
    }

    #[test]
    fn three_failures_in_a_row_put_a_server_to_rest() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        assert!(!breaker.failed(start));
        assert!(!breaker.failed(start + ms(100)));
        assert!(!breaker.rests());
        assert!(breaker.failed(start + ms(200)));
        assert!(breaker.rests());
    }

    #[test]
    fn an_answer_between_them_begins_anew() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        for n in 0..100 {
            assert!(!breaker.failed(start + ms(200 * n)));
            assert!(!breaker.failed(start + ms(200 * n + 100)));
            breaker.answered();
        }
        assert!(!breaker.rests());
    }

    #[test]
    fn a_hiccup_under_many_threads_counts_once() {
        let (mut breaker, start) = (Breaker::new(SPACING), Instant::now());
        assert!((0..32).all(|n| !breaker.failed(start + ms(3 * n))));
        assert!(!breaker.failed(start + ms(100)));
        assert!(breaker.failed(start + ms(200)));
    }

    #[test]
    fn what_ends_during_a_rest_changes_nothing() {
        let start = Instant::now();
        let mut breaker = resting(start);
        breaker.answered();
        assert!(!breaker.failed(start + ms(500)));
        assert!(breaker.rests());
        assert_eq!(breaker.reopened(start + ms(700)), ms(700));
        assert!(!breaker.rests());
        assert!(!breaker.failed(start + ms(800)));
    }

    #[test]
    fn pauses_double_with_the_outage_up_to_ten_seconds() {
        let start = Instant::now();
        let pauses = [0, 4, 5, 10, 20, 40, 80, 3_600].map(|age| {
            let pause = resting(start).pause(start + Duration::from_secs(age), 0.5);
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

    /// The time until a healed server is found, a probe's own time apart.
    #[test]
    fn a_server_is_found_soon_after_it_heals() {
        arbtest(|u| {
            let (outage, start) = (u.int_in_range(0..=120_000)?, Instant::now());
            let breaker = resting(start);
            let (healed, mut now) = (start + ms(outage), start);
            while now < healed {
                let pause = breaker.pause(now, f64::from(u.int_in_range(0..=1_000)?) / 1_000.0);
                assert!((ms(250)..=ms(15_000)).contains(&pause), "{pause:?}");
                now += pause;
            }
            let bound = ms(if outage <= 5_000 { 1_500 } else { 15_000 });
            assert!(now - healed <= bound, "{:?} after {outage} ms", now - healed);
            Ok(())
        });
    }
}
