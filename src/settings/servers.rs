//! Parses the setting `servers`.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

use percent_encoding::percent_decode_str;

use super::Sharding;
use crate::error::{EscapedQuoted, SettingsError};

const PORT: u16 = 11211;

/// The setting `servers` as it was given, and as it is shown, with `***` in place of each password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ServerList {
    given: Vec<String>,
    shown: Vec<String>,
}

impl ServerList {
    pub(super) fn new(given: Vec<String>) -> Self {
        let shown = given.iter().map(|text| masked(text)).collect();
        Self { given, shown }
    }

    pub(super) fn shown(&self) -> &[String] {
        &self.shown
    }
}

impl fmt::Debug for ServerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

/// The setting `servers`, parsed and checked.
#[derive(Debug)]
pub(crate) enum Servers {
    Memory,
    /// At least one server.
    Memcached(Vec<Server>),
}

/// One memcached server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The server's name in errors: `host:port`, with brackets around an IPv6 address, or the path of a socket.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) tls: Option<Tls>,
    pub(crate) login: Option<Login>,
    /// The server's share of the hash ring relative to other servers; 1 if not given.
    pub(crate) weight: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The host, without brackets, and the port.
    Tcp(String, u16),
    Unix(PathBuf),
}

/// The TLS options of a server. The files are not read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The file with trusted certificate authorities; `None` for those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The files with the client's certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate; `None` if that is the host.
    pub(crate) server_name: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Password,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Password {
    Text(String),
    File(PathBuf),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

pub(super) fn parse(list: &ServerList, sharding: Sharding) -> Result<Servers, SettingsError> {
    let all = list.shown.join(",");
    let refuse = |reason: &str| Err(SettingsError::new("servers", EscapedQuoted(&all), reason));
    let given = list.given.join(",");
    let texts: Vec<&str> = given.split(',').map(str::trim).collect();
    if texts == [""] {
        return refuse("must name at least one server");
    }
    if texts == ["memory:"] {
        return Ok(Servers::Memory);
    }
    if texts.contains(&"memory:") {
        return refuse("\"memory:\" cannot be combined with other servers");
    }
    let mut servers: Vec<Server> = Vec::with_capacity(texts.len());
    for text in texts {
        let refuse_one = |reason: String| {
            // A comma in a password splits it, and neither part is recognized as a password. Show the masked list then.
            let shown = masked(text);
            let is_shown = all.split(',').any(|part| part.trim() == shown);
            SettingsError::new("servers", EscapedQuoted(if is_shown { &shown } else { &all }), reason)
        };
        let server = server(text).map_err(refuse_one)?;
        if servers.iter().any(|other| other.name == server.name) {
            return refuse(&format!("{} is listed twice", server.name));
        }
        if server.weight != 1 && !matches!(sharding, Sharding::Ketama | Sharding::Dalli) {
            return refuse(&format!("weights need sharding \"ketama\" or \"dalli\", not {sharding}"));
        }
        servers.push(server);
    }
    Ok(Servers::Memcached(servers))
}

/// Parses one server. Returns the reason if the text is not valid.
fn server(text: &str) -> Result<Server, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if text.starts_with('/') => ("unix", text),
        None => match text.strip_prefix("unix:") {
            Some(path) => ("unix", path),
            None => ("", text),
        },
    };
    let secure = match scheme {
        "" | "memcache" | "unix" => false,
        "tls" | "memcache+tls" => true,
        _ => return Err("unknown scheme; use \"memcache://\", \"tls://\" or \"unix:\"".to_owned()),
    };
    if secure && cfg!(not(feature = "tls")) {
        return Err("\"tls://\" needs the feature `tls`".to_owned());
    }
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (userinfo, address) = match address.rsplit_once('@') {
        Some((userinfo, address)) if !matches!(scheme, "" | "unix") => (Some(userinfo), address),
        _ => (None, address),
    };
    let mut options = Options::read(query, secure)?;
    let login = match userinfo {
        None if options.password_file.is_some() => {
            return Err("\"password_file\" needs a user, as in \"memcache://user@host\"".to_owned());
        }
        None => None,
        Some(userinfo) => Some(login(userinfo, options.password_file.take())?),
    };
    let place = if scheme == "unix" { unix(address)? } else { tcp(address)? };
    let name = match &place {
        Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Place::Tcp(host, port) => format!("{host}:{port}"),
        Place::Unix(path) => path.display().to_string(),
    };
    let tls = secure.then_some(options.tls);
    Ok(Server { name, place, tls, login, weight: options.weight })
}

struct Options {
    weight: u16,
    tls: Tls,
    password_file: Option<PathBuf>,
}

impl Options {
    fn read(query: &str, secure: bool) -> Result<Self, String> {
        let mut options = Self { weight: 1, tls: Tls::default(), password_file: None };
        let (mut cert, mut key) = (None, None);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = decoded(value)?;
            let file = || {
                if value.is_empty() {
                    Err(format!("{name:?} needs the path of a file"))
                } else {
                    Ok(Some(value.clone().into()))
                }
            };
            match name {
                "weight" => match value.parse() {
                    Ok(weight) if weight != 0 => options.weight = weight,
                    _ => return Err("weight must be 1 to 65535".to_owned()),
                },
                "password_file" => options.password_file = file()?,
                "ca" if secure => options.tls.ca = file()?,
                "cert" if secure => cert = file()?,
                "key" if secure => key = file()?,
                "server_name" if secure => options.tls.server_name = Some(value),
                "ca" | "cert" | "key" | "server_name" => return Err(format!("{name:?} needs \"tls://\"")),
                _ => {
                    return Err(format!(
                        "{name:?} is an unknown option; use \"weight\", \"password_file\", \"ca\", \"cert\", \"key\" or \
                         \"server_name\""
                    ));
                }
            }
        }
        options.tls.identity = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert, key)),
            _ => return Err("\"cert\" and \"key\" must be given together".to_owned()),
        };
        Ok(options)
    }
}

fn login(userinfo: &str, file: Option<PathBuf>) -> Result<Login, String> {
    let (user, password) = match (userinfo.split_once(':'), file) {
        (Some((user, password)), None) => (user, Password::Text(decoded(password)?)),
        (None, Some(file)) => (userinfo, Password::File(file)),
        (Some(_), Some(_)) => return Err("give either a password or \"password_file\", not both".to_owned()),
        (None, None) => {
            return Err("the user has no password; add \":password\" or \"?password_file=FILE\"".to_owned());
        }
    };
    // memcached separates user and password by a space.
    let user = decoded(user)?;
    if user.is_empty() || user.contains(char::is_whitespace) {
        return Err("the user must not be empty or contain a space".to_owned());
    }
    Ok(Login { user, password })
}

fn unix(path: &str) -> Result<Place, String> {
    let path = decoded(path)?;
    match path.starts_with('/') && path.len() > 1 {
        true => Ok(Place::Unix(path.into())),
        false => Err("a Unix socket must be an absolute path, as in \"unix:/run/memcached.sock\"".to_owned()),
    }
}

fn tcp(address: &str) -> Result<Place, String> {
    let address = address.strip_suffix('/').unwrap_or(address);
    let refuse = |reason: &str| reason.to_owned();
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) =
                bracketed.split_once(']').ok_or_else(|| refuse("missing \"]\" after the IPv6 address"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(refuse("expected an IPv6 address between the brackets"));
            }
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(|| refuse("expected \":PORT\" after \"]\""))?),
            };
            (host, port)
        }
        None if address.parse::<Ipv6Addr>().is_ok() => {
            return Err(refuse("write an IPv6 address in brackets, as in \"[::1]:11211\""));
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None => PORT,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => match text.parse() {
            Ok(port) if port != 0 => port,
            _ => return Err(refuse("the port must be 1 to 65535")),
        },
        Some(_) => return Err(refuse("expected a port (1 to 65535) after \":\"")),
    };
    if host.is_empty() {
        return Err(refuse("the host is missing"));
    }
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !host.bytes().all(name_byte) {
        return Err(refuse("the host must be a name or an address"));
    }
    Ok(Place::Tcp(host.to_owned(), port))
}

fn decoded(text: &str) -> Result<String, String> {
    let mut encoded = text.split('%').skip(1);
    if !encoded.all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)) {
        return Err("expected two hexadecimal digits after \"%\"".to_owned());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "the percent-encoded text must be UTF-8".to_owned())
}

/// Returns the text with `***` in place of each password, also if the text is otherwise not valid.
fn masked(text: &str) -> String {
    // A password may contain "://" too.
    let is_scheme = |before: &str| {
        let name = before.rsplit(',').next().unwrap_or_default().trim();
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let schemes = text.match_indices("://").filter(|(at, _)| is_scheme(&text[..*at]));
    let starts: Vec<usize> = schemes.map(|(at, scheme)| at + scheme.len()).collect();
    let (mut masked, mut done) = (String::new(), 0);
    for (nth, &start) in starts.iter().enumerate() {
        let part = &text[start..starts.get(nth + 1).copied().unwrap_or(text.len())];
        if let Some((colon, at)) = part.rfind('@').and_then(|at| Some((part[..at].find(':')?, at))) {
            masked.extend([&text[done..=start + colon], "***"]);
            done = start + at;
        }
    }
    masked + &text[done..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("memcache://site:geheim@cache1", "memcache://site:***@cache1"),
            ("tls://a:b@c:1?ca=/x,memcache://d:e:f@g@h", "tls://a:***@c:1?ca=/x,memcache://d:***@h"),
            ("memcache://a:b,c@d", "memcache://a:***@d"),
            ("memcache://a:b://c@d", "memcache://a:***@d"),
            ("x:1, tls://a:b@c , memcache://a:b@d", "x:1, tls://a:***@c , memcache://a:***@d"),
            ("ftp://a:b@c", "ftp://a:***@c"),
            ("memcache://a@b:1", "memcache://a@b:1"),
            ("cache1:11211,[::1]:11211", "cache1:11211,[::1]:11211"),
        ] {
            assert_eq!(masked(text), shown);
            let list = ServerList::new(vec![text.to_owned()]);
            let told = format!("{list:?} {:?}", parse(&list, Sharding::Ketama));
            assert!(["geheim", ":b@", "b,c", "a:b"].iter().all(|secret| !told.contains(secret)), "{told}");
        }
    }
}
