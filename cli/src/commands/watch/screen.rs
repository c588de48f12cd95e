//! The whole terminal: taken, drawn on line by line, and given back on every way out.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    execute, queue,
    style::Print,
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen,
    },
};

use crate::Exit;

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

pub(super) struct Screen {
    /// What is on it now.
    drawn: Vec<String>,
    is_closed: bool,
}

impl Screen {
    /// # Errors
    /// If this is no terminal whose keys can be read.
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        terminal::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self { drawn: Vec::new(), is_closed: false };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        (usize::from(columns), usize::from(lines))
    }

    /// Gives the terminal back, and takes it again when the process goes on after `stop`.
    #[cfg(unix)]
    pub(super) fn suspend(&mut self, stop: impl FnOnce()) {
        use rustix::process::{getpgrp, getsid};
        // No shell could make it go on; the system ignores SIGTSTP then too.
        if getsid(None).is_ok_and(|session| session == getpgrp()) {
            return;
        }
        give_back();
        stop();
        TAKEN.store(true, Ordering::SeqCst);
        self.reset();
    }

    /// Takes the terminal again, and draws everything again.
    pub(super) fn reset(&mut self) {
        // A shell has set the terminal for itself meanwhile; without the first the second does nothing.
        let _ = terminal::disable_raw_mode();
        let _ = terminal::enable_raw_mode();
        self.redraw();
        self.note(&execute!(io::stdout(), EnterAlternateScreen, Hide));
    }

    /// Makes the next frame draw everything again.
    pub(super) fn redraw(&mut self) {
        self.drawn.clear();
    }

    /// Draws the lines that differ from what is there.
    pub(super) fn draw(&mut self, lines: Vec<String>) {
        let mut bytes = Vec::new();
        // A `Vec` takes everything.
        let _ = queue!(bytes, BeginSynchronizedUpdate);
        if self.drawn.is_empty() {
            let _ = queue!(bytes, Clear(ClearType::All));
        }
        for nth in 0..lines.len().max(self.drawn.len()) {
            let (line, before) = (lines.get(nth), self.drawn.get(nth));
            if line != before {
                let (row, line) = (u16::try_from(nth).unwrap_or(u16::MAX), line.map_or("", String::as_str));
                let _ = queue!(bytes, MoveTo(0, row), Clear(ClearType::UntilNewLine), Print(line));
            }
        }
        let _ = queue!(bytes, EndSynchronizedUpdate);
        let mut stdout = io::stdout();
        self.note(&stdout.write_all(&bytes).and_then(|()| stdout.flush()));
        self.drawn = lines;
    }

    fn note(&mut self, result: &io::Result<()>) {
        self.is_closed |= result.is_err();
    }

    /// With which exit code to end, if the terminal was given back because a thread panicked, or is gone.
    pub(super) fn closed(&self) -> Option<u8> {
        match TAKEN.load(Ordering::SeqCst) {
            false => Some(Exit::UNKNOWN),
            true => self.is_closed.then_some(Exit::DONE),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), EndSynchronizedUpdate, Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// The message of a panic is for the screen that stays.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::{env, io::Read};

    use pty_process::{Size, blocking as pty};

    use super::*;

    /// In a process of its own, which is the one below.
    const PANICS: &str = "LAST_SEEN_TEST_PANICS";

    #[test]
    fn a_panic_gives_the_terminal_back_and_its_message_stays() {
        if env::var_os(PANICS).is_some() {
            let mut screen = Screen::take().unwrap();
            screen.draw(vec!["a table".to_owned()]);
            let on_another_thread = std::thread::spawn(|| panic!("out of luck"));
            assert!(on_another_thread.join().is_err());
            assert_eq!(screen.closed(), Some(Exit::UNKNOWN));
            return;
        }
        let (mut terminal, pts) = pty::open().unwrap();
        terminal.resize(Size::new(24, 200)).unwrap();
        let name = "commands::watch::screen::tests::a_panic_gives_the_terminal_back_and_its_message_stays";
        let itself = pty::Command::new(env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
        let mut child = itself.env(PANICS, "1").env("TERM", "xterm").spawn(pts).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
        // Linux ends a terminal that nobody holds any more with an error.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&bytes));
        let mut screen = vt100::Parser::new(24.try_into().unwrap(), 200.try_into().unwrap(), 0);
        screen.process(&bytes);
        let (screen, text) = (screen.screen(), screen.screen().contents());
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert!(text.contains("out of luck") && !text.contains("a table"), "{text}");
    }
}
