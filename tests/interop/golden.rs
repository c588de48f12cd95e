//! Golden values: bytes as real clients store them, and the time that is in them.

use std::time::Duration;

use last_seen::{Error, Settings, Tracker};

use last_seen_tests::Memcached;

use crate::program::{Program, here};

struct Golden {
    name: String,
    flags: u32,
    bytes: Vec<u8>,
    /// Unix seconds, or `None` where no time is to be read.
    time: Option<i64>,
    /// Whether every stack reads it, or Rust alone.
    by_all: bool,
}

fn all() -> Vec<Golden> {
    let text = std::fs::read_to_string(here().join("golden.tsv")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let &[name, flags, hex, time, readers] = &line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("golden.tsv: {line}");
        };
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Golden {
            name: name.to_owned(),
            flags: flags.parse().unwrap(),
            bytes: (0..hex.len()).step_by(2).map(byte).collect(),
            time: (time != "error").then(|| time.parse().unwrap()),
            by_all: match readers {
                "all" => true,
                "rust" => false,
                _ => panic!("golden.tsv: {line}"),
            },
        }
    });
    rows.collect()
}

pub fn rust_reads_them() {
    let memcached = Memcached::start();
    // Times without a zone are in this one.
    let settings = Settings::django("Europe/Berlin").unwrap().with_servers([memcached.address()]);
    let tracker = Tracker::new(settings.with_server_timeout(Duration::from_secs(5))).unwrap();
    let golden = all();
    assert!(golden.len() > 40);
    for Golden { name, flags, bytes, time, .. } in &golden {
        memcached.set(":1:seen_golden", *flags, bytes);
        let read = match tracker.last_seen("golden") {
            Ok(read) => read.map(|read| read.timestamp()),
            Err(Error::InvalidRecord { .. }) => None,
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(read, *time, "{name}");
    }
}

pub fn a_stack_reads_them(memcached: &Memcached, program: &mut Program) {
    let golden = all();
    assert!(golden.iter().any(|golden| golden.by_all));
    for Golden { name, flags, bytes, time, .. } in golden.iter().filter(|golden| golden.by_all) {
        memcached.set("seen_golden", *flags, bytes);
        assert_eq!(program.ask("last_seen golden"), time.unwrap().to_string(), "{name}");
    }
}
