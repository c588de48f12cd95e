//! Chooses the server of a key by one of six rules, each exactly as in the clients that it is named after.
//! With three servers, a client with another rule looks for about two thirds of the keys on the wrong server.

use std::ffi::c_char;
use std::hash::Hasher as _;

use hash32::{Hasher as _, Murmur3Hasher};

use crate::settings::{Place, Server, Sharding};

/// Port that libmemcached leaves out of a server's name on the ring.
const DEFAULT_PORT: u16 = 11211;

/// Maps keys to servers. It is built once for a list of servers; a lookup does not allocate.
#[derive(Debug)]
pub(super) struct Placement(Rule);

#[derive(Debug)]
enum Rule {
    Single,
    /// Points in order of their position on the ring. A key belongs to the first point at or after its hash.
    Ring(Vec<Point>),
    /// Points in order of their position on the ring. A key belongs to the last point at or before its hash.
    RingBackwards(Vec<Point>),
    /// Servers in order of their names.
    Rendezvous(Vec<Node>),
    Modulo(fn(&[u8]) -> u32, usize),
}

#[derive(Debug)]
struct Point {
    position: u32,
    server: u32,
}

#[derive(Debug)]
struct Node {
    /// Has hashed `name-` already, so that only the key is missing.
    hasher: Murmur3Hasher,
    server: usize,
}

impl Placement {
    /// Places the servers in list order, by their hosts as configured: a name and its IP address give different rings.
    pub(super) fn new(sharding: Sharding, servers: &[Server]) -> Self {
        let server = |server: &'_ Server| match &server.place {
            Place::Tcp(host, port) => (host.clone(), *port, server.weight),
            // libmemcached and pymemcache name a Unix socket by its path.
            Place::Unix(path) => (path.display().to_string(), 0, server.weight),
        };
        let servers: Vec<_> = servers.iter().map(server).collect();
        Self::of(sharding, servers.iter().map(|(host, port, weight)| (host.as_str(), *port, *weight)))
    }

    /// Places servers by host, port and weight. Only the rings use weights; ketama does so as libmemcached, up to
    /// 65,535. An IPv6 address may be in brackets or not.
    fn of<'a>(sharding: Sharding, servers: impl Iterator<Item = (&'a str, u16, u16)>) -> Self {
        // pymemcache, pylibmc and dalli remove the brackets before they hash. PHP is configured without brackets.
        let servers: Vec<_> =
            servers.map(|(host, port, weight)| (host.trim_matches(['[', ']']), port, weight)).collect();
        Self(match sharding {
            _ if servers.len() < 2 => Rule::Single,
            Sharding::Ketama => Rule::Ring(ring(&servers)),
            Sharding::Pymemcache => Rule::Rendezvous(nodes(&servers)),
            Sharding::Libmemcached => Rule::Modulo(one_at_a_time, servers.len()),
            Sharding::PythonMemcached => Rule::Modulo(shifted_crc, servers.len()),
            Sharding::Dalli => Rule::RingBackwards(dalli_ring(&servers)),
            Sharding::Gomemcache => Rule::Modulo(crc32fast::hash, servers.len()),
        })
    }

    /// Returns the index of the server that holds the key.
    pub(super) fn server_of(&self, key: &str) -> usize {
        match &self.0 {
            Rule::Single => 0,
            Rule::Ring(points) => {
                let [position, ..] = md5_words(key);
                let next = points.partition_point(|point| point.position < position);
                // The ring wraps around: after the last point comes the first.
                let point = points.get(next).or_else(|| points.first());
                point.map_or(0, |point| point.server as usize)
            }
            Rule::RingBackwards(points) => {
                let position = crc32fast::hash(key.as_bytes());
                let after = points.partition_point(|point| point.position <= position);
                // The ring wraps around: before the first point comes the last.
                let point = points[..after].last().or_else(|| points.last());
                point.map_or(0, |point| point.server as usize)
            }
            // Of equal hashes `max_by_key` returns the last, which has the greatest name.
            Rule::Rendezvous(nodes) => nodes
                .iter()
                .max_by_key(|node| {
                    let mut hasher = node.hasher.clone();
                    hash_low_bytes(&mut hasher, key);
                    hasher.finish32()
                })
                .map_or(0, |node| node.server),
            Rule::Modulo(hash, servers) => hash(key.as_bytes()) as usize % servers,
        }
    }
}

/// Returns the ring of weighted ketama, as `update_continuum` in libmemcached's hosts.cc builds it.
fn ring(servers: &[(&str, u16, u16)]) -> Vec<Point> {
    let total: u64 = servers.iter().map(|&(.., weight)| u64::from(weight)).sum();
    let mut points = Vec::with_capacity(servers.len() * 160);
    for (server, &(host, port, weight)) in (0..).zip(servers) {
        let name = match port {
            DEFAULT_PORT => host.to_owned(),
            _ => format!("{host}:{port}"),
        };
        // A server of mean weight gets 40 MD5 hashes, with four points each. The mixture of `f32` and `f64` is part of
        // the rule: with 25 equal servers (or 47, 50, ..) each gets 39.
        let share = weight as f32 / total as f32 * 160.0 / 4.0 * servers.len() as f32;
        let groups = (f64::from(share) + 1e-10) as f32 as u32;
        for group in 0..groups {
            let positions = md5_words(&format!("{name}-{group}"));
            points.extend(positions.map(|position| Point { position, server }));
        }
    }
    // The sort is stable, as glibc's qsort: of two servers at one position, the first in the list comes first.
    points.sort_by_key(|point| point.position);
    points
}

/// Returns the ring of dalli, as `build_continuum` in its ring.rb builds it. Ruby's sort is not stable, so of two
/// servers at one position dalli may choose either.
fn dalli_ring(servers: &[(&str, u16, u16)]) -> Vec<Point> {
    let total: u64 = servers.iter().map(|&(.., weight)| u64::from(weight)).sum();
    let mut points = Vec::with_capacity(servers.len() * 160);
    for (server, &(host, port, weight)) in (0..).zip(servers) {
        let name = node_name(host, port);
        let share = servers.len() as u64 * 160 * u64::from(weight) / total;
        points.extend((0..share).map(|nth| {
            let [b0, b1, b2, b3, ..] = sha1_smol::Sha1::from(format!("{name}:{nth}")).digest().bytes();
            Point { position: u32::from_be_bytes([b0, b1, b2, b3]), server }
        }));
    }
    points.sort_by_key(|point| point.position);
    points
}

/// Returns the MD5 of the text as four little-endian numbers. libmemcached hashes a key to the first of them.
fn md5_words(text: &str) -> [u32; 4] {
    let md5 = u128::from_le_bytes(md5::compute(text).0);
    [0, 32, 64, 96].map(|shift| (md5 >> shift) as u32)
}

/// Returns the servers for rendezvous hashing, as in pymemcache's rendezvous.py: a key belongs to the server with the
/// highest murmur3 of `host:port-key`.
fn nodes(servers: &[(&str, u16, u16)]) -> Vec<Node> {
    let mut names: Vec<_> =
        (0..).zip(servers).map(|(server, (host, port, _))| (node_name(host, *port), server)).collect();
    names.sort();
    names
        .into_iter()
        .map(|(name, server)| {
            let mut hasher = Murmur3Hasher::default();
            hash_low_bytes(&mut hasher, &name);
            hash_low_bytes(&mut hasher, "-");
            Node { hasher, server }
        })
        .collect()
}

fn node_name(host: &str, port: u16) -> String {
    if host.starts_with('/') { host.to_owned() } else { format!("{host}:{port}") }
}

/// Hashes the lowest eight bits of every code point, as pymemcache does, and not the UTF-8.
fn hash_low_bytes(hasher: &mut Murmur3Hasher, text: &str) {
    if text.is_ascii() {
        return hasher.write(text.as_bytes());
    }
    for c in text.chars() {
        hasher.write_u8(u32::from(c) as u8);
    }
}

/// Returns Bob Jenkins' one-at-a-time hash, as libhashkit's `one_at_a_time.cc` does.
///
/// libhashkit adds C's plain `char`s, which are signed on x86-64 and unsigned on ARM Linux. The same type is used here,
/// so that PHP on the same machine finds keys beyond ASCII on the same server.
fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = key.iter().fold(0u32, |hash, &byte| {
        let hash = hash.wrapping_add_signed(i32::from(byte as c_char));
        let hash = hash.wrapping_add(hash << 10);
        hash ^ (hash >> 6)
    });
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// Returns the hash of `cmemcache_hash` in python-memcached's memcache.py since 1.60, and of both Perl clients. Before,
/// python-memcached took 1 instead of 0.
fn shifted_crc(key: &[u8]) -> u32 {
    (crc32fast::hash(key) >> 16) & 0x7fff
}

#[cfg(test)]
mod tests {
    use super::Sharding::*;
    use super::*;

    const ALL: [Sharding; 6] = [Ketama, Pymemcache, Libmemcached, PythonMemcached, Dalli, Gomemcache];

    /// Returns the server of each key as a digit. The keys are separated by spaces.
    fn places(sharding: Sharding, servers: &[(&str, u16, u16)], keys: &str) -> String {
        let placement = Placement::of(sharding, servers.iter().copied());
        let digit = |key| placement.server_of(key).to_string();
        keys.split(' ').map(digit).collect()
    }

    fn keys(count: usize) -> String {
        let keys: Vec<_> = (0..count).map(|i| format!("seen_user{i}")).collect();
        keys.join(" ")
    }

    #[test]
    fn every_key_lives_where_the_real_clients_put_it() {
        let servers = [31801, 31802, 31803].map(|port| ("127.0.0.1", port, 1));
        let mut rows = 0;
        for row in include_str!("placement.tsv").lines() {
            let (sharding, row) = match row.split_once('\t') {
                Some(("A", row)) => (Pymemcache, row),
                Some(("B", row)) => (Libmemcached, row),
                Some(("F", row)) => (Ketama, row),
                Some(("G", row)) => (PythonMemcached, row),
                Some(("J", row)) => (Dalli, row),
                Some(("M", row)) => (Gomemcache, row),
                _ => continue,
            };
            let (client, numbers) = row.split_once('\t').unwrap();
            let ours = places(sharding, &servers, &keys(200));
            // The file numbers the servers from 1.
            let ours = ours.replace('2', "3").replace('1', "2").replace('0', "1");
            assert_eq!(ours, numbers, "{client}");
            rows += 1;
        }
        assert_eq!(rows, 13);
    }

    /// The expected digits were printed by pylibmc and PHP, pymemcache and python-memcached.
    #[test]
    fn so_do_keys_beyond_ascii_and_keys_on_weighted_servers() {
        let keys = "seen_josé seen_張伟 seen_𠀀😀 seen_ł :1:seen_alice seen_weiß seen_naïve seen_Ω";
        let servers = [("a", 11211, 1), ("b", 11211, 1), ("c", 11211, 1)];
        let weighted = [("a", 11211, 1), ("b", 11211, 2), ("c", 11212, 3)];
        assert_eq!(places(Ketama, &weighted, keys), "12212220");
        assert_eq!(places(Pymemcache, &servers, keys), "00200102");
        assert_eq!(places(PythonMemcached, &servers, keys), "20220001");
        // The expected digits come from a machine where C's `char` is signed.
        if c_char::MIN != 0 {
            assert_eq!(places(Libmemcached, &servers, keys), "22102202");
        }
    }

    /// As in python-memcached 1.62, `Cache::Memcached` 1.30 and `Cache::Memcached::Fast` 0.28; python-memcached 1.59 takes the
    /// second server.
    #[test]
    fn a_key_whose_crc_is_shifted_to_zero_lives_on_the_first_server() {
        let servers = [("a", 11211, 1), ("b", 11211, 1), ("c", 11211, 1)];
        assert_eq!(shifted_crc(b"seen_user23529"), 0);
        assert_eq!(places(PythonMemcached, &servers, "seen_user23529 seen_63578"), "00");
    }

    #[test]
    fn one_server_holds_everything() {
        for sharding in ALL {
            assert_eq!(places(sharding, &[("a", 1, 1)], "x y é"), "000");
        }
    }

    #[test]
    fn of_25_equal_servers_each_has_39_groups_of_points_as_in_libmemcached() {
        for (count, groups) in [(2, 40), (24, 40), (25, 39), (26, 40), (47, 39), (100, 39)] {
            assert_eq!(ring(&vec![("a", 1, 1); count]).len(), count * groups * 4);
        }
    }

    #[test]
    fn a_key_that_hits_a_point_lives_there() {
        // A point's position is the hash of its name.
        let servers = [("a", 11211, 1), ("b", 11211, 1)];
        assert_eq!(places(Ketama, &servers, "b-0 b-1 b-2 b-3 b-4 b-5 b-6"), "1111111");
        assert_eq!(places(Ketama, &servers, "a-0 a-1 a-2 a-3 a-4 a-5 a-6"), "0000000");
    }

    #[test]
    fn of_two_servers_on_one_point_the_first_in_the_list_has_it() {
        let (a, b) = (("c1212-17", 11211, 1), ("c1212-28", 11211, 1));
        for servers in [[a, b], [b, a]] {
            let ring = ring(&servers);
            let at = ring.iter().filter(|point| point.position == 96_638_121);
            assert!(at.map(|point| point.server).eq([0, 1]));
        }
    }

    #[test]
    fn of_two_equal_draws_the_greater_name_wins() {
        // pymemcache hashes the lowest eight bits, which are the same for an A and an L with a stroke, U+0141.
        let servers = [("cacheA", 1, 1), ("cache\u{141}", 1, 1)];
        assert_eq!(places(Pymemcache, &servers, "x y z"), "111");
    }

    #[test]
    fn an_ipv6_address_is_the_same_server_with_and_without_brackets() {
        let with = [("[2001:db8::1]", 11211, 1), ("[2001:db8::2]", 2, 1)];
        let without = with.map(|(host, port, _)| (&host[1..12], port, 1));
        for sharding in ALL {
            let [with, without] = [with, without].map(|list| places(sharding, &list, &keys(20)));
            assert_eq!(with, without);
        }
    }

    #[test]
    fn a_fourth_server_takes_a_quarter_of_the_keys_and_leaves_the_others_where_they_are() {
        let servers = ["a", "b", "c", "d"].map(|host| (host, 11211, 1));
        for sharding in [Ketama, Pymemcache, Dalli] {
            let three = places(sharding, &servers[..3], &keys(2000));
            let four = places(sharding, &servers, &keys(2000));
            let moved = three.chars().zip(four.chars()).filter(|(a, b)| a != b);
            let to: String = moved.map(|(_, to)| to).collect();
            assert_eq!(to.replace('3', ""), "");
            assert!((400..600).contains(&to.len()), "{}", to.len());
        }
    }
}
