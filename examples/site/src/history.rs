//! How many were online, over the last hour.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

/// Seconds from one sample to the next.
pub(crate) const STEP: i64 = 10;

/// The plot shows an hour.
pub(crate) const SPAN: i64 = 3_600;

/// `[at, count, complete]`; without a count nothing was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sample(pub(crate) i64, pub(crate) Option<usize>, pub(crate) bool);

/// The samples of the last hour, and the file that takes them over a restart of the site.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    file: Option<PathBuf>,
}

impl History {
    /// Reads what a run before has left in the file, and writes the rest of it back: of two hours it is to keep one.
    pub(crate) fn open(file: Option<PathBuf>, now: i64) -> io::Result<Self> {
        let text = match file.as_ref().map(fs::read_to_string) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Some(Ok(text)) => text,
            _ => String::new(),
        };
        let samples: VecDeque<Sample> =
            text.lines().filter_map(parse).filter(|sample| (now - SPAN..=now).contains(&sample.0)).collect();
        if let Some(file) = &file {
            fs::write(file, samples.iter().map(line).collect::<String>())?;
        }
        Ok(Self { samples, file })
    }

    /// Adds a sample, and returns what writes it to the file: it may block.
    pub(crate) fn push(&mut self, sample: Sample) -> Option<impl FnOnce() -> io::Result<()> + Send + use<>> {
        self.samples.push_back(sample);
        while self.samples.front().is_some_and(|first| first.0 < sample.0 - SPAN) {
            self.samples.pop_front();
        }
        let file = self.file.clone()?;
        Some(move || {
            File::options().append(true).create(true).open(file)?.write_all(line(&sample).as_bytes())
        })
    }

    /// The time of the newest one.
    pub(crate) fn last(&self) -> Option<i64> {
        self.samples.back().map(|sample| sample.0)
    }

    /// Those after a time.
    pub(crate) fn after(&self, at: i64) -> Vec<Sample> {
        self.samples.iter().copied().filter(|sample| sample.0 > at).collect()
    }
}

/// `1795721400 40`; `?` for what was unknown, and a `+` behind what was incomplete.
fn line(Sample(at, count, complete): &Sample) -> String {
    let count = count.map_or("?".to_owned(), |count| count.to_string());
    format!("{at} {count}{}\n", if *complete { "" } else { "+" })
}

fn parse(line: &str) -> Option<Sample> {
    let (at, count) = line.split_once(' ')?;
    let complete = !count.ends_with('+');
    let count = count.trim_end_matches('+');
    let count = if count == "?" { None } else { Some(count.parse().ok()?) };
    Some(Sample(at.parse().ok()?, count, complete))
}
