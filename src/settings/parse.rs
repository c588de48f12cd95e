//! Reads settings from files and from the environment.

use std::{env, ffi::OsString, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::{ServerList, Settings, servers::masked};
use crate::error::{EscapedQuoted, SettingsError};

/// Declares a struct with one optional [`Raw`] value for each setting, from a file or the environment.
macro_rules! raw_settings {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RawSettings {
            $($(#[$attribute])* $name: Option<Raw>,)*
        }

        impl RawSettings {
            pub(super) fn from_env() -> Result<Self, SettingsError> {
                Ok(Self { $($name: variable(stringify!($name))?,)* })
            }
        }
    };
}

raw_settings! {
    servers,
    #[serde(alias = "USER_ONLINE_TIMEOUT")]
    online_timeout,
    #[serde(alias = "USER_LASTSEEN_TIMEOUT")]
    last_seen_timeout,
    key_prefix,
    format,
    time_zone,
    sharding,
    server_timeout,
    max_connections,
    flush_interval,
    recorder_capacity,
}

fn variable(setting: &'static str) -> Result<Option<Raw>, SettingsError> {
    env::var_os(format!("LAST_SEEN_{}", setting.to_uppercase())).map(|value| utf8(setting, value)).transpose()
}

fn utf8(setting: &'static str, value: OsString) -> Result<Raw, SettingsError> {
    value.into_string().map(Raw::Text).map_err(|value| {
        // It may be a list of servers with a password.
        let shown = masked(&value.to_string_lossy());
        SettingsError::new(setting, EscapedQuoted(&shown), "must be valid UTF-8")
    })
}

impl TryFrom<RawSettings> for Settings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        set(&mut settings.servers, raw.servers, list)?;
        set(&mut settings.online_timeout, raw.online_timeout, |raw| duration("online_timeout", raw))?;
        set(&mut settings.last_seen_timeout, raw.last_seen_timeout, |raw| {
            duration("last_seen_timeout", raw)
        })?;
        set(&mut settings.key_prefix, raw.key_prefix, |raw| words("key_prefix", raw))?;
        set(&mut settings.format, raw.format, |raw| words("format", raw)?.parse())?;
        set(&mut settings.time_zone, raw.time_zone, |raw| words("time_zone", raw))?;
        set(&mut settings.sharding, raw.sharding, |raw| words("sharding", raw)?.parse())?;
        set(&mut settings.server_timeout, raw.server_timeout, |raw| duration("server_timeout", raw))?;
        set(&mut settings.max_connections, raw.max_connections, |raw| count("max_connections", raw))?;
        set(&mut settings.flush_interval, raw.flush_interval, |raw| duration("flush_interval", raw))?;
        set(&mut settings.recorder_capacity, raw.recorder_capacity, |raw| count("recorder_capacity", raw))?;
        Ok(settings)
    }
}

fn set<T>(
    setting: &mut T,
    raw: Option<Raw>,
    read: impl FnOnce(Raw) -> Result<T, SettingsError>,
) -> Result<(), SettingsError> {
    if let Some(raw) = raw {
        *setting = read(raw)?;
    }
    Ok(())
}

fn list(raw: Raw) -> Result<ServerList, SettingsError> {
    match raw {
        Raw::Text(text) => Ok(ServerList::new(vec![text])),
        Raw::List(texts) => Ok(ServerList::new(texts)),
        other => Err(SettingsError::new("servers", other, "expected text or a list of texts")),
    }
}

fn words(setting: &'static str, raw: Raw) -> Result<String, SettingsError> {
    match raw {
        Raw::Text(text) => Ok(text),
        other => Err(SettingsError::new(setting, other, "expected text")),
    }
}

fn duration(setting: &'static str, raw: Raw) -> Result<Duration, SettingsError> {
    let read = match &raw {
        Raw::Whole(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        Raw::Text(text) => match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        },
        _ => None,
    };
    let reason = "expected seconds or a duration such as \"5m\", \"7d\" or \"100ms\"";
    read.ok_or_else(|| SettingsError::new(setting, raw, reason))
}

fn count(setting: &'static str, raw: Raw) -> Result<usize, SettingsError> {
    let read = match &raw {
        Raw::Whole(count) => usize::try_from(*count).ok(),
        Raw::Text(text) => text.parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| SettingsError::new(setting, raw, "expected a whole number"))
}

/// Returns a duration as text, in the format of a settings file.
pub(super) fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A value from a file, not yet converted to the type of its setting.
enum Raw {
    Whole(i128),
    Text(String),
    List(Vec<String>),
    Other(String),
}

/// Displays the value as errors show it.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Text(text) => EscapedQuoted(text).fmt(f),
            Self::List(texts) => EscapedQuoted(&texts.join(",")).fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text or a list of texts")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Whole(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Other(number.to_string()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Other(truth.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = sequence.next_element()? {
            texts.push(text);
        }
        Ok(Raw::List(texts))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_variable_that_is_not_utf8_shows_no_password() {
        let value = OsString::from_vec(b"memcache://site:geheim\xff@cache1".to_vec());
        let error = utf8("servers", value).err().unwrap();
        assert_eq!(
            error.to_string(),
            r#"setting servers = "memcache://site:***@cache1": must be valid UTF-8"#
        );
    }
}
