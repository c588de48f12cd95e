//! `/socket`: who is online while a WebSocket is open, and when it is closed.

use std::{
    net::TcpStream,
    thread::{self, JoinHandle},
    time::Instant,
};

use last_seen_tests::{
    Memcached, eventually, ms,
    site::{Site, a_signal_ends_it_while_open},
};
use tungstenite::{
    Error, Message, WebSocket, client::IntoClientRequest, handshake::HandshakeError, http::HeaderValue,
    protocol::frame::coding::CloseCode,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_last-seen-axum");

#[test]
fn a_user_is_online_while_a_socket_is_open() {
    let memcached = Memcached::start();
    let site = start(&memcached, "6s");
    site.signed_in("alice");
    let mut socket = open(&site, "alice");
    // The first at once, and then one every 2 s: 8 s. Each is answered by the next `read`.
    for ping in 1..=5 {
        assert!(matches!(socket.read().unwrap(), Message::Ping(_)), "ping {ping}");
        assert!(online(&site, "alice"), "at ping {ping}");
    }
    socket.close(None).unwrap();
    while !matches!(socket.read().unwrap(), Message::Close(_)) {}
    eventually(|| (!online(&site, "alice")).then_some(()));
}

#[test]
fn a_user_whose_network_is_gone_goes_offline() {
    let memcached = Memcached::start();
    let site = start(&memcached, "3s");
    site.signed_in("alice");
    // Open until the end of the test, and never read: no ping is answered.
    let _socket = open(&site, "alice");
    assert!(online(&site, "alice"));
    eventually(|| (!online(&site, "alice")).then_some(()));
}

#[test]
fn a_program_that_was_suspended_gives_its_clients_time_to_answer() {
    let memcached = Memcached::start();
    let site = start(&memcached, "6s");
    let mut socket = open(&site, "alice");
    assert!(matches!(socket.read().unwrap(), Message::Ping(_)));
    socket.flush().unwrap();
    site.signal("STOP");
    // The time of four pings.
    thread::sleep(ms(8_500));
    site.signal("CONT");
    for _ in 0..3 {
        assert!(matches!(socket.read().unwrap(), Message::Ping(_)));
    }
}

#[test]
fn a_sign_out_in_any_program_closes_every_socket_and_the_user_stays_offline() {
    let memcached = Memcached::start();
    let site = start(&memcached, "6s");
    let [mut alice, _bob] = ["alice", "bob"].map(|user| site.signed_in(user));
    let alices = [(); 2].map(|()| reads_on(open(&site, "alice")));
    let bobs = reads_on(open(&site, "bob"));
    alice.submit("/sign-out", &[]);
    for socket in alices {
        assert_eq!(why_closed(socket), CloseCode::Policy);
    }
    assert!(!bobs.is_finished() && online(&site, "bob"));
    memcached.tracker().sign_out("bob").unwrap();
    assert_eq!(why_closed(bobs), CloseCode::Policy);
    // Beyond the next time that an open socket would have kept them online.
    let until = Instant::now() + ms(2_500);
    while Instant::now() < until {
        assert!(!online(&site, "alice") && !online(&site, "bob"));
        thread::sleep(ms(20));
    }
}

#[test]
fn a_socket_is_refused_to_a_visitor() {
    let site = Site::start(&PROGRAM.into(), &[]);
    let request = format!("ws://{}/socket", site.address).into_client_request().unwrap();
    let Err(HandshakeError::Failure(Error::Http(answer))) = tungstenite::client(request, site.connect())
    else {
        panic!("it is opened");
    };
    assert_eq!(answer.status(), 401);
}

#[test]
fn a_signal_closes_open_sockets() {
    for signal in ["INT", "TERM"] {
        let open = |site: &Site| reads_on(open(site, "alice"));
        let socket = a_signal_ends_it_while_open(&PROGRAM.into(), signal, true, open);
        assert_eq!(why_closed(socket), CloseCode::Away);
    }
}

#[test]
fn a_socket_whose_client_does_not_answer_holds_up_the_end_for_a_bound() {
    a_signal_ends_it_while_open(&PROGRAM.into(), "TERM", true, |site| open(site, "alice"));
}

#[test]
fn a_silent_memcached_does_not_hold_up_the_end() {
    let memcached = Memcached::start();
    let site = start(&memcached, "5m");
    let mut alice = site.signed_in("alice");
    let _socket = reads_on(open(&site, "alice"));
    memcached.suspend();
    alice.get("/");
    // What cannot be written is logged, and is no failure of the site.
    assert!(site.ended_by("TERM").success());
}

fn start(memcached: &Memcached, online_timeout: &str) -> Site {
    let variables = [
        ("LAST_SEEN_SERVERS", &*memcached.address()),
        ("LAST_SEEN_ONLINE_TIMEOUT", online_timeout),
        ("LAST_SEEN_FLUSH_INTERVAL", "50ms"),
    ];
    Site::start(&PROGRAM.into(), &variables)
}

fn open(site: &Site, user: &str) -> WebSocket<TcpStream> {
    let mut request = format!("ws://{}/socket", site.address).into_client_request().unwrap();
    request.headers_mut().insert("Cookie", HeaderValue::from_str(&format!("user={user}")).unwrap());
    tungstenite::client(request, site.connect()).unwrap().0
}

/// A client that reads, and with it answers, until the socket is closed. Returns why it was.
fn reads_on(mut socket: WebSocket<TcpStream>) -> JoinHandle<CloseCode> {
    thread::spawn(move || {
        loop {
            match socket.read().unwrap() {
                Message::Close(Some(close)) => return close.code,
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
}

#[track_caller]
fn why_closed(socket: JoinHandle<CloseCode>) -> CloseCode {
    eventually(|| socket.is_finished().then_some(()));
    socket.join().unwrap()
}

/// As the page shows it to a visitor.
fn online(site: &Site, user: &str) -> bool {
    site.shown(user).1 == "yes"
}
