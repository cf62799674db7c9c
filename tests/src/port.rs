//! Free TCP ports on the loopback address.
//!
//! Ports are taken below the range that the kernel gives to outgoing connections (32768 upwards by default). A port from
//! that range may be taken by any client while our server is stopped, and a client connecting to it may even be
//! connected to itself.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use crate::error::{Error, Result};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

/// A port that was free a moment ago. Whoever listens on it must be ready to find it taken and ask again.
pub(crate) fn free() -> Result<u16> {
    find(is_free)
}

/// A free port whose companion `offset` above is free too, and lies below the range of outgoing connections as well.
pub(crate) fn free_with(offset: u16) -> Result<u16> {
    find(|port| u32::from(port) + u32::from(offset) < FIRST + COUNT && is_free(port) && is_free(port + offset))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn find(good: impl Fn(u16) -> bool) -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seed = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.subsec_nanos()) ^ std::process::id().rotate_left(12);
    (0..200)
        .filter_map(|_| {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let spread = seed.wrapping_add(n.wrapping_mul(2_654_435_761)) % COUNT;
            u16::try_from(FIRST + spread).ok()
        })
        .find(|port| good(*port))
        .ok_or_else(|| Error::Failed {
            what: "looking for a free port on 127.0.0.1".into(),
            why: "200 ports were all in use".into(),
        })
}
