//! Item metadata from memcached's meta protocol. The only module that uses the crate `memcache`, for its wire format.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use memcache::exp::{MetaCommand, MetaOp, MetaResponse};

use super::{
    Detail,
    connection::{Broken, Cause},
    link::run_through,
    protocol::Lines,
    server::Server,
};
use crate::{error::Result, record::Key};

/// Returns an item's metadata. Call this before reading the value, because reading changes the metadata.
///
/// The command runs on a new connection, because a proxy closes the connection in reply. A server without meta commands
/// gives empty metadata. Only a server that does not answer at all is an error: then the value cannot be read either.
pub(super) fn detail(server: &Arc<Server>, key: &Key) -> Result<Detail> {
    let command = MetaCommand::new(MetaOp::Get, key.as_str()).flag("t").flag("l").flag("h");
    let Ok(request) = command.encode() else { return Ok(Detail::default()) };
    let call = server.begin_call(server.timeout)?;
    let failed = |broken, what, limit| {
        let failed = Err(server.error(broken, what, limit));
        server.record_outcome(call, &failed, false);
        failed.map(|()| Detail::default())
    };
    let mut connection = match server.connect_outside_pool(server.timeout) {
        Ok(connection) => connection,
        Err(broken) => return failed(broken, "connection", server.timeout / 2),
    };
    let mut answer = Lines::one(&request);
    match run_through(connection.run(&mut answer, Instant::now() + server.timeout)) {
        Ok(()) => Ok(answer.lines.first().map_or_else(Detail::default, |line| read(line.as_bytes()))),
        Err(broken @ Broken { cause: Cause::TimedOut, .. }) => failed(broken, "answer", server.timeout),
        Err(_) => Ok(Detail::default()),
    }
}

/// Parses a reply such as `HD t604799 l3 h1`, or `HD t-1 l0 h0` for an item that never expires.
fn read(line: &[u8]) -> Detail {
    let Ok(response) = MetaResponse::parse_header(line) else { return Detail::default() };
    let flag = |name: u8| {
        let found = response.flags().find(|flag| flag.first() == Some(&name))?;
        std::str::from_utf8(&found[1..]).ok()?.parse::<u64>().ok()
    };
    Detail {
        expires_in: flag(b't').map(Duration::from_secs),
        idle_for: flag(b'l').map(Duration::from_secs),
        was_read: flag(b'h').map(|read| read == 1),
    }
}
