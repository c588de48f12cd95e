//! What the tests of all packages share: a real memcached, a bad network, a fake server, a browser of a few lines,
//! and how long to wait.

#![allow(missing_docs, missing_debug_implementations, reason = "for tests alone")]

pub mod alone;
#[cfg(feature = "tls")]
pub mod certificates;
pub mod events;
pub mod example;
pub mod fake;
pub mod folder;
pub mod http;
pub mod memcached;
pub mod proxy;
pub mod site;
pub mod twemproxy;
pub mod waiting;

pub use alone::{Process, alone};
#[cfg(feature = "tls")]
pub use certificates::Certificates;
pub use fake::Fake;
pub use folder::Folder;
pub use memcached::Memcached;
pub use proxy::{Fault, Proxy, Way};
pub use twemproxy::Twemproxy;
pub use waiting::{eventually, ms, secs, within, within_once};

/// Whether the tests that take long run in full: `LAST_SEEN_SOAK=1`.
pub fn soak() -> bool {
    std::env::var_os("LAST_SEEN_SOAK").is_some_and(|value| value == "1")
}

/// Where async code runs.
#[cfg(feature = "tokio")]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The folder of the workspace.
pub fn root() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()
}
