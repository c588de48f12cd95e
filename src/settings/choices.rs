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
    /// How times are written. Reading takes every form, whatever is set here.
    "format", Format {
        /// `unix-seconds`, the default: ASCII digits, which every client of every language reads.
        #[default]
        UnixSeconds = "unix-seconds",
        /// `django`: what an unchanged Django site stores by `datetime.now()`, a pickled datetime in local time
        /// without a zone. Needs the feature `django`.
        Django = "django",
        /// `django-aware`: what an unchanged Django site with `USE_TZ = True` stores by `timezone.now()`, a pickled
        /// datetime in UTC that says so. Needs the feature `django`. Python compares a datetime of the one kind with
        /// none of the other: [`StoredRecord::format`](crate::StoredRecord::format) tells which of the two a site stores.
        DjangoAware = "django-aware",
    }
}

choices! {
    /// Which of several servers holds a key. Every program of a site has to decide alike; with one server
    /// they all do.
    "sharding", Sharding {
        /// `ketama`, the default: libmemcached's weighted ring. PHP with `OPT_LIBKETAMA_COMPATIBLE`, pylibmc
        /// with `ketama_weighted`, Node's memcached, twemproxy with md5 and ketama. A server more or less
        /// moves few keys.
        #[default]
        Ketama = "ketama",
        /// `pymemcache`: pymemcache's `HashClient`, and so Django's `PyMemcacheCache`. A server more or less
        /// moves few keys.
        Pymemcache = "pymemcache",
        /// `libmemcached`: the default of PHP's memcached and of pylibmc, and so Django's `PyLibMCCache`. A
        /// server more or less moves most keys.
        Libmemcached = "libmemcached",
        /// `python-memcached`: python-memcached, Django's former `MemcachedCache` and Perl's clients. A server
        /// more or less moves most keys.
        PythonMemcached = "python-memcached",
        /// `dalli`: Ruby's dalli. A server more or less moves few keys.
        Dalli = "dalli",
        /// `gomemcache`: Go's gomemcache, its `ServerList`. A server more or less moves most keys.
        Gomemcache = "gomemcache",
    }
}
