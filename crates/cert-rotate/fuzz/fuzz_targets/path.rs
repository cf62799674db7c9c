#![no_main]
//! Certification path validation must come back from whatever it is given.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| cert_rotate::path::stream::exercise(data));
