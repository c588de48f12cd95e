//! What an error is called.

use std::{error::Error as StdError, iter};

use last_seen::{Error, Settings};

/// An error of this program and its causes in one sentence.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let causes = iter::successors(error.source(), |&error| error.source());
    causes.fold(plain(&error.to_string()), |text, cause| format!("{text}: {}", plain(&cause.to_string())))
}

/// One sentence: "cache2:11211 is down: connection refused".
pub(crate) fn sentence(error: &Error) -> String {
    match error {
        Error::Unavailable { server, .. } => format!("{server} is down: {}", error.reason()),
        Error::Server { server, .. } => format!("{server} {}", error.reason()),
        error => error.to_string(),
    }
}

/// Why one user is unknown, in the user's row; `None` if that is the server's fault.
pub(crate) fn of_user(error: &Error) -> Option<String> {
    match error {
        Error::InvalidUser(error) => {
            let reason = error.reason();
            let instead = if reason.contains(';') { "; pass the id" } else { "" };
            Some(format!("invalid user: {}{instead}", reason.split(';').next().unwrap_or(reason)))
        }
        Error::InvalidRecord { source, .. } => Some(match (source.bytes(), source.time()) {
            (Some(bytes), _) => format!("invalid record: \"{}\" is not a timestamp", bytes.escape_ascii()),
            (None, Some(at)) => {
                let ahead = at.timestamp() - chrono::Utc::now().timestamp();
                let minutes = ahead.max(0).cast_unsigned() / 60;
                format!("invalid record: {minutes} min in the future; check clocks")
            }
            (None, None) => format!("invalid record: {source}"),
        }),
        _ => None,
    }
}

/// Without the system's number: "No such file or directory (os error 2)".
fn plain(text: &str) -> String {
    let number = text.rsplit_once(" (os error ");
    let is_number = |number: &str| number.strip_suffix(')').is_some_and(|n| n.parse::<u32>().is_ok());
    number.filter(|(_, number)| is_number(number)).map_or(text, |(words, _)| words).to_owned()
}

/// The servers as errors name them.
pub(crate) fn servers(settings: &Settings) -> Vec<String> {
    let servers = settings.servers().join(",");
    servers.split(',').map(|given| server(given.trim())).collect()
}

fn server(given: &str) -> String {
    let given = given.split('?').next().unwrap_or(given);
    let (scheme, place) = given.split_once("://").unwrap_or(("", given));
    let place = place.strip_prefix("unix:").unwrap_or(place);
    if scheme == "unix" || place.starts_with('/') {
        return place.to_owned();
    }
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place).trim_end_matches('/');
    let named =
        place.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if named { place.to_owned() } else { format!("{place}:11211") }
}

/// The name without the port that everyone has.
pub(crate) fn short(server: &str) -> &str {
    server.strip_suffix(":11211").unwrap_or(server)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use last_seen::Tracker;

    use super::*;

    #[test]
    fn servers_are_named_as_the_library_names_them() {
        let settings = Settings::default().with_server_timeout(Duration::from_millis(10)).with_servers([
            "127.0.0.1:1",
            "127.0.0.2, [::1]:3?weight=1",
            "memcache://a:b@127.0.0.3:4/",
            "memcache://[::1]",
            "unix:/run/none.sock",
            "/run/other.sock",
            "unix:///run/third.sock",
        ]);
        let named: Vec<String> =
            Tracker::new(settings.clone()).unwrap().server_status().into_iter().map(|of| of.server).collect();
        assert_eq!(servers(&settings), named);
        assert_eq!(named.len(), 8);
    }

    #[test]
    fn a_system_error_is_plain_words() {
        let broken = std::io::Error::from_raw_os_error(32);
        assert_eq!(chain(&broken), "Broken pipe");
        assert_eq!(plain("a (os error x)"), "a (os error x)");
        let down = Tracker::connect("127.0.0.1:1").unwrap().online("alice").unwrap_err();
        assert_eq!(sentence(&down), "127.0.0.1:1 is down: connection refused");
    }
}
