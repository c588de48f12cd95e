//! The example as a reader runs it.

use last_seen_tests::example::on_both_stores;

#[test]
fn it_brings_everyone_back_and_touches_nobody_else() {
    on_both_stores(env!("CARGO_BIN_EXE_last-seen-durable").as_ref(), |said| {
        let restored = "restored from SQLite: RestoreSummary { written: 1002, skipped: 0, failed: 0 }\n  \
            alice  online true  last seen just now\n  \
            bob    online false last seen 5 minutes ago\n  \
            carol  online false last seen awhile ago\n";
        assert!(said.contains(restored), "{said}");
    });
}
