//! `servers`: how each one is.

use chrono::TimeDelta;
use last_seen::{Error, ServerInfo, ServerStatus, Tracker};
use serde::Serialize;

use crate::{
    Exit, json,
    out::Out,
    table::{Cell, Style, Table},
    text,
    view::View,
    words,
};

/// From this version on, a reader who is slow to read a listing does not block memcached's other clients.
const SAFE_LISTING: [u32; 3] = [1, 6, 19];

/// The percentage of connections in use from which on there is a warning.
const MANY_CONNECTIONS: u64 = 90;

#[derive(Serialize)]
struct Line<'a> {
    server: &'a str,
    status: &'static str,
    version: Option<&'a str>,
    latency_us: Option<u128>,
    clock_offset_s: Option<i64>,
    connections: Option<u64>,
    max_connections: Option<u64>,
    warnings: Vec<String>,
    error: Option<&'a Error>,
}

pub(crate) fn servers(tracker: &Tracker, out: &mut Out) -> u8 {
    let servers = tracker.server_status();
    if out.json {
        servers.iter().for_each(|status| json::line(out, &line(status)));
    } else {
        table(&servers, out.view).iter().for_each(|line| out.line(line));
        let remarks: Vec<String> = servers.iter().flat_map(remarks).collect();
        if !remarks.is_empty() {
            out.line("");
        }
        let columns = out.view.width.unwrap_or(usize::MAX);
        let lines = remarks.iter().flat_map(|remark| text::wrap(remark, columns));
        lines.for_each(|line| out.line(&line));
    }
    let down = servers.iter().filter(|status| status.info.is_err()).count();
    Exit::of(down, servers.len(), Exit::DONE)
}

fn line(status: &ServerStatus) -> Line<'_> {
    let info = status.info.as_ref().ok();
    Line {
        server: &status.server,
        status: if info.is_some() { "up" } else { "down" },
        version: info.map(|info| info.version.as_str()),
        latency_us: info.map(|info| info.latency.as_micros()),
        clock_offset_s: info.and_then(|info| info.clock_offset).map(|offset| offset.num_seconds()),
        connections: info.and_then(|info| info.connections),
        max_connections: info.and_then(|info| info.max_connections),
        warnings: info.map(warnings).unwrap_or_default(),
        error: status.info.as_ref().err(),
    }
}

/// Without the last columns if there is no room for them.
fn table(servers: &[ServerStatus], view: View) -> Vec<String> {
    let headings = ["SERVER", "STATUS", "VERSION", "LATENCY", "CLOCK", "CONNECTIONS"];
    let rows: Vec<[Cell; 6]> = servers.iter().map(|status| row(status, view)).collect();
    let mut lines = Vec::new();
    for columns in (2..=headings.len()).rev() {
        let mut table = Table::new(&headings[..columns]);
        rows.iter().for_each(|row| table.row(row[..columns].to_vec()));
        lines = table.lines(View { width: None, ..view });
        // Colours have no width.
        let widest = table.lines(View { width: None, colour: false, ..view });
        let widest = widest.iter().map(|line| text::width(line)).max().unwrap_or_default();
        if view.width.is_none_or(|width| widest <= width) {
            return lines;
        }
        lines = table.lines(view);
    }
    lines
}

fn row(status: &ServerStatus, view: View) -> [Cell; 6] {
    let server = Cell::from(status.server.as_str());
    let marked = |glyph, word: &str, style| match view.width {
        Some(_) => Cell::new(&format!("{} {word}", view.glyph(glyph)), style),
        None => Cell::new(word, style),
    };
    let Ok(info) = &status.info else {
        let down = marked("✗", "DOWN", Style::Warn);
        return [server, down, "-".into(), "-".into(), "-".into(), "-".into()];
    };
    let up = match warnings(info).is_empty() {
        true => marked("✓", "up", Style::Ok),
        false => marked("!", "up", Style::Warn),
    };
    [
        server,
        up,
        info.version.as_str().into(),
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
        -1..=1 => "in sync".into(),
        offset => Cell::new(&format!("{offset:+} s"), Style::Warn),
    }
}

/// What is said of the server below the table.
fn remarks(status: &ServerStatus) -> Vec<String> {
    let name = words::short(&status.server);
    match &status.info {
        Ok(info) => warnings(info).into_iter().map(|warning| format!("{name}  {warning}")).collect(),
        Err(error) => vec![format!("{name}  {}. Is memcached running there?", error.reason())],
    }
}

fn warnings(info: &ServerInfo) -> Vec<String> {
    let mut warnings: Vec<String> = lock_warning(info).into_iter().collect();
    if let Some(offset) =
        info.clock_offset.map(|offset| offset.num_seconds()).filter(|offset| offset.abs() > 1)
    {
        let way = if offset > 0 { "ahead" } else { "behind" };
        warnings.push(format!("clock {} s {way}: run NTP", offset.abs()));
    }
    if let Some((open, allowed)) = info.connections.zip(info.max_connections)
        && open * 100 >= allowed * MANY_CONNECTIONS
    {
        let percent = open * 100 / allowed.max(1);
        warnings.push(format!("connections at {percent} %: raise -c or lower max_connections"));
    }
    warnings
}

/// Of a server that holds its locks for a reader who has stopped.
pub(crate) fn lock_warning(info: &ServerInfo) -> Option<String> {
    is_below(&info.version, SAFE_LISTING).then(|| {
        let version = &info.version;
        format!("{version}: before 1.6.19 a suspended `who` or `watch` blocks all clients; upgrade")
    })
}

/// Whether a version such as `1.6.18_39_gabc` is older; one that cannot be read is not.
fn is_below(version: &str, limit: [u32; 3]) -> bool {
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
            assert!(is_below(old, SAFE_LISTING), "{old}");
        }
        for safe in ["1.6.19", "1.6.100", "1.7.0", "2.0", "unknown", ""] {
            assert!(!is_below(safe, SAFE_LISTING), "{safe}");
        }
    }
}
