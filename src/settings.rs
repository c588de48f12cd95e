//! Settings, with defaults that suit a web site.

mod choices;
mod parse;
mod servers;

use std::time::Duration;

use serde::Deserialize;

pub use choices::{Format, Sharding};

use crate::{
    error::{EscapedQuoted, Result, SettingsError},
    record::{self, Codec, Form},
};
use servers::ServerList;
#[cfg(feature = "tls")]
pub(crate) use servers::Tls;
pub(crate) use servers::{Login, Password, Place, Server, Servers};

const DAY: Duration = Duration::from_secs(86_400);

/// The longest `last_seen_timeout`. memcached stores an expiry as a date in 31 bits, which end in January 2038.
const MAX_LAST_SEEN_TIMEOUT: Duration = Duration::from_secs(5 * 365 * DAY.as_secs());

const MAX_SERVER_TIMEOUT: Duration = Duration::from_secs(10);

const MIN_FLUSH_INTERVAL: Duration = Duration::from_millis(10);
const MAX_FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// The limit of `max_connections`. memcached allows 1,024 connections by default, for all its clients together.
const MAX_CONNECTIONS: usize = 1_000;

/// Configures a [`Tracker`](crate::Tracker). Start from [`Settings::default`] and change what you need, or deserialize it
/// from any serde format.
///
/// In files and in the environment, durations are whole seconds or strings such as `"5m"`, `"7d"` and `"100ms"`. In a file,
/// an unknown name is an error that names it, and `USER_ONLINE_TIMEOUT` and `USER_LASTSEEN_TIMEOUT`, as Django sites call
/// them, are accepted too. In the environment, other variables are ignored.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use last_seen::{Settings, Tracker};
///
/// let settings: Settings = toml::from_str(r#"
///     servers = "memory:"
///     online_timeout = "10m"
/// "#)?;
/// assert_eq!(settings.online_timeout(), Duration::from_secs(600));
/// let tracker = Tracker::new(settings.with_key_prefix("shop_seen_"))?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "parse::RawSettings")]
pub struct Settings {
    servers: ServerList,
    online_timeout: Duration,
    last_seen_timeout: Duration,
    key_prefix: String,
    format: Format,
    time_zone: String,
    sharding: Sharding,
    server_timeout: Duration,
    max_connections: usize,
    flush_interval: Duration,
    recorder_capacity: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: ServerList::new(vec!["127.0.0.1:11211".to_owned()]),
            online_timeout: Duration::from_secs(300),
            last_seen_timeout: 7 * DAY,
            key_prefix: "seen_".to_owned(),
            format: Format::default(),
            time_zone: "UTC".to_owned(),
            sharding: Sharding::default(),
            server_timeout: Duration::from_millis(100),
            max_connections: 8,
            flush_interval: Duration::from_secs(1),
            recorder_capacity: 100_000,
        }
    }
}

impl Settings {
    /// Reads the settings from environment variables: `LAST_SEEN_` and the setting's name in capitals, such as
    /// `LAST_SEEN_SERVERS` and `LAST_SEEN_ONLINE_TIMEOUT`. What is not set has its default.
    ///
    /// # Errors
    /// Returns [`Error::Settings`](crate::Error::Settings) if a variable's text is not a value of its setting.
    pub fn from_env() -> Result<Self> {
        Ok(Self::try_from(parse::RawSettings::from_env()?)?)
    }

    /// Returns the settings for an unmodified Django site that stores `datetime.now()`: prefix `:1:seen_`,
    /// [`Format::Django`], [`Sharding::Pymemcache`] as in its `PyMemcacheCache`, and the site's `TIME_ZONE`, such as
    /// `"Europe/Berlin"`. A site with a `KEY_PREFIX` or `VERSION` has another prefix, `site:2:seen_` for example.
    ///
    /// The rules of the zone are read here and when a tracker is created, from the zone files in `TZDIR` or else the host's,
    /// as its Python reads them; on a host without the file, from this crate's own copy.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// use last_seen::{Settings, Tracker};
    ///
    /// let tracker = Tracker::new(Settings::django("Europe/Berlin")?.with_servers(["127.0.0.1:11211"]))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::Settings`](crate::Error::Settings) if there is no such time zone.
    #[cfg(feature = "django")]
    pub fn django(time_zone: &str) -> Result<Self> {
        let settings = Self::django_aware().with_format(Format::Django).with_time_zone(time_zone);
        settings.codec()?;
        Ok(settings)
    }

    /// Returns the settings for an unmodified Django site that has `USE_TZ = True` and stores `timezone.now()`: those of
    /// [`django`](Self::django) with [`Format::DjangoAware`], which needs no time zone.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// use last_seen::{Settings, Tracker};
    ///
    /// let tracker = Tracker::new(Settings::django_aware().with_servers(["127.0.0.1:11211"]))?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "django")]
    #[must_use]
    pub fn django_aware() -> Self {
        Self::default()
            .with_key_prefix(":1:seen_")
            .with_format(Format::DjangoAware)
            .with_sharding(Sharding::Pymemcache)
    }

    /// Sets the servers: one or more of these, each as an item or in a comma-separated list, or `"memory:"` alone for
    /// a store in this process. Defaults to `127.0.0.1:11211`.
    ///
    /// | | |
    /// | --- | --- |
    /// | `"host"`, `"host:11211"`, `"[::1]:11211"`, `"memcache://host:11211"` | TCP; the port defaults to 11211 |
    /// | `"unix:/run/memcached.sock"`, `"/run/memcached.sock"` | Unix socket |
    /// | `"tls://host:11211"`, `"memcache+tls://host:11211"` | TLS; needs the feature `tls` |
    /// | `"memcache://user:password@host"`, `"tls://user:password@host"` | logs in to a `memcached -Y` |
    ///
    /// Options follow as in `"host?weight=2"`, joined by `&`:
    ///
    /// | | |
    /// | --- | --- |
    /// | `weight=2` | gives the server twice the share of the others, with [`Sharding::Ketama`] and [`Sharding::Dalli`] |
    /// | `ca=FILE` | with TLS, trusts the certificates in this PEM file instead of the system's |
    /// | `cert=FILE&key=FILE` | with TLS, names the client's certificate and key |
    /// | `server_name=NAME` | with TLS, is the name in the server's certificate, if that is not the host |
    /// | `password_file=FILE` | holds the password of `"memcache://user@host"`, which keeps it out of the settings |
    ///
    /// Users, passwords, paths and values of options are percent-decoded: write a comma as `%2C`, `%`, `?` and `&`
    /// likewise, and `:` and `/` in a user or password. [`servers`](Self::servers), `Debug`, errors and events show `***` in
    /// place of a password. [`Tracker::new`](crate::Tracker::new) reads the files once to check them; new connections
    /// use renewed ones.
    ///
    /// A change of the list moves users: with ketama, pymemcache and dalli half of them from one server to two, a
    /// third from two to three, a quarter from three to four; with the others most. Users whose key moves have no record
    /// until their next request.
    #[must_use]
    pub fn with_servers<S: Into<String>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.servers = ServerList::new(servers.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long a user counts as online after a request, in whole seconds; 1 s to `last_seen_timeout`. Defaults to
    /// 300 s.
    #[must_use]
    pub fn with_online_timeout(mut self, timeout: Duration) -> Self {
        self.online_timeout = timeout;
        self
    }

    /// Sets how long a record is kept after the user's last request, in whole seconds; `online_timeout` to five years.
    /// Defaults to 7 days.
    #[must_use]
    pub fn with_last_seen_timeout(mut self, timeout: Duration) -> Self {
        self.last_seen_timeout = timeout;
        self
    }

    /// Sets the prefix of every key, 1 to 249 bytes without spaces or control characters. Defaults to `seen_`. Django adds a
    /// prefix of its own: what it calls `seen_` is `:1:seen_` in memcached.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets how times are written; every format is read. Defaults to [`Format::UnixSeconds`].
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the IANA time zone assumed for stored datetimes without one. Use the value of Django's `TIME_ZONE`. Any but UTC
    /// needs the feature `django`. Defaults to `UTC`.
    #[must_use]
    pub fn with_time_zone(mut self, time_zone: impl Into<String>) -> Self {
        self.time_zone = time_zone.into();
        self
    }

    /// Sets how keys are spread over several servers; must match your other programs. Defaults to [`Sharding::Ketama`].
    #[must_use]
    pub fn with_sharding(mut self, sharding: Sharding) -> Self {
        self.sharding = sharding;
        self
    }

    /// Sets the timeout of one request to a server, 1 ms to 10 s. Waiting for a free connection and for DNS may take half of
    /// it more, and connecting another half. Failures within one timeout count as one; after three in a row the circuit
    /// opens, and calls fail fast until a probe succeeds. Defaults to 100 ms.
    #[must_use]
    pub fn with_server_timeout(mut self, timeout: Duration) -> Self {
        self.server_timeout = timeout;
        self
    }

    /// Sets how many connections a tracker opens to each server, 1 to 1,000, for blocking calls, async calls and recorders
    /// together. Beyond these, [`server_status`](crate::Tracker::server_status) opens up to two, a list one, a watch up to
    /// three, and [`inspect`](crate::Tracker::inspect) and a probe one each. Defaults to 8.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how often a [`Recorder`](crate::Recorder) writes what is queued, 10 ms to 1 min. Defaults to 1 s.
    #[must_use]
    pub fn with_flush_interval(mut self, period: Duration) -> Self {
        self.flush_interval = period;
        self
    }

    /// Sets the maximum number of users queued in a [`Recorder`](crate::Recorder), at least 1. Defaults to 100,000.
    #[must_use]
    pub fn with_recorder_capacity(mut self, users: usize) -> Self {
        self.recorder_capacity = users;
        self
    }

    /// Returns the servers as they were set, with `***` in place of passwords.
    pub fn servers(&self) -> &[String] {
        self.servers.shown()
    }

    /// Returns how long a user counts as online after a request.
    pub fn online_timeout(&self) -> Duration {
        self.online_timeout
    }

    /// Returns how long a record is kept after the user's last request.
    pub fn last_seen_timeout(&self) -> Duration {
        self.last_seen_timeout
    }

    /// Returns the prefix of every key.
    pub fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    /// Returns how times are written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the time zone assumed for stored datetimes without one.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// Returns how keys are spread over several servers.
    pub fn sharding(&self) -> Sharding {
        self.sharding
    }

    /// Returns the timeout of one request to a server.
    pub fn server_timeout(&self) -> Duration {
        self.server_timeout
    }

    /// Returns how many connections a tracker opens to each server at most.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Returns how often a recorder writes what is queued.
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// Returns the maximum number of users queued in a recorder.
    pub fn recorder_capacity(&self) -> usize {
        self.recorder_capacity
    }

    /// Checks each setting alone and together with the others. Returns the servers.
    pub(crate) fn check(&self) -> Result<Servers, SettingsError> {
        let whole_seconds = |setting, value: Duration, limit: Duration, limit_name| {
            let refuse = |reason| Err(SettingsError::new(setting, parse::text(value), reason));
            if value.is_zero() {
                refuse("must be at least 1s".to_owned())
            } else if value.subsec_nanos() != 0 {
                refuse("must be a whole number of seconds".to_owned())
            } else if value > limit {
                refuse(format!("must be at most {limit_name}"))
            } else {
                Ok(())
            }
        };
        whole_seconds("last_seen_timeout", self.last_seen_timeout, MAX_LAST_SEEN_TIMEOUT, "five years")?;
        let longest = parse::text(self.last_seen_timeout);
        let longest = format!("{longest}, the last_seen_timeout");
        whole_seconds("online_timeout", self.online_timeout, self.last_seen_timeout, &longest)?;

        let refuse = |setting, value: String, reason: &str| Err(SettingsError::new(setting, value, reason));
        if self.server_timeout < Duration::from_millis(1) || self.server_timeout > MAX_SERVER_TIMEOUT {
            let hint = match self.server_timeout.as_secs() {
                0 => "must be at least 1ms".to_owned(),
                seconds => {
                    format!("must be at most 10s (plain numbers are seconds); did you mean \"{seconds}ms\"?")
                }
            };
            return refuse("server_timeout", parse::text(self.server_timeout), &hint);
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.max_connections) {
            return refuse("max_connections", self.max_connections.to_string(), "must be 1 to 1000");
        }
        if !(MIN_FLUSH_INTERVAL..=MAX_FLUSH_INTERVAL).contains(&self.flush_interval) {
            return refuse("flush_interval", parse::text(self.flush_interval), "must be 10ms to 1m");
        }
        if self.recorder_capacity == 0 {
            return refuse("recorder_capacity", "0".to_owned(), "must be at least 1");
        }
        let prefix = format!("{:?}", self.key_prefix);
        if self.key_prefix.is_empty() {
            return refuse("key_prefix", prefix, "must not be empty");
        }
        if !self.key_prefix.bytes().all(record::is_key_byte) {
            return refuse("key_prefix", prefix, "must not contain spaces or control characters");
        }
        if self.key_prefix.len() >= record::MAX_KEY {
            return refuse(
                "key_prefix",
                prefix,
                "must be shorter than 250 bytes, so that a user fits into the key",
            );
        }
        servers::parse(&self.servers, self.sharding)
    }

    /// Returns the codec that reads and writes records by these settings.
    pub(crate) fn codec(&self) -> Result<Codec, SettingsError> {
        let time_zone = &self.time_zone;
        let zone = record::zone_named(time_zone)
            .map_err(|reason| SettingsError::new("time_zone", EscapedQuoted(time_zone), reason))?;
        let form = match self.format {
            Format::UnixSeconds => Form::UnixSeconds,
            #[cfg(feature = "django")]
            Format::Django => Form::NaiveDatetime,
            #[cfg(feature = "django")]
            Format::DjangoAware => Form::AwareDatetime,
            #[cfg(not(feature = "django"))]
            Format::Django | Format::DjangoAware => {
                return Err(SettingsError::new("format", self.format, "needs the feature `django`"));
            }
        };
        Ok(Codec { form, zone, online_timeout: self.online_timeout })
    }
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::UnixSeconds => Self::UnixSeconds,
            #[cfg(feature = "django")]
            Form::NaiveDatetime => Self::Django,
            #[cfg(feature = "django")]
            Form::AwareDatetime => Self::DjangoAware,
        }
    }
}
