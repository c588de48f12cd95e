//! Where answers and errors go.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Stdout, Write},
};

use last_seen::Error;

use crate::{
    text,
    view::{self, View},
    words,
};

/// The standard output. After the first error it takes no more and says so, instead of a panic: a reader such
/// as `head` closes a pipe when it has enough.
pub(crate) struct Out {
    stdout: BufWriter<Stdout>,
    error: Option<io::Error>,
    pub(crate) view: View,
    pub(crate) json: bool,
    reported: BTreeSet<String>,
}

impl Out {
    pub(crate) fn new(view: View, json: bool) -> Self {
        let stdout = BufWriter::new(io::stdout());
        Self { stdout, error: None, view, json, reported: BTreeSet::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none()
            && let Err(error) = self.stdout.write_all(bytes)
        {
            self.error = Some(error);
        }
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.write(line.as_bytes());
        self.write(b"\n");
    }

    /// Shows what was written.
    pub(crate) fn flush(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.stdout.flush()
        {
            self.error = Some(error);
        }
    }

    pub(crate) fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
    }

    /// Whether nobody reads any more.
    pub(crate) fn closed(&self) -> bool {
        self.error.is_some() || reader_gone()
    }

    /// Reports each server once, however many users it affects.
    pub(crate) fn report_once(&mut self, error: &Error, more: &str) {
        let sentence = words::sentence(error);
        if self.reported.insert(error.server().map_or_else(|| sentence.clone(), str::to_owned)) {
            self.report(&(sentence + more));
        }
    }

    /// One sentence on the standard error, after what was written before it.
    pub(crate) fn report(&mut self, sentence: &str) {
        self.flush();
        print_error(sentence);
    }

    /// One sentence on the standard error that is no error.
    pub(crate) fn remark(&mut self, sentence: &str) {
        self.flush();
        print_wrapped(sentence);
    }

    pub(crate) fn close(mut self) -> io::Result<()> {
        self.flush();
        self.error.map_or(Ok(()), Err)
    }
}

/// Whether the other end of a pipe is closed: on a quiet site a write that finds out may be hours away.
#[cfg(unix)]
fn reader_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut stdout, Some(&now)).is_ok() && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(not(unix))]
fn reader_gone() -> bool {
    false
}

/// One error on the standard error, if it can be written.
pub(crate) fn print_error(sentence: &str) {
    print_wrapped(&format!("last-seen: {sentence}"));
}

fn print_wrapped(sentence: &str) {
    let sentence = text::escape(sentence);
    let lines = match view::columns(&io::stderr()) {
        Some(columns) => text::wrap(&sentence, columns),
        None => vec![sentence],
    };
    print_raw(&(lines.join("\n") + "\n"));
}

/// A closed standard error is no reason to panic.
pub(crate) fn print_raw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
