//! The suite of the web examples, on this one.

last_seen_tests::site_tests!(axum, env!("CARGO_BIN_EXE_last-seen-axum"), records_in_the_background: true);
