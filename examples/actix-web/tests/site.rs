//! The suite of the web examples, on this one.

#![allow(unreachable_pub, reason = "a test binary has no public API")]

#[macro_use]
#[path = "../../../tests/examples/site.rs"]
mod site;

site_tests!(actix_web, env!("CARGO_BIN_EXE_last-seen-actix-web"), records_in_the_background: true);
