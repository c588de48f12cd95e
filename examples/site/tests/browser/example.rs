//! The page of the other examples.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use last_seen::Tracker;
use last_seen_tests::{Fake, ms};

use crate::{page, window::Driver};

/// What becomes of a poll.
const ANSWERED: usize = 0;
const REFUSED: usize = 1;
const IGNORED: usize = 2;

fn table() -> String {
    let (users, tracker) = (page::users(), Tracker::in_memory());
    users.iter().for_each(|user| tracker.seen(user).unwrap());
    page::table(&users, tracker.presences(&users))
}

fn answer(mut stream: TcpStream, polls: &AtomicUsize) -> std::io::Result<()> {
    let head: Vec<String> = BufReader::new(stream.try_clone()?)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let poll = head.first().is_some_and(|line| line.starts_with("GET /poll "));
    let (status, body) = match polls.load(Ordering::SeqCst) {
        ANSWERED if poll => ("200 OK", table()),
        REFUSED if poll => ("502 Bad Gateway", "<tr><td>a proxy's page".to_owned()),
        waits if poll => {
            while polls.load(Ordering::SeqCst) == waits {
                std::thread::sleep(ms(20));
            }
            return Ok(());
        }
        _ => ("200 OK", page::whole(None, &table())),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}",
        body.len()
    );
    write!(stream, "{head}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_table_that_is_not_renewed_says_so() {
    let polls = Arc::new(AtomicUsize::new(ANSWERED));
    let seen = polls.clone();
    let site = Fake::start(move |stream| drop(answer(stream, &seen)));
    page::add_user("alice");
    let driver = Driver::start();
    let window = driver.window().await;
    window.open(&format!("http://{}/", site.address())).await;
    page::add_user("bob");
    window.until("bob", "return who.rows.length", |rows| rows == 3).await;
    for outage in [REFUSED, IGNORED] {
        window.wait_until_visible("#silent", false).await;
        polls.store(outage, Ordering::SeqCst);
        window.wait_until_visible("#silent", true).await;
        assert_eq!(window.run("return who.rows.length + ' ' + who.style.opacity").await, "3 0.5");
        polls.store(ANSWERED, Ordering::SeqCst);
    }
    window.wait_until_visible("#silent", false).await;
    window.close().await;
}
