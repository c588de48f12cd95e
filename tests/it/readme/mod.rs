//! The code of README.md, compiled and run; `pages.rs` checks that README.md shows it word for word.

mod showing;
#[cfg(feature = "who")]
mod watching;

use std::process::Command;

#[test]
fn the_quick_start_prints_what_its_comments_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_quick_start")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let code = include_str!("../../src/bin/quick_start.rs");
    let said =
        |line: &str| Some(line.split_once("println!")?.1.split_once(" // ")?.1.split(',').next()?.to_owned());
    let comments: Vec<_> = code.lines().filter_map(said).collect();
    assert_eq!(comments.len(), 2);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), comments.join("\n") + "\n");
}
