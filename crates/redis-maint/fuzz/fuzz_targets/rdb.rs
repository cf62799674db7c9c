//! Any bytes: the scan ends, with an error or without, and takes no more memory than its buffers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redis_maint::rdb::Scanner;

fuzz_target!(|data: &[u8]| {
    for total in [None, Some(data.len() as u64)] {
        if let Ok(mut scanner) = Scanner::open(data, total) {
            while let Ok(Some(entry)) = scanner.next_key() {
                std::hint::black_box(entry);
            }
        }
    }
});
