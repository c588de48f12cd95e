//! Runs an example to its end.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::Memcached;

/// In process, and on a memcached that holds a record of somebody else.
#[track_caller]
pub fn on_both_stores(program: &Path, check: impl Fn(&str)) {
    run(program, &[], &check);
    let memcached = Memcached::start();
    memcached.set("seen_stranger", 0, b"1795486388");
    run(program, &[("LAST_SEEN_SERVERS", &memcached.address())], &check);
    assert!(memcached.raw("get seen_stranger").contains("1795486388"), "the stranger's record is gone");
}

#[track_caller]
fn run(program: &Path, variables: &[(&str, &str)], check: &impl Fn(&str)) {
    let mut command = Command::new(program);
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);
    check(&said);
}
