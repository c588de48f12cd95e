//! Where a server is and how to get in: a TCP address, a Unix socket, TLS, a password.

use std::{io, net::SocketAddr, path::PathBuf, time::Instant};

#[cfg(feature = "tls")]
use super::tls::TlsConfig;
use super::{
    Intervals,
    connection::{Broken, Connection},
    link::Link,
    protocol::{Failure, Lines},
    resolver::{Lookup, Resolver},
};
use crate::{
    error::SettingsError,
    settings::{Login, Password, Place, Server},
};

pub(super) struct Address {
    place: Target,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    login: Option<Login>,
}

enum Target {
    Tcp(Resolver),
    Unix(PathBuf),
}

/// Where a connection is to be opened.
pub(super) enum Found<'a> {
    Tcp(SocketAddr),
    Unix(&'a PathBuf),
}

impl Address {
    /// Reads the files that the settings name.
    pub(super) fn new(server: &Server, lookup: &Lookup, intervals: Intervals) -> Result<Self, SettingsError> {
        if let Some(Login { password: Password::File(path), .. }) = &server.login {
            password(path).map_err(|error| {
                SettingsError::new("servers", format!("password_file={}", path.display()), error.to_string())
            })?;
        }
        let place = match &server.place {
            Place::Tcp(host, port) => {
                Target::Tcp(Resolver::new(host, *port, lookup.clone(), intervals.resolve))
            }
            Place::Unix(path) => Target::Unix(path.clone()),
        };
        Ok(Self {
            #[cfg(feature = "tls")]
            tls: server.tls.as_ref().map(|tls| TlsConfig::new(tls, &server.place)).transpose()?,
            place,
            login: server.login.clone(),
        })
    }

    pub(super) fn resolver(&self) -> Option<&Resolver> {
        match &self.place {
            Target::Tcp(resolver) => Some(resolver),
            Target::Unix(_) => None,
        }
    }

    /// The address that is known, or the one that is found by then.
    pub(super) async fn find<L: Link>(&self, until: Instant) -> io::Result<Found<'_>> {
        match &self.place {
            Target::Tcp(resolver) => resolver.find::<L>(until).await.map(Found::Tcp),
            Target::Unix(path) => Ok(Found::Unix(path)),
        }
    }

    /// A connection over which commands go through: encrypted and logged in, if that is asked for.
    pub(super) async fn connect<L: Link>(
        &self,
        to: &Found<'_>,
        until: Instant,
    ) -> Result<Connection<L>, Broken> {
        let link = match to {
            Found::Tcp(address) => L::tcp(*address, until).await,
            Found::Unix(path) => L::unix(path, until).await,
        };
        let link = link.map_err(Broken::new)?;
        #[cfg(feature = "tls")]
        let link = match &self.tls {
            Some(tls) => link.encrypt(tls, until).await.map_err(Broken::new)?,
            None => link,
        };
        let mut connection = Connection::new(link);
        if let Some(login) = &self.login {
            let mut version = Lines::one(b"version\r\n");
            connection.run(&mut version, until).await?;
            if wants_login(&version) {
                let request = request(login).map_err(Broken::new)?;
                let mut answer = Lines::one(&request);
                connection.run(&mut answer, until).await?;
                accepted(&answer)?;
            }
        }
        Ok(connection)
    }
}

fn password(path: &PathBuf) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// memcached's login is a `set` whose value is the name and the password. A server that wants none would store that,
/// so it is asked for its version first: only one that requires a login refuses to tell it.
fn request(login: &Login) -> io::Result<Vec<u8>> {
    let password = match &login.password {
        Password::Text(password) => password.clone(),
        Password::File(path) => password(path)?,
    };
    let value = format!("{} {password}", login.user);
    Ok(format!("set login 0 0 {}\r\n{value}\r\n", value.len()).into_bytes())
}

fn wants_login(version: &Lines<'_>) -> bool {
    version.lines.first().is_some_and(|line| line.starts_with("CLIENT_ERROR"))
}

fn accepted(answer: &Lines<'_>) -> Result<(), Broken> {
    match answer.lines.first() {
        Some(line) if line == "STORED" => Ok(()),
        line => Err(Broken::new(Failure::of(line.map_or("", String::as_str).as_bytes()))),
    }
}
