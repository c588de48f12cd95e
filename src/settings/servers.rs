//! Where memcached is: the texts that name servers.

use std::net::Ipv6Addr;

use super::Sharding;
use crate::error::{EscapedQuoted, SettingsError};

const PORT: u16 = 11211;

/// What the setting `servers` says, checked.
#[derive(Debug)]
pub(crate) enum Servers {
    Memory,
    /// At least one.
    Memcached(Vec<Server>),
}

/// One memcached server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    name: String,
    host: String,
    port: u16,
    weight: u16,
}

impl Server {
    /// `host:port`, with brackets around an IPv6 address.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host alone, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its share of the ring beside the others, 1 if not given.
    pub(crate) fn weight(&self) -> u16 {
        self.weight
    }
}

pub(super) fn parse(servers: &[String], sharding: Sharding) -> Result<Servers, SettingsError> {
    let all = servers.join(",");
    let refuse = |reason: &str| Err(SettingsError::new("servers", EscapedQuoted(&all), reason));
    let texts: Vec<&str> = all.split(',').map(str::trim).collect();
    if texts == [""] {
        return refuse("at least one server is needed");
    }
    if texts == ["memory:"] {
        return Ok(Servers::Memory);
    }
    if texts.contains(&"memory:") {
        return refuse("\"memory:\" stands alone");
    }
    let mut servers: Vec<Server> = Vec::with_capacity(texts.len());
    for text in texts {
        let server = server(text)?;
        if servers.iter().any(|other| other.name == server.name) {
            return refuse(&format!("{} is listed twice", server.name));
        }
        if server.weight != 1 && sharding != Sharding::Ketama {
            return refuse(&format!("sharding {sharding} knows no weights"));
        }
        servers.push(server);
    }
    Ok(Servers::Memcached(servers))
}

fn server(text: &str) -> Result<Server, SettingsError> {
    let refuse = |reason: &str| SettingsError::new("servers", EscapedQuoted(text), reason);
    let address = match text.split_once("://") {
        None => text,
        Some(("memcache", address)) => address,
        Some(_) => return Err(refuse("the only scheme is \"memcache://\"")),
    };
    let (address, weight) = match address.split_once('?') {
        None => (address, 1),
        Some((address, query)) => match query.strip_prefix("weight=").map(str::parse) {
            Some(Ok(weight)) if weight != 0 => (address, weight),
            _ => return Err(refuse("after the question mark comes \"weight=\" and 1 to 65535")),
        },
    };
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| refuse("a bracket is not closed"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(refuse("between the brackets is no IPv6 address"));
            }
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(|| refuse("after the bracket comes a port"))?),
            };
            (host, port)
        }
        None if address.parse::<Ipv6Addr>().is_ok() => {
            return Err(refuse("an IPv6 address stands in brackets, as in \"[::1]:11211\""));
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
            _ => return Err(refuse("a port is 1 to 65535")),
        },
        Some(_) => return Err(refuse("after the colon comes a port, 1 to 65535")),
    };
    if host.is_empty() {
        return Err(refuse("the host is missing"));
    }
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !host.bytes().all(name_byte) {
        return Err(refuse("the host is no name and no address"));
    }
    let name = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Ok(Server { name, host: host.to_owned(), port, weight })
}
