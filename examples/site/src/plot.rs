//! The plot of a page that is opened; from then on the page draws it itself, in the same way.

use std::fmt::Write;

use crate::history::{SPAN, STEP, Sample};

/// The height of its box; the width is a unit a second.
const HEIGHT: f64 = 100.0;

#[derive(Debug)]
pub(crate) struct Plot {
    /// The seconds that it shows, at most an hour.
    pub(crate) span: i64,
    /// Paths of the line: `line` while all servers answered, `thin` while some did.
    pub(crate) line: String,
    pub(crate) thin: String,
    /// Paths of the times when not all servers answered: the background, and the hatching on it.
    pub(crate) band: String,
    pub(crate) hatch: String,
    /// The path of the grid's lines.
    pub(crate) lines: String,
    /// The numbers beside the grid, from the top.
    pub(crate) marks: Vec<usize>,
    /// The times below the grid, in Unix seconds.
    pub(crate) times: Vec<i64>,
}

impl Plot {
    pub(crate) fn new(samples: &[Sample], now: i64) -> Self {
        let first = samples.first().map_or(now, |sample| sample.0);
        let span = (now - first).clamp(300, SPAN);
        let (from, top) = (now - span, top(samples.iter().filter_map(|sample| sample.1).max().unwrap_or(0)));
        let level = |mark: usize| format!("M0 {:.1}H{span}", mark as f64 * HEIGHT / top.1 as f64);
        let lines = (0..top.1).map(level).collect();
        let marks = (0..=top.1).rev().map(|line| line * top.0).collect();
        let times = (0..=4).map(|quarter| from + span * quarter / 4).collect();
        let [mut line, mut thin, mut band, mut hatch] = [const { String::new() }; 4];
        let mut fill = |from: i64, to: i64| {
            let _ = write!(band, "M{from} 0H{to}V100H{from}Z");
            for x in (from..to).step_by((span / 120) as usize) {
                let _ = write!(hatch, "M{x} 0V100");
            }
        };
        let mut known = first.max(from) - from;
        let (mut last, mut was_complete) = (None, true);
        for &Sample(at, count, complete) in samples.iter().filter(|sample| sample.0 >= from) {
            let x = at - from;
            let Some(count) = count else {
                last = None;
                continue;
            };
            let y = HEIGHT - count as f64 * HEIGHT / (top.0 * top.1) as f64;
            if x - known > 2 * STEP {
                last = None;
            }
            if !complete && last.is_some() || last.is_none() && x > known {
                fill(known, x);
            }
            let path = if complete && was_complete { &mut line } else { &mut thin };
            match last {
                Some((x0, y0)) => {
                    let _ = write!(path, "M{x0} {y0:.1}L{x} {y:.1}");
                }
                // A dot, until there is another.
                None => {
                    let _ = write!(path, "M{x} {y:.1}h0");
                }
            }
            (last, was_complete, known) = (Some((x, y)), complete, x);
        }
        if last.is_none() || span - known > 2 * STEP {
            fill(known, span);
        }
        Self { span, line, thin, band, hatch, lines, marks, times }
    }
}

/// A step of the grid, and how many: three or four round ones, and the line stays below the last.
fn top(most: usize) -> (usize, usize) {
    let steps = (0..).map(|power| 10_usize.saturating_pow(power)).flat_map(|ten| [ten, 2 * ten, 5 * ten]);
    let fits = steps.map(|step| (step, (most / step + 1).max(3))).find(|&(_, lines)| lines <= 4);
    fits.unwrap_or((most, 1))
}
