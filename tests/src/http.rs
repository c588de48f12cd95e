//! As much of a browser as signing in takes: cookies and forms. A few lines of `std` rather than a client
//! crate: this speaks to one server on this computer, and follows nothing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

#[derive(Debug, Clone)]
pub struct Browser {
    address: String,
    cookies: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Browser {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), cookies: BTreeMap::new() }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Page {
        self.send(&format!("GET {path} HTTP/1.0\r\n"), "")
    }

    /// Fills in the form on the page at `form` and posts it to `path`.
    #[track_caller]
    pub fn post(&mut self, form: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get(form);
        let token = between(&page.body, r#"name="csrfmiddlewaretoken" value=""#, "\"");
        let token = token.unwrap_or_else(|| panic!("no form at {form}: {page:?}"));
        self.submit(path, &[&[("csrfmiddlewaretoken", token)], fields].concat())
    }

    /// Posts a form that carries no token.
    #[track_caller]
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let fields = fields.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let body = fields.collect::<Vec<_>>().join("&");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        self.send(&format!("POST {path} HTTP/1.0\r\n{kind}\r\nContent-Length: {}\r\n", body.len()), &body)
    }

    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    #[track_caller]
    fn send(&mut self, head: &str, body: &str) -> Page {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request = format!("{head}Host: {}\r\nCookie: {cookies}\r\n\r\n{body}", self.address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for (header, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if !header.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let (cookie, attributes) = value.split_once(';').unwrap_or((value, ""));
            let (name, value) = cookie.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, head: head.to_owned(), body: body.to_owned() }
    }
}

pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    Some(&text[start..start + text[start..].find(after)?])
}

fn encode(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    })
}
