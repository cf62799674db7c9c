//! A TCP proxy that makes a server slow, or loses its connections.
//!
//! Freezing a server stops it for everybody. Through the proxy one client sees a slow server or a lost connection, while
//! the test talks to the server directly.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Doing, Result};

/// A proxy in front of a port of 127.0.0.1. Dropping it cuts all connections.
#[derive(Debug)]
pub struct DelayingProxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    to: u16,
    delay_us: AtomicU64,
    ended: AtomicBool,
    /// Both ends of every connection made since the last cut.
    streams: Mutex<Vec<TcpStream>>,
}

impl DelayingProxy {
    /// Starts a proxy to `port`, without a delay at first.
    pub fn start(port: u16) -> Result<Self> {
        let doing = || "open a port for a proxy".to_owned();
        // The kernel chooses: this port need not be the same again later.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(doing)?;
        let own = listener.local_addr().doing(doing)?.port();
        let state = Arc::new(State {
            to: port,
            delay_us: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            streams: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::SeqCst) {
                    break;
                }
                accepting.join(client);
            }
        });
        Ok(Self { port: own, state })
    }

    /// The proxy's own port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on every piece of data that comes from the server (up to 64 KiB, usually a whole reply) is held back this
    /// long before it is passed on.
    pub fn set_delay(&self, delay: Duration) {
        self.state.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Cuts all connections, in both directions. New ones are taken.
    pub fn cut(&self) {
        self.state.cut();
    }
}

impl Drop for DelayingProxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for clients; its listener goes with it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.state.cut();
    }
}

impl State {
    /// Connects a client through; one that cannot be is hung up on, as it would be without the proxy.
    fn join(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(c), Ok(s), Ok(c2), Ok(s2)) =
            (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone())
        else {
            return;
        };
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend([c, s]);
        let state = Arc::clone(self);
        thread::spawn(move || pass(client, server, || Duration::ZERO));
        thread::spawn(move || pass(s2, c2, || Duration::from_micros(state.delay_us.load(Ordering::SeqCst))));
    }

    fn cut(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Passes data on until one side ends, then ends the other.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: impl Fn() -> Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let wait = delay();
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if buffer.get(..n).is_none_or(|part| to.write_all(part).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
