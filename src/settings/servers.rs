//! Parses the setting `servers`.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

use percent_encoding::percent_decode_str;

use super::Sharding;
use crate::error::{EscapedQuoted, SettingsError};

const PORT: u16 = 11211;

const SCHEMES: [&str; 4] = ["memcache://", "memcache+tls://", "tls://", "unix:/"];

const OPTIONS: [&str; 6] = ["weight", "password_file", "ca", "cert", "key", "server_name"];

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
                // Not named: after a `?` that is not percent-encoded, it may be part of a password.
                _ => {
                    let known = "\"weight\", \"password_file\", \"ca\", \"cert\", \"key\" or \"server_name\"";
                    return Err(format!("unknown option; use {known}"));
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
pub(super) fn masked(text: &str) -> String {
    let mut addresses: Vec<String> = Vec::new();
    for part in text.split(',') {
        let is_path = part.trim_start().starts_with('/') && !addresses.last().is_some_and(|it| may_go_on(it));
        let is_address = is_path || SCHEMES.iter().any(|scheme| part.trim_start().starts_with(scheme));
        match addresses.last_mut() {
            // The comma may belong to a password.
            Some(before) if !is_address => *before += &format!(",{part}"),
            _ => addresses.push(part.to_owned()),
        }
    }
    let addresses: Vec<_> = addresses.iter().map(|text| masked_address(text)).collect();
    addresses.join(",")
}

/// Returns whether the address may end in a part of a password.
fn may_go_on(address: &str) -> bool {
    let has_password = match address.split_once("://") {
        Some((_, rest)) => rest.contains(':'),
        None => {
            address.rsplit_once(':').is_some_and(|(_, port)| !port.starts_with(|c: char| c.is_ascii_digit()))
        }
    };
    has_password && !address.contains('@')
}

/// Hides everything between the first colon and the last `@`, and everything after the `=` of an unknown option. A colon
/// in a known scheme or in the path of a socket does not count.
fn masked_address(text: &str) -> String {
    let address = text.trim_start();
    let path = address.strip_prefix("unix://").or_else(|| address.strip_prefix("unix:")).unwrap_or(address);
    let rest = match path.starts_with('/') {
        true => path.find(',').map_or("", |comma| &path[comma..]),
        false => SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme)).unwrap_or(address),
    };
    let colon = rest.find(':').map(|colon| text.len() - rest.len() + colon);
    let unknown_value = text.match_indices(['?', '&']).find_map(|(at, _)| {
        let (name, _) = text[at + 1..].split_once('=')?;
        (!OPTIONS.contains(&name)).then_some(at + 1 + name.len() + 1)
    });
    let mut shown = text.to_owned();
    if let Some(value) = unknown_value {
        shown.replace_range(value.., "***");
    }
    let value = unknown_value.unwrap_or(text.len());
    if let (Some(colon), Some(at)) = (colon, text.rfind('@'))
        && colon < at.min(value)
    {
        // After that `=`, the `@` may belong to the value instead of ending a password.
        let end = if at < value { at } else { shown.len() };
        shown.replace_range(colon + 1..end, "***");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("memcache://site:geheim@cache1", "memcache://site:***@cache1"),
            (
                "tls://a:geheim@c:1?ca=/x,memcache://d:geheim:f@g@h",
                "tls://a:***@c:1?ca=/x,memcache://d:***@h",
            ),
            ("x:1, tls://a:geheim@c , memcache://a:geheim@d", "x:1, tls://a:***@c , memcache://a:***@d"),
            ("x:1,memcache://a:geheim@b,[::1]:2?weight=3", "x:1,memcache://a:***@b,[::1]:2?weight=3"),
            // Characters that must be percent-encoded in a password.
            ("memcache://a:geh,eim@d", "memcache://a:***@d"),
            ("memcache://a:geh,x://eim@d", "memcache://a:***@d"),
            ("memcache://a:geh,/eim@d", "memcache://a:***@d"),
            ("memcache://a:geh://eim@d", "memcache://a:***@d"),
            ("memcache://a:geh?eim@d", "memcache://a:***@d"),
            ("memcache://a:geh?x=eim@d", "memcache://a:***"),
            // Not a scheme that is known.
            ("a:geheim@c:1", "a:***@c:1"),
            ("a:geh,/eim@c:1", "a:***@c:1"),
            ("redis://a:geheim@c", "redis:***@c"),
            ("mem_cache://a:geheim@c", "mem_cache:***@c"),
            ("unix://a:geheim@c", "unix://a:***@c"),
            ("\"memcache://a:geheim@c\"", "\"memcache:***@c\""),
            ("[\"memcache://a:geheim@c\",\"memcache://a:geheim@d\"]", "[\"memcache:***@d\"]"),
            ("/run/a.sock,b:geheim@c", "/run/a.sock,b:***@c"),
            // Not an option that is known.
            ("memcache://a@c?password=geheim", "memcache://a@c?password=***"),
            ("memcache://a:geheim@c?password=geheim", "memcache://a:***@c?password=***"),
            ("memcache://a@c:1?password=geh@eim", "memcache://a@c:***"),
            ("c?weight=2,d?weight=2&pass=geh&eim", "c?weight=2,d?weight=2&pass=***"),
        ] {
            assert_eq!(masked(text), shown);
            let list = ServerList::new(vec![text.to_owned()]);
            let told = format!("{list:?} {:?}", parse(&list, Sharding::Ketama));
            assert!(["geh", "eim"].iter().all(|secret| !told.contains(secret)), "{told}");
        }
        for shown in [
            "cache1:11211,[::1]:11211",
            "memcache://a@b:1",
            "memcache://a@[::1]:1?password_file=/a:b",
            "a@b",
            "/run/a:b@c",
            "unix:/run/a:b@c,unix:///run/a:b@c,x:1",
            "x:1,/run/a@1.sock,[::1]:1,/run/a@2.sock",
            "tls://c:1?ca=/a&cert=/b&key=/c&server_name=d&weight=2",
        ] {
            assert_eq!(masked(shown), shown);
        }
    }
}
