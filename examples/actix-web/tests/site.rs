//! The suite of the web examples, on this one.

last_seen_tests::site_tests!(actix_web, env!("CARGO_BIN_EXE_last-seen-actix-web"), records_in_the_background: true);
