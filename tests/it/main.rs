//! One integration binary, a module per subject, on memcached servers that the tests start themselves.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

#[cfg(feature = "tokio")]
mod async_tracker;
mod compose;
mod conformance;
#[cfg(feature = "django")]
mod django;
mod errors;
mod faults;
mod house;
mod names;
mod pages;
mod presence;
mod proxies;
mod readme;
mod recorder;
mod restore;
#[cfg(feature = "tower")]
mod seen_layer;
mod servers;
mod settings;
mod sharding;
mod transports;
mod values;
#[cfg(feature = "who")]
mod who;
mod wire;
mod words;
