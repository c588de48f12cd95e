//! `servers`: how each one is.

use chrono::TimeDelta;
use last_seen::{ServerInfo, ServerStatus, Tracker};
use serde::Serialize;

use crate::{
    Answer, DONE, FAILED, json,
    out::Out,
    table::{Cell, Look, Table},
};

/// memcached took the locks off a listing whose reader has stopped in this version.
const SAFE_LISTING: [u32; 3] = [1, 6, 19];

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    status: &'a ServerStatus,
    warnings: Vec<String>,
}

pub(crate) fn servers(tracker: &Tracker, json: bool, out: &mut Out) -> Answer {
    let servers = tracker.server_status();
    if json {
        for status in &servers {
            let info = status.info.as_ref().ok();
            let warnings = info.and_then(|info| warning(&status.server, info)).into_iter().collect();
            json::line(out, &Line { status, warnings });
        }
    } else {
        let mut table = Table::new(&["SERVER", "VERSION", "LATENCY", "CLOCK", "CONNECTIONS"]);
        for status in &servers {
            table.row(row(status));
        }
        table.print(out);
        for status in &servers {
            match &status.info {
                Ok(info) => {
                    let warning = warning(&status.server, info);
                    warning.into_iter().for_each(|warning| out.complain(&warning));
                }
                Err(error) => out.complain_of(error),
            }
        }
    }
    let failed = servers.iter().any(|status| status.info.is_err());
    Ok(if failed { FAILED } else { DONE })
}

fn row(status: &ServerStatus) -> [Cell; 5] {
    let server = status.server.as_str().into();
    let Ok(info) = &status.info else {
        return [server, Cell::new("unknown", Look::Bad), "-".into(), "-".into(), "-".into()];
    };
    let old = if below(&info.version, SAFE_LISTING) { Look::Bad } else { Look::Usual };
    [
        server,
        Cell::new(&info.version, old),
        format!("{:.2} ms", info.latency.as_secs_f64() * 1e3).into(),
        info.clock_offset.map_or("-".into(), clock),
        info.connections.zip(info.max_connections).map_or("-".into(), connections),
    ]
}

fn connections((open, allowed): (u64, u64)) -> Cell {
    format!("{open} of {allowed}").into()
}

/// A server counts in whole seconds and up to one behind.
fn clock(offset: TimeDelta) -> Cell {
    match offset.num_seconds() {
        -1..=1 => "as here".into(),
        ahead @ 2.. => Cell::new(&format!("{ahead} s ahead"), Look::Bad),
        behind => Cell::new(&format!("{} s behind", behind.unsigned_abs()), Look::Bad),
    }
}

fn warning(server: &str, info: &ServerInfo) -> Option<String> {
    below(&info.version, SAFE_LISTING).then(|| {
        let version = &info.version;
        format!(
            "{server} is memcached {version}: below 1.6.19 `who` holds its locks while it lists, so do not \
             suspend it (Ctrl-Z)"
        )
    })
}

/// Whether a version such as `1.6.18_39_gabc` is older; one that cannot be read is not.
fn below(version: &str, limit: [u32; 3]) -> bool {
    let number = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part[..digits].parse().ok()
    };
    let parts: Option<Vec<u32>> = version.splitn(3, '.').map(number).collect();
    parts.is_some_and(|parts| parts[..] < limit[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_their_numbers() {
        for old in ["1.6.18", "1.6.9", "1.5.22", "1.6.18-beta", "1.6.18_39_gabc", "0.9"] {
            assert!(below(old, SAFE_LISTING), "{old}");
        }
        for safe in ["1.6.19", "1.6.100", "1.7.0", "2.0", "unknown", ""] {
            assert!(!below(safe, SAFE_LISTING), "{safe}");
        }
    }
}
