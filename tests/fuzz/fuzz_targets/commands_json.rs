//! See `fanfare_fuzz::commands_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_fuzz::commands_json::run(data));
