//! The examples of this package as a reader runs them: real processes, over real HTTP.
//!
//! `cargo test --all-features` builds them first. With a choice of targets, as in `--test examples`, cargo does
//! not: `cargo build --all-features --examples` does.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

#[macro_use]
mod site;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use site::Memcached;

site_tests!(axum, example("axum"), records_in_the_background: true);
site_tests!(plain_http, example("plain_http"), records_in_the_background: false);

#[test]
fn quickstart_tells_the_whole_story() {
    on_both_stores("quickstart", |said| {
        assert!(said.contains("alice is online: true"), "{said}");
        assert!(said.contains("bob          42 minutes ago   false"), "{said}");
        assert!(said.contains("user \"Dave Smith\" cannot be a memcached key"), "{said}");
    });
}

#[test]
fn durable_brings_everyone_back_and_touches_nobody_else() {
    on_both_stores("durable", |said| {
        let restored = "restored from SQLite: Restored { written: 1002, skipped: 0, failed: 0 }\n  \
            alice  online true  last seen just now\n  \
            bob    online false last seen 5 minutes ago\n  \
            carol  online false last seen awhile ago\n";
        assert!(said.contains(restored), "{said}");
    });
}

/// Runs an example to its end, in process and on a memcached that holds a record of somebody else.
#[track_caller]
fn on_both_stores(name: &str, check: impl Fn(&str)) {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(example(name));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let [said, errors] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
        check(&said);
    };
    run(&[]);
    let memcached = Memcached::start();
    memcached.set("seen_stranger", 0, b"1795486388");
    run(&[("LAST_SEEN_SERVERS", &memcached.address())]);
    assert!(memcached.raw("get seen_stranger").contains("1795486388"), "the stranger's record is gone");
}

/// The program that cargo built of an example. One that is older than its sources is none.
#[track_caller]
fn example(name: &str) -> PathBuf {
    // target/debug/deps/examples-0123456789abcdef
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().with_file_name("examples").join(name);
    let built = fs::metadata(&program).and_then(|program| program.modified());
    let sources = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    // target/debug/examples/axum: examples/axum.rs src/lib.rs ..
    let mut sources = sources.split_whitespace().skip(1);
    let changed = |source: &str| fs::metadata(source).and_then(|source| source.modified()).ok();
    let fresh = built.is_ok_and(|built| sources.all(|source| changed(source).is_none_or(|at| at <= built)));
    assert!(fresh, "examples/{name}.rs is not built: cargo build --all-features --examples");
    program
}
