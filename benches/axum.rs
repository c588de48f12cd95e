//! What recording costs an axum app, in requests a second: `cargo bench --all-features --bench axum`.
//!
//! The same app without the layer, with it, and without it again as the control; then with a layer that does
//! nothing, which is axum's own price for any layer; then with one write to memcached in each request. In turn,
//! round by round, each under `wrk` with 1,000 users over 32 connections: the app on one core, `wrk` and memcached
//! on another. The handler does nothing: with a real one the layer weighs less.
//!
//! On a machine with other work the rates wander. The processor time of a request, of the app and its recorder
//! together, does so less; of that the lowest round counts, since other work can only add to it.
//!
//! Needs memcached, wrk and taskset; Linux only.

#![allow(unreachable_pub, reason = "a bench has no public API")]

#[allow(dead_code, unused_imports, reason = "shared with the tests")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{Request, State},
    http::request::Parts,
    middleware::{self, Next},
    response::Response,
    routing::{Route, get},
};
use last_seen::{AsyncTracker, Recorder, SeenLayer, Tracker};
use support::Memcached;
use tower_layer::layer_fn;

const ROUNDS: usize = 21;

const SCRIPT: &str = r#"
local requests, at = {}, 0
init = function()
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
    let load = |address: SocketAddr| {
        let mut wrk = Command::new("taskset");
        wrk.args(["-c", "1", "wrk", "-t1", "-c32", "-d1s", "-s"])
            .arg(&script)
            .arg(format!("http://{address}/"));
        let before = processor_time();
        let output = wrk.output().unwrap();
        let spent = processor_time() - before;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let number = |line: &str| line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
        let line = |with: &str| said.lines().find(|line| line.contains(with)).map(number);
        let clean = output.status.success() && !said.contains("Non-2xx") && !said.contains("Socket errors");
        let (rate, requests) = (line("Requests/sec:"), line("requests in"));
        assert!(clean && rate.is_some() && requests.is_some(), "wrk: {said}");
        [rate.unwrap(), spent / requests.unwrap()]
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
        ("with a layer that does nothing", app.clone().layer(layer_fn(|inner: Route| inner))),
        ("AsyncTracker::seen in each request", app.clone().layer(asynchronous)),
        ("Tracker::seen in each request, blocking", app.layer(blocking)),
    ];
    let apps = apps.map(|(name, app)| (name, runtime.block_on(serve(app))));
    pin(std::process::id(), "0");

    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let figures = apps.map(|(_, address)| load(address));
        // The first one warms up.
        if round > 0 {
            rounds.push(figures);
        }
    }
    std::fs::remove_file(script).unwrap();

    println!("{:<42} {:>12} {:>22} {:>8} {:>6}", "", "requests/s", "of those without", "µs", "ratio");
    let least = |nth: usize| rounds.iter().map(|round| round[nth][1]).fold(f64::MAX, f64::min);
    for (nth, (name, _)) in apps.iter().enumerate() {
        // The two without stand on either side of the layer. The control is compared with the first alone.
        let (without, least_without) = match nth {
            0 | 2 => ([0, 0], least(0)),
            _ => ([0, 2], least(0).min(least(2))),
        };
        let compared =
            |round: &[[f64; 2]; 6]| round[nth][0] / f64::midpoint(round[without[0]][0], round[without[1]][0]);
        let mut ratios: Vec<f64> = rounds.iter().map(compared).collect();
        let mut rates: Vec<f64> = rounds.iter().map(|round| round[nth][0]).collect();
        let (rate, ratio, time) = (median(&mut rates), median(&mut ratios), least(nth));
        let range = format!("({:.2}..{:.2})", ratios[0], ratios[ROUNDS - 1]);
        println!(
            "{name:<42} {rate:>12.0} {ratio:>9.3} {range:>12} {time:>8.2} {:>6.3}",
            time / least_without
        );
    }
    recorder.flush().unwrap();
    println!("{:?}", recorder.stats());
    println!("writes in a request that failed: {}", FAILED.load(Ordering::Relaxed));
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
        failed(&tracker.seen(user).await);
    }
    next.run(Request::from_parts(parts, body)).await
}

async fn write_blocking(State(tracker): State<Tracker>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(user) = identify(&parts) {
        failed(&tracker.seen(user));
    }
    next.run(Request::from_parts(parts, body)).await
}

/// A server that is not given its core for `server_timeout` fails a write, and more follow while it rests.
static FAILED: AtomicU64 = AtomicU64::new(0);

fn failed(result: &last_seen::Result<()>) {
    if result.is_err() {
        FAILED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sorts them, too.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What the threads of this process have had of a processor, in microseconds.
fn processor_time() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end meanwhile.
    let stat = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()
    };
    let nanoseconds = |stat: String| stat.split(' ').next().unwrap().parse::<f64>().unwrap();
    threads.filter_map(stat).map(nanoseconds).sum::<f64>() / 1e3
}

/// Keeps a process, with the threads that it has, on one core.
fn pin(process: u32, core: &str) {
    let status =
        Command::new("taskset").args(["-a", "-c", "-p", core, &process.to_string()]).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}
