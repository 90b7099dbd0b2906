//! See `fanfare_fuzz::request_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_fuzz::request_head::run(data));
