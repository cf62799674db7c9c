//! Any bytes are a snapshot or an error, never a panic: `cargo +nightly fuzz run rdb ../corpus/rdb`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let now = jiff::Timestamp::UNIX_EPOCH;
    // As a file whose size is known, and as a pipe; with the checksum mended, so that damage is met behind it as well.
    let mut mended = bytes.to_vec();
    if let Some(body) = bytes.len().checked_sub(8) {
        mended[body..].fill(0);
    }
    for (input, total) in [(bytes, None), (&mended[..], Some(mended.len() as u64))] {
        if let Ok(mut scanner) = redis_maint::rdb::Scanner::open(input, total, now) {
            while let Ok(Some(_)) = scanner.next_key() {}
        }
    }
});
