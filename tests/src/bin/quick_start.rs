//! The first program of README.md.

// --- snippet ---
use last_seen::Tracker;

fn main() -> Result<(), last_seen::Error> {
    let tracker = Tracker::connect("memory:")?; // or "127.0.0.1:11211"

    tracker.seen("alice")?; // when alice makes a request
    println!("{}", tracker.online("alice")?); // true, for 5 minutes
    println!("{}", tracker.presence("alice")?.ago()); // just now
    tracker.sign_out("alice")?; // offline at once; last seen becomes 5 minutes ago
    Ok(())
}
// --- end ---
