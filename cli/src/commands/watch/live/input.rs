//! What a live `watch` waits for: changes, keys and signals, each from a thread of its own.

use std::{
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread,
};

use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use last_seen::{Change, Watch};

/// The watch itself keeps what a slow reader leaves, in less room.
const WAITING_MAX: usize = 1_000;

pub(super) type Sender = SyncSender<Input>;

pub(super) enum Input {
    Change(Change),
    Key(KeyEvent),
    Resized,
    /// The record of a user, as it is shown.
    Pane(String, Vec<String>),
    /// The process is to be suspended.
    #[cfg(unix)]
    Suspended,
    /// The process was suspended, and goes on.
    #[cfg_attr(not(unix), expect(dead_code, reason = "a signal"))]
    Continued,
    /// Ends with that exit code.
    Ended(u8),
}

pub(super) fn start(watch: Watch) -> io::Result<(Sender, Receiver<Input>)> {
    let (sender, inputs) = mpsc::sync_channel(WAITING_MAX);
    let changes = sender.clone();
    spawn(move || {
        for change in watch {
            if changes.send(Input::Change(change)).is_err() {
                return;
            }
        }
    })?;
    let keys = sender.clone();
    spawn(move || {
        while let Ok(event) = event::read() {
            let input = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Input::Key(key),
                Event::Resize(..) => Input::Resized,
                _ => continue,
            };
            if keys.send(input).is_err() {
                return;
            }
        }
        // The terminal is gone.
        let _ = keys.send(Input::Ended(crate::Exit::DONE));
    })?;
    signals(sender.clone())?;
    Ok((sender, inputs))
}

#[cfg(unix)]
fn signals(sender: Sender) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP},
        iterator::Signals,
    };
    let mut signals = Signals::new([SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP])?;
    spawn(move || {
        for signal in signals.forever() {
            let input = match signal {
                SIGTSTP => Input::Suspended,
                SIGCONT => Input::Continued,
                // As a shell has it.
                signal => Input::Ended(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
            };
            if sender.send(input).is_err() {
                return;
            }
        }
    })
}

#[cfg(not(unix))]
fn signals(_: Sender) -> io::Result<()> {
    Ok(())
}

fn spawn(thread: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("last-seen-input".to_owned()).spawn(thread).map(drop)
}
