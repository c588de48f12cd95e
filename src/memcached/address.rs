//! The address of a server and the way to connect to it: TCP or a Unix socket, TLS, a password.

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
    error::{IoText, SettingsError},
    settings::{Login, Password, Place, Server},
};

pub(super) struct Address {
    target: Target,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    login: Option<Login>,
}

enum Target {
    Tcp(Resolver),
    Unix(PathBuf),
}

/// An address to connect to, with its name resolved.
pub(super) enum Resolved<'a> {
    Tcp(SocketAddr),
    Unix(&'a PathBuf),
}

impl Address {
    /// Reads the password and certificate files that the settings name.
    pub(super) fn new(server: &Server, lookup: &Lookup, intervals: Intervals) -> Result<Self, SettingsError> {
        if let Some(Login { password: Password::File(path), .. }) = &server.login {
            read_password(path).map_err(|error| {
                SettingsError::new(
                    "servers",
                    format!("password_file={}", path.display()),
                    format!("cannot read the file: {}", IoText(&error)),
                )
            })?;
        }
        let target = match &server.place {
            Place::Tcp(host, port) => {
                Target::Tcp(Resolver::new(host, *port, lookup.clone(), intervals.resolve))
            }
            Place::Unix(path) => Target::Unix(path.clone()),
        };
        Ok(Self {
            #[cfg(feature = "tls")]
            tls: server.tls.as_ref().map(|tls| TlsConfig::new(tls, &server.place)).transpose()?,
            target,
            login: server.login.clone(),
        })
    }

    pub(super) fn resolver(&self) -> Option<&Resolver> {
        match &self.target {
            Target::Tcp(resolver) => Some(resolver),
            Target::Unix(_) => None,
        }
    }

    /// Returns the known address, or waits for name resolution until the deadline.
    pub(super) async fn find<L: Link>(&self, until: Instant) -> io::Result<Resolved<'_>> {
        match &self.target {
            Target::Tcp(resolver) => resolver.find::<L>(until).await.map(Resolved::Tcp),
            Target::Unix(path) => Ok(Resolved::Unix(path)),
        }
    }

    /// Opens a connection that is ready for commands: encrypted and logged in, if the settings ask for it.
    pub(super) async fn connect<L: Link>(
        &self,
        to: &Resolved<'_>,
        until: Instant,
    ) -> Result<Connection<L>, Broken> {
        let link = match to {
            Resolved::Tcp(address) => L::tcp(*address, until).await,
            Resolved::Unix(path) => L::unix(path, until).await,
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
                let request = login_request(login).map_err(Broken::new)?;
                let mut answer = Lines::one(&request);
                connection.run(&mut answer, until).await?;
                check_login(&answer)?;
            } else if let Some(line) = version.lines.first().filter(|line| line.starts_with("ERROR ")) {
                // As at the connection limit: the server accepts no calls.
                return Err(Broken::new(Failure::of(line.as_bytes())));
            }
        }
        Ok(connection)
    }
}

fn read_password(path: &PathBuf) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Returns memcached's login command: a `set` whose value is the user name and the password. A server that requires
/// no login would store that value. `version` is sent first for this reason: only a server that requires a login
/// refuses it.
fn login_request(login: &Login) -> io::Result<Vec<u8>> {
    let password = match &login.password {
        Password::Text(password) => password.clone(),
        Password::File(path) => read_password(path)?,
    };
    let value = format!("{} {password}", login.user);
    Ok(format!("set login 0 0 {}\r\n{value}\r\n", value.len()).into_bytes())
}

fn wants_login(version: &Lines<'_>) -> bool {
    version.lines.first().is_some_and(|line| line.starts_with("CLIENT_ERROR"))
}

fn check_login(answer: &Lines<'_>) -> Result<(), Broken> {
    match answer.lines.first() {
        Some(line) if line == "STORED" => Ok(()),
        line => Err(Broken::new(Failure::of(line.map_or("", String::as_str).as_bytes()))),
    }
}
