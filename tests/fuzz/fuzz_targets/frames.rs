//! See `fanfare_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fanfare_fuzz::frames::run(data));
