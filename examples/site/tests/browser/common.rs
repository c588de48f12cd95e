//! What the test stands on.

#[path = "../../../../tests/it/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod memcached;
#[path = "../../../../tests/it/support/waiting.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod waiting;

pub use memcached::Memcached;
pub use waiting::{eventually, secs};
