//! Runs an example to its end.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use crate::Memcached;

/// In process, and on a memcached whose site has users of the same names. Their records stay as they are, and no other
/// remains.
#[track_caller]
pub fn on_both_stores(program: &Path, check: impl Fn(&str)) {
    run(program, &[], &check);
    let memcached = Memcached::start();
    let users = ["alice", "bob", "carol"].map(|user| format!("seen_{user}"));
    users.iter().for_each(|key| memcached.set(key, 0, b"1795486388"));
    run(program, &[("LAST_SEEN_SERVERS", &memcached.address())], &check);
    for key in &users {
        assert!(memcached.raw(format!("get {key}")).contains("\r\n1795486388\r\n"), "{key} was changed");
    }
    // But for tombstones, which hold no name.
    let mut stream = TcpStream::connect(memcached.place()).unwrap();
    stream.write_all(b"lru_crawler metadump hash\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "END");
    let keys = lines.filter_map(|line| Some(line.strip_prefix("key=")?.split(' ').next()?.to_owned()));
    let mut keys: Vec<String> = keys.filter(|key| !key.starts_with("gone%3A")).collect();
    keys.sort_unstable();
    assert_eq!(keys, users);
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
