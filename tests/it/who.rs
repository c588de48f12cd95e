//! The list of who is online, and the watch of who comes and goes.

#[cfg(feature = "tokio")]
mod asynchronous;
mod list;
mod outage;
mod reader;
mod truth;
mod watch;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use chrono::Utc;
use last_seen::{Settings, Tracker};

use last_seen_tests::{Fake, secs};

/// A server that knows a user under every key, is at `time`, and answers what else it is asked by `answer`,
/// which says whether the connection goes on.
fn scripted(time: u64, answer: impl Fn(&str, &TcpStream) -> bool + Send + Sync + 'static) -> Fake {
    Fake::start(move |stream| {
        for line in BufReader::new(&stream).lines() {
            let Ok(line) = line else { return };
            let mut words = line.split(' ');
            let written = match words.next() {
                Some("stats") => {
                    (&stream).write_all(format!("STAT pid 1\r\nSTAT time {time}\r\nEND\r\n").as_bytes())
                }
                Some("get") => {
                    let now = Utc::now().timestamp();
                    let values: String = words.map(|key| format!("VALUE {key} 0 10\r\n{now}\r\n")).collect();
                    (&stream).write_all(format!("{values}END\r\n").as_bytes())
                }
                _ if answer(&line, &stream) => Ok(()),
                _ => return,
            };
            if written.is_err() {
                return;
            }
        }
    })
}

/// With time for a machine that is busy.
fn connect(fake: &Fake) -> Tracker {
    Tracker::new(Settings::default().with_servers([fake.address()]).with_server_timeout(secs(5))).unwrap()
}
