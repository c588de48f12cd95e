//! One integration binary, a module per subject, on memcached servers that the tests start themselves.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

mod compose;
mod conformance;
mod faults;
mod names;
mod presence;
mod settings;
mod support;
mod values;
mod wire;
