//! The suite of the web examples, on this one.

last_seen_tests::site_tests!(rocket, env!("CARGO_BIN_EXE_last-seen-rocket"), records_in_the_background: true);
