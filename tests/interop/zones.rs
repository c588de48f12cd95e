//! Local times in the days when the clocks change: this crate's against Python's own, with the same zone files.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write},
    process::{Command, Stdio},
};

use chrono::DateTime;
use last_seen::{Error::InvalidRecord, Settings, Tracker};
use last_seen_tests::Memcached;

use crate::program::{Temporary, cache, here, output};

/// What `zones/check.py` calls this program with.
pub const FLAG: &str = "--zones";

/// Answers `write ZONE SECONDS` and `sign_out ZONE` with the bytes that are stored, `read ZONE HEX` with the time that
/// is read, and `files ZONE` with where the zone comes from.
pub fn answer() -> Result<(), Box<dyn Error>> {
    let mut memcached = None;
    let mut trackers = HashMap::new();
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let settings = Settings::django(words[1])?;
        let answer = match words[..] {
            ["write", _, seconds] => {
                let at = DateTime::from_timestamp(seconds.parse()?, 0).ok_or("no time")?;
                hex(&in_memory(settings)?.preview("alice", at)?.stored.ok_or("nothing")?.bytes)
            }
            ["sign_out", _] => {
                let tracker = in_memory(settings)?;
                tracker.seen("alice")?;
                tracker.sign_out("alice")?;
                hex(&tracker.inspect("alice")?.stored.ok_or("nothing")?.bytes)
            }
            ["read", zone, pickle] => {
                let memcached = memcached.get_or_insert_with(Memcached::start);
                let tracker = trackers.entry(zone.to_owned()).or_insert_with(|| {
                    Tracker::new(settings.with_servers([memcached.address()])).expect("settings")
                });
                memcached.set(":1:seen_alice", 1, &unhex(pickle));
                match tracker.last_seen("alice") {
                    Ok(at) => at.ok_or("no record")?.timestamp().to_string(),
                    Err(InvalidRecord { source, .. }) => {
                        source.time().ok_or("no time")?.timestamp().to_string()
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            ["files", _] => in_memory(settings)?.inspect("alice")?.zone_files.to_owned(),
            _ => return Err(line.into()),
        };
        writeln!(io::stdout(), "{answer}")?;
    }
    Ok(())
}

fn in_memory(settings: Settings) -> last_seen::Result<Tracker> {
    Tracker::new(settings.with_servers(["memory:"]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub fn local_times_are_pythons() {
    let mut check = Command::new(cache().join("django52/bin/python"));
    check.arg(here().join("zones/check.py")).arg(std::env::current_exe().unwrap()).arg(FLAG);
    println!("{}", output(&mut check));
}

/// The folder in `TZDIR` first, and this crate's own copy for what is not there.
pub fn the_folder_in_tzdir_comes_first() {
    let folder = Temporary::new("zoneinfo");
    std::fs::create_dir_all(folder.0.join("Mars")).unwrap();
    let python =
        "import tzdata, pathlib; print(pathlib.Path(tzdata.__file__).parent / 'zoneinfo/Asia/Tokyo')";
    let tokyo = output(Command::new(cache().join("django52/bin/python")).args(["-c", python]));
    std::fs::copy(tokyo, folder.0.join("Mars/Phobos")).unwrap();
    let ask = |zone: &str| {
        let mut ours = Command::new(std::env::current_exe().unwrap());
        ours.arg(FLAG).env("TZDIR", &folder.0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut ours = ours.stderr(Stdio::piped()).spawn().unwrap();
        writeln!(ours.stdin.take().unwrap(), "files {zone}\nwrite {zone} 1774787696").unwrap();
        let output = ours.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        said.concat().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let phobos = ask("Mars/Phobos");
    assert_eq!(phobos[0], folder.0.display().to_string());
    // 21:34:56 in Tokyo.
    assert!(phobos[1].contains("07ea031d152238000000948594"), "{phobos:?}");
    let berlin = ask("Europe/Berlin");
    assert_eq!(berlin[0], "built in");
    assert!(berlin[1].contains("07ea031d0e2238000000948594"), "{berlin:?}");
    assert!(ask("europe/berlin")[0].contains("unknown time zone"));
}
