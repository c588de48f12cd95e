//! What recording costs an axum app, in requests a second: `cargo bench --all-features --bench axum`.
//!
//! The same app without the layer, with it, and without it again as the control; then with one write to memcached
//! in each request. In turn, round by round, each under `wrk` with 1,000 users over 32 connections: the app on one
//! core, `wrk` and memcached on another. The handler does nothing: with a real one the layer weighs less.
//!
//! Needs memcached, wrk and taskset; Linux only.

#![allow(unreachable_pub, reason = "a bench has no public API")]

#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{net::SocketAddr, process::Command};

use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};
use support::Memcached;

const ROUNDS: usize = 7;

const SCRIPT: &str = r#"
local requests, at = {}, 0
init = function(arguments)
    wrk.init(arguments)
    for user = 1, 1000 do
        requests[user] = wrk.format("GET", "/", { user = "user" .. user })
    end
end
request = function()
    at = at % 1000 + 1
    return requests[at]
end
"#;

fn main() {
    let memcached = Memcached::start();
    pin(memcached.id(), "1");
    let script = std::env::temp_dir().join(format!("last-seen-{}.lua", std::process::id()));
    std::fs::write(&script, SCRIPT).unwrap();
    let load = |address: SocketAddr, seconds: u64| {
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", "1", "wrk", "-t1", "-c32", &format!("-d{seconds}s"), "-s"]).arg(&script);
        let output = wrk.arg(format!("http://{address}/")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        let clean = output.status.success() && !said.contains("Non-2xx") && !said.contains("Socket errors");
        let said = [said.clone(), String::from_utf8_lossy(&output.stderr).into_owned()].concat();
        rate.filter(|_| clean).unwrap_or_else(|| panic!("wrk: {said}")).trim().parse::<f64>().unwrap()
    };

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tracker, recorder) = (memcached.tracker(), Recorder::new(memcached.tracker()));
    let app = Router::new().route("/", get(async || "ok"));
    let layer = app.clone().layer(SeenLayer::new(recorder.clone(), identify));
    let asynchronous = middleware::from_fn_with_state(AsyncTracker::from(tracker.clone()), write);
    let blocking = middleware::from_fn_with_state(tracker, write_blocking);
    let apps = [
        ("without", app.clone()),
        ("with the layer", layer),
        ("without again: the control", app.clone()),
        ("AsyncTracker::seen in each request", app.clone().layer(asynchronous)),
        ("Tracker::seen in each request, blocking", app.layer(blocking)),
    ];
    let apps = apps.map(|(name, app)| (name, runtime.block_on(serve(app))));
    pin(std::process::id(), "0");

    for (_, address) in apps {
        load(address, 1);
    }
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(apps.map(|(_, address)| load(address, 2)));
    }
    std::fs::remove_file(script).unwrap();

    println!("{:<42} {:>12} {:>26}", "", "requests/s", "of without (lowest..highest)");
    for (nth, (name, _)) in apps.iter().enumerate() {
        let rate = median(rounds.iter().map(|round| round[nth]));
        // The two without stand on either side of the layer. The control is compared with the first alone.
        let without = |round: &[f64; 5]| if nth == 2 { round[0] } else { f64::midpoint(round[0], round[2]) };
        let ratios = || rounds.iter().map(|round| round[nth] / without(round));
        let (lowest, highest) = (ratios().fold(f64::MAX, f64::min), ratios().fold(0.0, f64::max));
        println!("{name:<42} {rate:>12.0} {:>12.2} ({lowest:.2}..{highest:.2})", median(ratios()));
    }
    recorder.flush().unwrap();
    println!("{:?}", recorder.stats());
}

async fn serve(app: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

fn identify(parts: &Parts) -> Option<String> {
    Some(parts.headers.get("user")?.to_str().ok()?.to_owned())
}

async fn write(State(tracker): State<AsyncTracker>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(user) = identify(&parts) {
        tracker.seen(user).await.unwrap();
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn write_blocking(State(tracker): State<Tracker>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(user) = identify(&parts) {
        tracker.seen(user).unwrap();
    }
    next.run(Request::from_parts(parts, body)).await
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Keeps a process, with the threads that it has, on one core.
fn pin(process: u32, core: &str) {
    let status =
        Command::new("taskset").args(["-a", "-c", "-p", core, &process.to_string()]).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}
