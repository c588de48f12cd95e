//! What the keys of a live `watch` do.

use chrono::Utc;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Live, Order, Pane, Times, Ui};
use crate::{Exit, view::View};

impl Live<'_> {
    pub(super) fn press(&mut self, key: KeyEvent, view: View) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => self.code = Some(Exit::INTERRUPTED),
            KeyCode::Char('l') if control => self.screen.reset(),
            // The other processes of the shell's job too, which would wait for this one.
            #[cfg(unix)]
            KeyCode::Char('z') if control => self.screen.suspend(|| {
                use rustix::process::{Signal, kill_current_process_group};
                let _ = kill_current_process_group(Signal::STOP);
            }),
            _ if control => {}
            code if self.ui.typing => self.ui.type_filter(code),
            KeyCode::Char('q') => self.code = Some(Exit::DONE),
            KeyCode::Esc if self.ui.pane.is_some() => self.ui.pane = None,
            KeyCode::Esc if !self.ui.filter.is_empty() => self.ui.filter.clear(),
            KeyCode::Esc => self.code = Some(Exit::DONE),
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Enter if self.ui.pane.is_some() => self.ui.pane = None,
            KeyCode::Enter => {
                if let Some(user) = self.ui.selected.clone() {
                    self.inspect(user, view);
                }
            }
            code => self.ui.press(code),
        }
    }

    fn pause(&mut self) {
        if self.frozen.take().is_some() {
            self.ui.paused = None;
        } else {
            self.frozen = Some((self.followed.clone(), Utc::now()));
            self.ui.paused = Some(0);
        }
    }
}

impl Ui {
    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(char) => self.filter.push(char),
            _ => {}
        }
        (self.top, self.cursor) = (0, None);
    }

    fn press(&mut self, code: KeyCode) {
        let cursor = self.cursor.unwrap_or(self.top);
        let first = if self.cursor.is_none() { 0 } else { 1 };
        match code {
            KeyCode::Char('?' | 'h') => {
                self.pane = if self.pane.is_none() { Some(Pane::Help) } else { None };
            }
            _ if self.pane.is_some() => {}
            KeyCode::Down | KeyCode::Char('j') => self.cursor = Some(cursor.saturating_add(first)),
            KeyCode::Up | KeyCode::Char('k') => self.cursor = Some(cursor.saturating_sub(first)),
            KeyCode::PageDown => self.cursor = Some(cursor.saturating_add(self.page)),
            KeyCode::PageUp => self.cursor = Some(cursor.saturating_sub(self.page)),
            KeyCode::Home | KeyCode::Char('g') => self.cursor = Some(0),
            KeyCode::End | KeyCode::Char('G') => self.cursor = Some(usize::MAX),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Seen => Order::User,
                    Order::User => Order::Status,
                    Order::Status => Order::Seen,
                }
            }
            KeyCode::Char('S') => self.reversed = !self.reversed,
            KeyCode::Char('o') => self.online_only = !self.online_only,
            KeyCode::Char('t') => {
                self.times = match self.times {
                    Times::Age => Times::Local,
                    Times::Usual | Times::Local => Times::Utc,
                    Times::Utc => Times::Age,
                }
            }
            _ => {}
        }
    }
}
