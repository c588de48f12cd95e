//! Entry points for `fuzz/`: each takes any bytes, and panics if a promise is broken.

use std::time::Duration;

use chrono::Utc;

pub use crate::memcached::fuzzing::answers;
use crate::{
    record::Codec,
    settings::{Servers, Settings, Sharding},
};

/// The reader of values. The first byte is the flags.
pub fn value(bytes: &[u8]) {
    let [flags, bytes @ ..] = bytes else { return };
    let codec = Codec::new(Duration::from_secs(300));
    if let Err(error) = codec.decode("seen_fuzz", (*flags).into(), bytes, Utc::now()) {
        let _ = error.to_string();
    }
}

/// The parser of server lists. What it accepts has names that are accepted again and stay as they are.
pub fn servers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parse = |text: &str| {
        let settings = Settings::default().with_servers([text]).with_sharding(Sharding::Ketama);
        settings.check()
    };
    match parse(text) {
        Ok(Servers::Memcached(servers)) => {
            // The name of a socket is its path, which may hold a comma or a percent sign.
            for server in servers.iter().filter(|server| !server.name.starts_with('/')) {
                let again = parse(&format!("memcache://{}", server.name));
                let Ok(Servers::Memcached(again)) = again else { panic!("{:?} is refused", server.name) };
                assert_eq!(again[0].name, server.name);
            }
        }
        Ok(Servers::Memory) => {}
        Err(error) => drop(error.to_string()),
    }
}
