//! A server behind a name, which the system resolves.

use last_seen::Tracker;
use last_seen_tests::{Memcached, ms, secs, within, within_once};

use super::unavailable;

#[test]
fn a_name_is_resolved_by_the_system() {
    let memcached = Memcached::start();
    let address = memcached.address();
    let (_, port) = address.rsplit_once(':').unwrap();
    let tracker = Tracker::connect(&format!("localhost:{port}")).unwrap();
    tracker.seen("alice").unwrap();
    assert!(memcached.raw("get seen_alice").starts_with("VALUE "));

    // Too long for the name service of the network, which a machine may ask in vain for seconds.
    let address = format!("{}.test:{port}", "absent-".repeat(10));
    let absent = within(secs(1), || Tracker::connect(&address).unwrap());
    let told = within_once(ms(150), || unavailable(absent.last_seen("alice")));
    assert!(told.starts_with(&format!("memcached at {address} is unavailable: ")), "{told}");
}
