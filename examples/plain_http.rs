//! No framework: request code and a view on `std::net` alone. Then open <http://127.0.0.1:8080/>.
//!
//! With `LAST_SEEN_SERVERS=127.0.0.1:11211` the records are in memcached; stop it, and the page says so.

mod page;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

use last_seen::{Error, Tracker};

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
                if let Err(error) = read(&stream).and_then(|request| answer(&stream, tracker, &request)) {
                    eprintln!("a request broke off: {error}");
                }
            });
        }
    });
    Ok(())
}

fn answer(mut stream: &TcpStream, tracker: &Tracker, request: &Request) -> io::Result<()> {
    let user = request.user.as_deref();

    // Request code. A page that polls is open, but nobody need be before it; and a cache that cannot be reached
    // is no reason to fail a request.
    let activity = !["/poll", "/health"].contains(&request.path.as_str());
    if let Some(user) = user
        && activity
        && let Err(error) = tracker.seen(user)
    {
        eprintln!("not recorded: {error}");
    }

    let (status, kind, body) = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => ("200 OK", "html", page::whole(user, &table(tracker))),
        ("GET", "/poll") => ("200 OK", "html", table(tracker)),
        ("GET", "/health") => ("200 OK", "plain", "ok".to_owned()),
        ("POST", "/sign-in") => {
            let name = decode(request.body.strip_prefix("user=").unwrap_or_default());
            match tracker.seen(&name) {
                Err(error @ Error::InvalidUser(_)) => ("400 Bad Request", "plain", error.to_string()),
                _ => {
                    page::add_user(&name);
                    return redirect(stream, &format!("user={}", encode(&name)));
                }
            }
        }
        ("POST", "/sign-out") => {
            if let Some(user) = user
                && let Err(error) = tracker.sign_out(user)
            {
                eprintln!("sign-out not recorded: {error}");
            }
            return redirect(stream, "user=; Max-Age=0");
        }
        _ => ("404 Not Found", "plain", "there is no such page".to_owned()),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/{kind}; charset=utf-8\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(mut stream: &TcpStream, cookie: &str) -> io::Result<()> {
    let head = "HTTP/1.1 303 See Other\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0";
    write!(stream, "{head}\r\nSet-Cookie: {cookie}; Path=/; HttpOnly; SameSite=Lax\r\n\r\n")
}

/// Everyone, in one round trip.
fn table(tracker: &Tracker) -> String {
    let users = page::users();
    page::table(&users, tracker.presences(&users))
}

/// As much of a request as this site needs.
#[derive(Default)]
struct Request {
    method: String,
    path: String,
    /// A real site keeps a signed session in the cookie, not the bare name.
    user: Option<String>,
    body: String,
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream.take(16_384));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut request, mut length) = (Request { method, path, ..Request::default() }, 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "cookie" => {
                let user = value.split("; ").find_map(|cookie| cookie.strip_prefix("user="));
                request.user = user.map(decode);
            }
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    reader.take(length).read_to_string(&mut request.body)?;
    Ok(request)
}

/// What a form's field says.
fn decode(field: &str) -> String {
    let mut bytes = field.bytes();
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or(0);
                (digit() * 16 + digit()) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The other way: what a cookie can hold.
fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
