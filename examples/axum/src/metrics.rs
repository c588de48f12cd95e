//! `/metrics`: what has become of the sightings, and how each memcached server is, as Prometheus text. Let only your
//! monitoring reach it.

use axum::{
    extract::State,
    http::{HeaderName, header::CONTENT_TYPE},
};
use last_seen::{AsyncTracker, Recorder, RecorderStats, ServerStatus};

pub(crate) async fn show(
    State((recorder, tracker)): State<(Recorder, AsyncTracker)>,
) -> ([(HeaderName, &'static str); 1], String) {
    // Asks the servers on threads for blocking work, each within a few `server_timeout`s.
    let servers = tracker.server_status().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text(&recorder.stats(), &servers))
}

fn text(stats: &RecorderStats, servers: &[ServerStatus]) -> String {
    let mut text = String::new();
    for (name, help, value) in [
        ("queued", "Sightings that are queued now.", stats.queued),
        ("seen_total", "Sightings of valid users.", stats.seen),
        ("coalesced_total", "Sightings of users who were queued already.", stats.coalesced),
        ("written_total", "Sightings that are in memcached.", stats.written),
        ("dropped_total", "Sightings dropped: the queue was full, or a day had passed.", stats.dropped),
        ("cancelled_total", "Sightings cancelled by a sign-out or a deletion.", stats.cancelled),
        ("invalid_users_total", "Sightings of users who cannot be a key.", stats.invalid_users),
        ("failed_writes_total", "Writes that failed, and are tried again.", stats.failed_writes),
    ] {
        text += &metric(&format!("last_seen_recorder_{name}"), help, [(String::new(), value)]);
    }

    let up = servers.iter().map(|status| (label(status), u8::from(status.info.is_ok())));
    text += &metric("last_seen_server_up", "Whether the server answers.", up);
    let known = || servers.iter().filter_map(|status| Some((label(status), status.info.as_ref().ok()?)));
    let latency = known().map(|(label, info)| (label, info.latency.as_secs_f64()));
    text += &metric("last_seen_server_latency_seconds", "Time to answer on an open connection.", latency);
    let open = known().filter_map(|(label, info)| Some((label, info.connections?)));
    text += &metric("last_seen_server_connections", "Open connections of all clients.", open);
    let max = known().filter_map(|(label, info)| Some((label, info.max_connections?)));
    text += &metric("last_seen_server_max_connections", "Connections that the server allows.", max);
    text
}

/// One metric, with its samples.
fn metric<V: ToString>(name: &str, help: &str, samples: impl IntoIterator<Item = (String, V)>) -> String {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    let sample = |(label, value): (String, V)| format!("{name}{label} {}\n", value.to_string());
    head + &samples.into_iter().map(sample).collect::<String>()
}

fn label(status: &ServerStatus) -> String {
    let server = status.server.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("{{server=\"{server}\"}}")
}
