//! What the crate says through `tracing`, server by server.

use std::{
    fmt::{Debug, Write},
    sync::{Mutex, Once},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to listen; tests that count events call it first.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// What was said of this server since [`listen`].
pub fn said_of(server: &str) -> Vec<String> {
    said(&format!("server=\"{server}\""))
}

/// Forgets what was said of a server that was in the place of this one before.
pub fn forget(server: &str) {
    let server = format!("server=\"{server}\"");
    SAID.lock().unwrap().retain(|line| !line.contains(&server));
}

/// What was said since [`listen`] with this in it.
pub fn said(part: &str) -> Vec<String> {
    SAID.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("last_seen") && *metadata.level() <= Level::TRACE
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        SAID.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}
