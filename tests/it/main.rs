//! One integration binary, a module per subject, on memcached servers that the tests start themselves.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

mod compose;
mod conformance;
#[cfg(feature = "django")]
mod django;
mod faults;
mod names;
mod presence;
mod recorder;
mod settings;
mod sharding;
mod support;
mod values;
mod wire;
