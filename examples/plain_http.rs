//! No framework: request code and a view on `std::net` alone. Then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached; stop it, and the page says so.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use last_seen::Tracker;

/// The users of the site: what its database would know.
static USERS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracker = match std::env::var_os("LAST_SEEN_SERVERS") {
        Some(_) => Tracker::from_env()?,
        None => Tracker::in_memory(),
    };
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on http://{}/", listener.local_addr()?);
    std::thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            let tracker = &tracker;
            scope.spawn(move || {
                if let Err(error) = answer(&stream, tracker) {
                    eprintln!("a request broke off: {error}");
                }
            });
        }
    });
    Ok(())
}

fn answer(mut stream: &TcpStream, tracker: &Tracker) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut user = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(cookie) = line.to_lowercase().strip_prefix("cookie: user=") {
            user = Some(cookie.to_owned());
        }
    }

    // Request code. A cache that cannot be reached is no reason to fail a request.
    if let Some(user) = &user
        && let Err(error) = tracker.seen(user)
    {
        eprintln!("not recorded: {error}");
    }

    let path = request.split(' ').nth(1).unwrap_or("/");
    let (cookie, body) = match path.split_once("?user=") {
        Some(("/sign-in", name)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            USERS.lock().unwrap().insert(name.to_lowercase());
            (format!("user={}", name.to_lowercase()), String::new())
        }
        _ if path == "/sign-out" => {
            if let Some(user) = &user
                && let Err(error) = tracker.signed_out(user)
            {
                eprintln!("sign-out not recorded: {error}");
            }
            ("user=; Max-Age=0".to_owned(), String::new())
        }
        _ => (String::new(), view(tracker)),
    };
    if cookie.is_empty() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    } else {
        let head = "HTTP/1.1 303 See Other\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0";
        write!(stream, "{head}\r\nSet-Cookie: {cookie}; HttpOnly; SameSite=Lax\r\n\r\n")
    }
}

/// The view: everyone, in one round trip. It asks with `.ok()`, since a page must not fail by its cache.
fn view(tracker: &Tracker) -> String {
    let users = USERS.lock().unwrap().clone();
    let mut rows = String::new();
    for (user, presence) in users.iter().zip(tracker.presences(&users)) {
        let (last_seen, online) = match presence.ok() {
            Some(presence) => (presence.ago().to_string(), presence.online.to_string()),
            None => ("not known".to_owned(), "not known".to_owned()),
        };
        rows += &format!("<tr><td>{user}<td>{last_seen}<td>{online}\n");
    }
    format!(
        "<!doctype html><title>Who is here</title>\n\
         <table><tr><th>User<th>Last seen<th>Online\n{rows}</table>\n\
         <form action=/sign-in><input name=user pattern=[A-Za-z0-9]+ required><button>Sign in</button></form>\n\
         <p><a href=/sign-out>Sign out</a>\n"
    )
}
