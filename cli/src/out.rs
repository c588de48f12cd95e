//! Where answers and complaints go.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
};

use crate::text;

/// The standard output. After the first error it takes no more and says so, instead of a panic: a reader such
/// as `head` closes a pipe when it has enough.
pub(crate) struct Out {
    stdout: BufWriter<StdoutLock<'static>>,
    error: Option<io::Error>,
    live: bool,
    colour: bool,
    told: BTreeSet<String>,
}

impl Out {
    pub(crate) fn new() -> Self {
        let live = io::stdout().is_terminal() && !dumb();
        let colour = live && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let stdout = BufWriter::new(io::stdout().lock());
        Self { stdout, error: None, live, colour, told: BTreeSet::new() }
    }

    /// Whether this is a terminal on which a cursor can be moved.
    pub(crate) fn live(&self) -> bool {
        self.live
    }

    pub(crate) fn colour(&self) -> bool {
        self.colour
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

    /// What was written is to be seen now.
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

    /// One sentence on the standard error. A server that is down concerns many users, and is reported once.
    pub(crate) fn complain_of(&mut self, error: &(dyn Error + 'static)) {
        let server = match error.downcast_ref() {
            Some(last_seen::Error::Unavailable { server, .. }) => Some(server.clone()),
            _ => None,
        };
        let told = text::chain(error);
        if self.told.insert(server.unwrap_or_else(|| told.clone())) {
            self.complain(&told);
        }
    }

    /// One sentence on the standard error, after what was written before it.
    pub(crate) fn complain(&mut self, told: &str) {
        self.flush();
        sentence(told);
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

/// One sentence on the standard error, where it can be written.
pub(crate) fn sentence(text: &str) {
    let _ = writeln!(io::stderr(), "last-seen: {}", text::plain(text));
}

/// Whether the terminal, if it is one, only prints.
pub(crate) fn dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}
