//! The settings: from a file or from the environment, and options over either.

use std::{error::Error, fs, path::Path};

use last_seen::Settings;

use crate::args::ConnectionOptions;

/// Why no settings could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: Box<Path>, source: std::io::Error },
    #[error("cannot use {}{}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Wrong { path: Box<Path>, line: Option<usize>, source: Message },
    #[error(
        "\"memory:\" is the memory of each process alone: name a memcached, as in --servers 127.0.0.1:11211"
    )]
    Memory,
}

/// What a file's parser says, without its drawing of the place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(String);

pub(crate) fn settings(options: &ConnectionOptions) -> Result<Settings, Box<dyn Error + Send + Sync>> {
    let mut settings = match &options.config {
        Some(path) => from_file(path)?,
        None => Settings::from_env()?,
    };
    let site = match &options.django {
        Some(zone) => Some(Settings::django(zone)?),
        None => options.django_aware.then(Settings::django_aware),
    };
    if let Some(site) = site {
        settings = settings
            .with_key_prefix(site.key_prefix())
            .with_format(site.format())
            .with_time_zone(site.time_zone())
            .with_sharding(site.sharding());
    }
    if let Some(servers) = &options.servers {
        settings = settings.with_servers([servers]);
    }
    if let Some(prefix) = &options.prefix {
        settings = settings.with_key_prefix(prefix);
    }
    if let Some(sharding) = options.sharding {
        settings = settings.with_sharding(sharding);
    }
    if settings.servers() == ["memory:"] {
        return Err(ConfigError::Memory.into());
    }
    Ok(settings)
}

fn from_file(path: &Path) -> Result<Settings, ConfigError> {
    let file =
        fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    toml::from_str(&file).map_err(|error: toml::de::Error| {
        let line =
            error.span().map(|span| file.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1);
        ConfigError::Wrong { path: path.into(), line, source: Message(error.message().to_owned()) }
    })
}
