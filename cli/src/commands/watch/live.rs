//! `watch` on a terminal: what comes in, and when it is drawn.

mod input;
mod keys;

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Change, Status, Tracker};

use super::{
    followed::{Followed, Row},
    frame, log,
    screen::Screen,
};
use crate::{CommandResult, Exit, commands::inspect, out::Out, view, view::View};
use input::Input;

/// The screen is drawn at most as often.
const FRAME: Duration = Duration::from_millis(50);

/// For so long it says that a server is back.
const NOTICE: TimeDelta = TimeDelta::seconds(5);

/// How the rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Seen,
    User,
    Status,
}

/// How times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// Local on a wide screen, and ages on a narrow one.
    Usual,
    Local,
    Utc,
    Age,
}

/// What is shown in place of the table.
pub(super) enum Pane {
    Help,
    /// A user's record, once it is read.
    User(String, Option<Vec<String>>),
}

/// What the keys have set.
pub(super) struct Ui {
    pub(super) order: Order,
    pub(super) reversed: bool,
    pub(super) online_only: bool,
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) times: Times,
    pub(super) pane: Option<Pane>,
    /// How many changes came while the drawing was paused.
    pub(super) paused: Option<usize>,
    /// The first row on the screen, and how many there are.
    pub(super) top: usize,
    page: usize,
    /// The row that a key has moved to, and who stands there, or else in the first row.
    pub(super) cursor: Option<usize>,
    pub(super) selected: Option<String>,
    notice: Option<(String, DateTime<Utc>)>,
    returned: Vec<String>,
}

impl Order {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::User => "user",
            Self::Status => "status",
        }
    }
}

impl Ui {
    fn new() -> Self {
        Self {
            order: Order::Seen,
            reversed: false,
            online_only: false,
            filter: String::new(),
            typing: false,
            times: Times::Usual,
            pane: None,
            paused: None,
            top: 0,
            page: 1,
            cursor: None,
            selected: None,
            notice: None,
            returned: Vec::new(),
        }
    }

    pub(super) fn shows(&self, row: &Row<'_>) -> bool {
        let is_online = row.status == Status::Online
            || (row.status == Status::Unknown && row.last_known == Status::Online);
        (is_online || !self.online_only) && contains(row.user, &self.filter)
    }

    /// Keeps the cursor on a row, and that row on the screen.
    pub(super) fn scroll(&mut self, all: usize, shown: usize) {
        self.page = shown;
        self.cursor = self.cursor.map(|cursor| cursor.min(all.saturating_sub(1)));
        if let Some(cursor) = self.cursor {
            self.top = self.top.clamp((cursor + 1).saturating_sub(shown), cursor);
        }
        self.top = self.top.min(all.saturating_sub(shown));
    }

    pub(super) fn notice(&self, now: DateTime<Utc>) -> Option<&str> {
        self.notice.as_ref().filter(|(_, until)| now < *until).map(|(notice, _)| notice.as_str())
    }

    /// What is worth a line for a moment.
    fn note(&mut self, change: &Change) {
        match change {
            Change::ServerUp { server, down_for, .. } => {
                let notice = format!("{server} is back after {}", view::duration(down_for.as_secs()));
                self.notice = Some((format!("{notice}; reading the list"), DateTime::<Utc>::MAX_UTC));
                self.returned.push(notice);
            }
            Change::Missed { updates, .. } => {
                let notice = format!("at most {updates} updates were missed; reading the list again");
                self.notice = Some((notice, DateTime::<Utc>::MAX_UTC));
            }
            Change::Ready { .. } => {
                let returned = std::mem::take(&mut self.returned).pop();
                let notice =
                    returned.map(|notice| (format!("{notice}; list refreshed"), Utc::now() + NOTICE));
                self.notice = notice;
            }
            _ => {}
        }
    }
}

/// Whether the name contains the text, ignoring case.
fn contains(name: &str, text: &str) -> bool {
    match (text.is_ascii(), name.is_ascii()) {
        _ if text.is_empty() => true,
        (true, true) => {
            name.as_bytes().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        }
        _ => name.to_lowercase().contains(&text.to_lowercase()),
    }
}

struct Live<'a> {
    tracker: &'a Tracker,
    followed: Followed,
    /// What was known when the drawing was paused, and when that was.
    frozen: Option<(Followed, DateTime<Utc>)>,
    ui: Ui,
    inputs: Receiver<Input>,
    sender: input::Sender,
    screen: Screen,
    /// With which exit code to end.
    code: Option<u8>,
}

pub(super) fn live(tracker: &Tracker, followed: Followed, out: &mut Out) -> CommandResult {
    // A terminal that gives no keys can show lines all the same.
    let Ok(screen) = Screen::take() else { return log::log(tracker, followed, false, out) };
    let watch = tracker.watch()?;
    let (sender, inputs) = input::start(watch)?;
    let (started, ui) = (Instant::now(), Ui::new());
    let mut live = Live { tracker, followed, frozen: None, ui, inputs, sender, screen, code: None };
    let code = live.run(out.view);
    let Live { followed, screen, .. } = live;
    let closed = screen.closed().is_some();
    drop(screen);
    if !closed {
        let watched = view::duration(started.elapsed().as_secs());
        let line = format!("{} at {} (watched for {watched})", last(&followed), out.view.clock(Utc::now()));
        out.line(&line);
    }
    let failed = !followed.has_answered() && followed.down().next().is_some();
    Ok(if failed && code == Exit::DONE { Exit::UNKNOWN } else { code })
}

/// What is known at the end.
fn last(followed: &Followed) -> String {
    let count = frame::count(followed);
    match followed.all_are_down() {
        true => format!("{count}: no server answers"),
        false => count,
    }
}

impl Live<'_> {
    fn run(&mut self, view: View) -> u8 {
        let (mut due, mut drawn) = (Instant::now(), DateTime::<Utc>::MIN_UTC);
        let mut is_dirty = true;
        loop {
            if let Some(code) = self.code {
                return code;
            }
            if let Some(code) = self.screen.closed() {
                return code;
            }
            let (now, clock) = (Instant::now(), Utc::now());
            is_dirty |= clock.timestamp() != drawn.timestamp();
            if is_dirty && now >= due {
                (is_dirty, drawn) = (false, clock);
                self.draw(view, clock);
                // However much there is to draw, most of the time is left for the changes.
                due = now + FRAME.max(now.elapsed() * 4);
            }
            let tick = Duration::from_millis(1_001 - u64::from(clock.timestamp_subsec_millis().min(999)));
            let wait = if is_dirty { due.saturating_duration_since(Instant::now()) } else { tick };
            match self.inputs.recv_timeout(wait) {
                Ok(input) => {
                    let urgent = self.take(input, view);
                    is_dirty = true;
                    let urgent = urgent | self.take_all(due, view);
                    if urgent {
                        due = due.min(Instant::now() + FRAME / 5);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Exit::UNKNOWN,
            }
        }
    }

    /// What waits, until the next frame is due. Returns whether somebody waits for it.
    fn take_all(&mut self, due: Instant, view: View) -> bool {
        let (mut urgent, until) = (false, due.max(Instant::now() + FRAME));
        while Instant::now() < until {
            match self.inputs.try_recv() {
                Ok(input) => urgent |= self.take(input, view),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        urgent
    }

    fn take(&mut self, input: Input, view: View) -> bool {
        match input {
            Input::Change(change) => {
                if self.followed.apply(&change) {
                    self.ui.note(&change);
                    self.ui.paused = self.ui.paused.map(|changes| changes + 1);
                }
                if let Change::Ready { .. } = change {
                    self.followed.read_absent();
                }
                return false;
            }
            Input::Key(key) => self.press(key, view),
            Input::Pane(user, lines) => {
                if let Some(Pane::User(shown, record)) = &mut self.ui.pane
                    && *shown == user
                {
                    *record = Some(lines);
                }
            }
            // xterm moves lines up when it gets lower.
            Input::Resized => self.screen.redraw(),
            #[cfg(unix)]
            Input::Suspended => self.screen.suspend(|| {
                let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP);
            }),
            Input::Continued => self.screen.reset(),
            Input::Ended(code) => self.code = Some(code),
        }
        true
    }

    fn draw(&mut self, view: View, now: DateTime<Utc>) {
        let (columns, height) = Screen::size();
        let view = View { width: Some(columns), ..view };
        let (followed, now) = self.frozen.as_ref().map_or((&self.followed, now), |(then, at)| (then, *at));
        self.screen.draw(frame::frame(followed, &mut self.ui, view, height, now));
    }

    /// Reads the record beside the drawing: a server may take its time.
    fn inspect(&mut self, user: String, view: View) {
        let (tracker, sender) = (self.tracker.clone(), self.sender.clone());
        self.ui.pane = Some(Pane::User(user.clone(), None));
        let columns = Screen::size().0.saturating_sub(6);
        let view = View { width: Some(columns), ..view };
        let read = move || {
            let lines = inspect::pane(&tracker, &user, view);
            let _ = sender.send(Input::Pane(user, lines));
        };
        let _: io::Result<_> = std::thread::Builder::new().spawn(read);
    }
}
