//! Settings whose value is one of a few names.

use std::{fmt, str::FromStr};

use crate::error::{EscapedQuoted, SettingsError};

/// Declares an enum whose variants have names in files, in the environment and on command lines.
macro_rules! choices {
    (
        $(#[$about:meta])*
        $setting:literal, $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant),*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $text),* })
            }
        }

        impl FromStr for $name {
            type Err = SettingsError;

            fn from_str(text: &str) -> Result<Self, SettingsError> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => {
                        let known = [$(concat!("\"", $text, "\"")),*].join(", ");
                        Err(SettingsError::new($setting, EscapedQuoted(text), format!("must be one of {known}")))
                    }
                }
            }
        }
    };
}

choices! {
    /// Selects how times are written. Every form is read, independent of this.
    ///
    /// ```
    /// use last_seen::{Format, Settings};
    ///
    /// assert_eq!("unix-seconds".parse(), Ok(Format::UnixSeconds));
    /// let settings = Settings::default().with_format(Format::DjangoAware);
    /// assert_eq!(settings.format().to_string(), "django-aware");
    /// ```
    "format", Format {
        /// Writes ASCII digits, which every client of every language reads: `unix-seconds`, the default.
        #[default]
        UnixSeconds = "unix-seconds",
        /// Writes what an unmodified Django site stores by `datetime.now()`, a pickled datetime in local time without a time
        /// zone: `django`. Needs the feature `django`.
        Django = "django",
        /// Writes what an unmodified Django site with `USE_TZ = True` stores by `timezone.now()`, a pickled datetime with the
        /// time zone UTC: `django-aware`. Needs the feature `django`. Python raises an error when it compares a datetime
        /// of one kind with one of the other: [`StoredRecord::format`](crate::StoredRecord::format) tells which a site stores.
        DjangoAware = "django-aware",
    }
}

choices! {
    /// Selects how keys are spread over several servers. All programs of a site must use the same. With one server it makes no difference.
    ///
    /// ```
    /// use last_seen::{Settings, Sharding};
    ///
    /// let servers = ["cache1:11211", "cache2:11211"];
    /// let settings = Settings::default().with_servers(servers).with_sharding(Sharding::Pymemcache);
    /// assert_eq!("pymemcache".parse(), Ok(settings.sharding()));
    /// ```
    "sharding", Sharding {
        /// Matches libmemcached's weighted ring: PHP with `OPT_LIBKETAMA_COMPATIBLE`, pylibmc with `ketama_weighted`, Node's
        /// memcached, twemproxy with md5 and ketama. `ketama`, the default. Adding or removing a server moves few keys.
        #[default]
        Ketama = "ketama",
        /// Matches pymemcache's `HashClient`, and so Django's `PyMemcacheCache`: `pymemcache`. Adding or removing a server
        /// moves few keys.
        Pymemcache = "pymemcache",
        /// Matches the default of PHP's memcached and of pylibmc, and so Django's `PyLibMCCache`: `libmemcached`. Adding or
        /// removing a server moves most keys.
        Libmemcached = "libmemcached",
        /// Matches python-memcached, Django's former `MemcachedCache` and Perl's clients: `python-memcached`. Adding or
        /// removing a server moves most keys.
        PythonMemcached = "python-memcached",
        /// Matches Ruby's dalli: `dalli`. Adding or removing a server moves few keys.
        Dalli = "dalli",
        /// Matches the `ServerList` of Go's gomemcache: `gomemcache`. Adding or removing a server moves most keys.
        Gomemcache = "gomemcache",
    }
}
