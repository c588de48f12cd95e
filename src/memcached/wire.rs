//! What is asked in the meta protocol, and what the answers mean; no I/O.

use std::{io, time::Duration};

use memcache::exp::{Delete, Error as ClientError, Get, GetResult, Meta, MutationResult, Set, Ttl};

use super::{Item, When, Write};
use crate::{
    error::{Error, Escaped},
    record::{Key, Value},
    settings::Server,
};

pub(super) fn get(key: &Key) -> Get {
    Get::new(key.as_str())
}

pub(super) fn inspect(key: &Key) -> Get {
    get(key).meta(Meta::NONE.ttl().cas())
}

pub(super) fn set(write: &Write) -> Set {
    let set = Set::new(write.key.as_str(), &write.value.bytes)
        .client_flags(write.value.flags)
        .ttl(Ttl::secs(write.expiry));
    match write.when {
        When::Always => set,
        When::Absent => set.add(),
        When::Present => set.replace(),
        When::Unchanged(cas) => set.compare_cas(cas),
    }
}

pub(super) fn delete(key: &Key, cas: Option<u64>) -> Delete {
    let delete = Delete::new(key.as_str());
    match cas {
        Some(cas) => delete.compare_cas(cas),
        None => delete,
    }
}

pub(super) fn done(result: &MutationResult) -> bool {
    result.applied()
}

/// A placeholder that some other client is about to fill is no record yet.
pub(super) fn value(found: GetResult) -> Option<Value> {
    found
        .hit()
        .then(|| Value { flags: found.client_flags.unwrap_or(0), bytes: found.value.unwrap_or_default() })
}

pub(super) fn item(found: GetResult) -> Option<Item> {
    // An item that never expires has -1.
    let expires_in = found.item.ttl.and_then(|left| u64::try_from(left).ok()).map(Duration::from_secs);
    let cas = found.item.cas.unwrap_or(0);
    value(found).map(|value| Item { value, expires_in, cas })
}

/// What failed after `took`; `None` for the bare `ERROR` that only a question to the server explains.
pub(super) fn error(
    server: &Server,
    timeout: Duration,
    took: Duration,
    failed: ClientError,
) -> Option<Error> {
    let name = server.name();
    Some(match failed {
        // Every failed write comes wrapped so, those with a definite answer too.
        ClientError::Ambiguous { source, .. } => return error(server, timeout, took, *source),
        ClientError::Io(error) => Error::unavailable(name, error),
        // The client gives a dial half the time of an exchange, and both the same error.
        ClientError::Timeout { .. } => {
            let (what, limit) =
                if took < timeout { ("connection", timeout / 2) } else { ("answer", timeout) };
            let message = format!("no {what} within {}", humantime::format_duration(limit));
            Error::unavailable(name, io::Error::new(io::ErrorKind::TimedOut, message))
        }
        // From a server at its connection limit, and from one that does not know the command.
        ClientError::Rejected(message) if message == "ERROR" => return None,
        ClientError::Server(message) | ClientError::Rejected(message) => Error::answered(name, &message),
        // It quotes what the server said, of any length.
        ClientError::Protocol(message) => {
            let message = Escaped(&message).to_string();
            Error::unavailable(name, io::Error::new(io::ErrorKind::InvalidData, message))
        }
        // Usage errors, which a legal key, a value and an expiry of at least a second cannot cause.
        other => Error::unavailable(name, io::Error::other(other.to_string())),
    })
}
