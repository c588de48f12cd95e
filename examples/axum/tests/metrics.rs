//! `/metrics`: every counter of the recorder, and how each server is, in the form that Prometheus reads.

use std::collections::BTreeMap;

use last_seen::RecorderStats;
use last_seen_tests::{Memcached, eventually, site::Site};

const PROGRAM: &str = env!("CARGO_BIN_EXE_last-seen-axum");

/// The samples by name and label. Each has a type that was declared before it.
#[track_caller]
fn samples(site: &Site) -> BTreeMap<String, f64> {
    let page = site.visitor().get("/metrics");
    assert_eq!(page.status, 200);
    assert!(page.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    let (mut declared, mut samples) = (String::new(), BTreeMap::new());
    for line in page.body.lines() {
        if let Some(metric) = line.strip_prefix("# TYPE ") {
            let (name, kind) = metric.split_once(' ').unwrap();
            assert_eq!(kind, if name.ends_with("_total") { "counter" } else { "gauge" });
            declared = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next().unwrap(), declared);
            assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{sample} twice");
        }
    }
    samples
}

#[test]
fn every_counter_of_the_recorder_is_a_metric() {
    let memcached = Memcached::start();
    let site = Site::start(&PROGRAM.into(), &[("LAST_SEEN_SERVERS", &memcached.address())]);
    let stats = serde_json::to_value(RecorderStats::default()).unwrap();
    let before = samples(&site);
    for field in stats.as_object().unwrap().keys() {
        let metric = match field.as_str() {
            "queued" => "last_seen_recorder_queued".to_owned(),
            counter => format!("last_seen_recorder_{counter}_total"),
        };
        assert_eq!(before.get(&metric), Some(&0.0), "{metric}");
    }
    let mut alice = site.signed_in("alice");
    alice.get("/");
    alice.get("/");
    let after = eventually(|| Some(samples(&site)).filter(|now| now["last_seen_recorder_queued"] == 0.0));
    assert_eq!(after["last_seen_recorder_seen_total"], 2.0);
    assert!(after["last_seen_recorder_written_total"] >= 1.0);
}

#[test]
fn each_server_is_up_or_down() {
    let mut memcached = Memcached::start();
    let up = memcached.address();
    // A path may hold what a label must not.
    let servers = format!(r#"{up},/no"such\socket"#);
    let site = Site::start(&PROGRAM.into(), &[("LAST_SEEN_SERVERS", &servers)]);
    let sample = |metric: &str, server: &str| format!("last_seen_server_{metric}{{server=\"{server}\"}}");
    let (here, gone) = (&*up, r#"/no\"such\\socket"#);
    let now = eventually(|| Some(samples(&site)).filter(|now| now[&sample("up", here)] == 1.0));
    assert!(now[&sample("latency_seconds", here)] > 0.0);
    assert!(now[&sample("connections", here)] < now[&sample("max_connections", here)]);
    assert_eq!(now[&sample("up", gone)], 0.0);
    assert!(!now.contains_key(&sample("latency_seconds", gone)));
    memcached.kill();
    let now = samples(&site);
    assert_eq!(now[&sample("up", here)], 0.0);
    assert!(!now.contains_key(&sample("latency_seconds", here)));
}
