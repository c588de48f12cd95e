//! Which server holds a key: this crate's rules against the real clients', key by key.

#[path = "../../src/store/sharding.rs"]
#[allow(dead_code, unreachable_pub, reason = "of the library, which does not export it")]
mod sharding;

use std::{
    io::{self, Write},
    process::Command,
};

use crate::{
    program::{cache, here, output},
    settings::Sharding,
};

/// What `placement/check.py` calls this program with, before a file of keys.
pub const FLAG: &str = "--placement";

/// Prints for each line `sharding<TAB>host port weight<TAB>..` of standard input where each of the keys lives.
pub fn print(keys: &str) -> Result<(), Box<dyn std::error::Error>> {
    let keys = std::fs::read_to_string(keys)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lines() {
        let line = line?;
        let mut fields = line.split('\t');
        let sharding = match fields.next() {
            Some("ketama") => Sharding::Ketama,
            Some("pymemcache") => Sharding::Pymemcache,
            Some("libmemcached") => Sharding::Libmemcached,
            Some("python-memcached") => Sharding::PythonMemcached,
            other => return Err(format!("no sharding: {other:?}").into()),
        };
        let mut servers = Vec::new();
        for server in fields {
            let [host, port, weight] = server.split(' ').collect::<Vec<_>>()[..] else {
                return Err(server.into());
            };
            servers.push((host, port.parse()?, weight.parse()?));
        }
        let placement = sharding::Placement::new(sharding, servers.into_iter());
        let places: Vec<String> = keys.lines().map(|key| placement.server_of(key).to_string()).collect();
        writeln!(out, "{}", places.join(" "))?;
    }
    Ok(())
}

/// Lists of 1 to 8 servers, in a soak of 1 to 30: names and addresses, ports, equal and mixed weights.
pub fn every_key_is_where_the_real_clients_put_it() {
    let most = if std::env::var_os("LAST_SEEN_SOAK").is_some() { "30" } else { "8" };
    let mut check = Command::new(cache().join("django32/bin/python"));
    check.arg(here().join("placement/check.py")).arg(std::env::current_exe().unwrap()).arg(FLAG);
    println!("{}", output(check.env("MOST", most)));
}
