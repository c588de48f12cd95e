#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| last_seen::fuzzing::answers(bytes));
