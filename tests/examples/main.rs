//! The library's examples as a reader runs them: real processes, over real HTTP. Those that are packages have their
//! tests beside them.
//!
//! `cargo test` builds them first. With a choice of packages or targets cargo does not: `cargo build --examples` does.

use std::{fs, path::PathBuf};

use last_seen_tests::{example::on_both_stores, site_tests};

site_tests!(plain_http, example("plain_http"), records_in_the_background: false);

#[test]
fn quickstart_tells_the_whole_story() {
    on_both_stores(&example("quickstart"), |said| {
        assert!(said.contains("alice is online: true"), "{said}");
        assert!(said.contains("bob          42 minutes ago   false"), "{said}");
        assert!(said.contains("user \"Dave Smith\" cannot be a memcached key"), "{said}");
    });
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
    assert!(fresh, "examples/{name}.rs is not built: cargo build --examples");
    program
}
