//! See `fanfare_fuzz::http_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_fuzz::http_requests::run(data));
