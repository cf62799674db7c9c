//! A connection to the target that never blocks, with TLS or without.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustls::ClientConnection;

use super::heard::Broken;
use super::target::{Address, Target};
use crate::tally::Fault;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    tls: Option<Box<ClientConnection>>,
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Stream {
    /// Begins to connect.
    ///
    /// # Errors
    /// It failed at once.
    pub fn open(target: &Target) -> Result<Self, Broken> {
        let family = match &target.address {
            Address::Tcp(address) if address.is_ipv4() => AddressFamily::INET,
            Address::Tcp(_) => AddressFamily::INET6,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|error| Broken::of(Fault::Generator, error))?;
        let connected = match &target.address {
            Address::Tcp(address) => {
                sockopt::set_tcp_nodelay(&socket, true).map_err(|error| Broken::of(Fault::Generator, error))?;
                rustix::net::connect(&socket, address)
            }
            Address::Unix(path) => {
                SocketAddrUnix::new(path.as_path()).and_then(|address| rustix::net::connect(&socket, &address))
            }
        };
        match connected {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(broken(error)),
        }
        let tls = match &target.tls {
            None => None,
            Some((config, name)) => {
                let connection = ClientConnection::new(config.clone(), name.clone())
                    .map_err(|error| Broken::of(Fault::Tls, error))?;
                Some(Box::new(connection))
            }
        };
        Ok(Stream { socket, tls })
    }

    /// Whether it can be used now, after the socket was reported as ready.
    ///
    /// # Errors
    /// Nobody is there, or the handshake failed.
    pub fn is_open(&mut self) -> Result<bool, Broken> {
        match sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => {}
            Ok(Err(error)) | Err(error) => return Err(broken(error)),
        }
        if rustix::net::getpeername(&self.socket).is_err() {
            return Ok(false);
        }
        let Some(tls) = &mut self.tls else { return Ok(true) };
        let mut wire = Wire(self.socket.as_fd());
        while tls.is_handshaking() {
            let tried = if tls.wants_write() { tls.write_tls(&mut wire) } else { tls.read_tls(&mut wire) };
            match tried {
                Ok(0) => return Err(Broken::of(Fault::Tls, "the server hung up in the handshake")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Broken::of(Fault::Tls, error)),
            }
            if let Err(error) = tls.process_new_packets() {
                // The other side is told why; whether it hears it is its own affair.
                let _ = tls.write_tls(&mut wire);
                return Err(Broken::of(Fault::Tls, error));
            }
        }
        self.push()?;
        Ok(true)
    }

    /// Sends as much as goes; returns how much was taken.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let Some(tls) = &mut self.tls else {
            return match rustix::io::write(&self.socket, bytes) {
                Ok(taken) => Ok(taken),
                Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                Err(error) => Err(Broken::of(Fault::Closed, error)),
            };
        };
        let taken = tls.writer().write(bytes).map_err(|error| Broken::of(Fault::Tls, error))?;
        self.push()?;
        Ok(taken)
    }

    /// Sends what TLS still holds back.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn push(&mut self) -> Result<(), Broken> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut wire = Wire(self.socket.as_fd());
        while tls.wants_write() {
            match tls.write_tls(&mut wire) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Broken::of(Fault::Closed, error)),
            }
        }
        Ok(())
    }

    /// Receives; `None` when nothing is there, 0 when the server has ended the connection.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>, Broken> {
        let Some(tls) = &mut self.tls else {
            return match rustix::io::read(&self.socket, into) {
                Ok(taken) => Ok(Some(taken)),
                Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                Err(error) => Err(Broken::of(Fault::Closed, error)),
            };
        };
        loop {
            match tls.reader().read(into) {
                Ok(taken) => return Ok(Some(taken)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // It ended without saying good-bye: whatever was read may have been cut.
                Err(error) => return Err(Broken::of(Fault::Closed, error)),
            }
            match tls.read_tls(&mut Wire(self.socket.as_fd())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(Broken::of(Fault::Closed, error)),
            }
            tls.process_new_packets().map_err(|error| Broken::of(Fault::Tls, error))?;
        }
    }

    /// Whether everything that arrives is read off by one [`Stream::receive`] that takes less than it could.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none()
    }
}

/// Ports and files run out on this side.
fn broken(error: Errno) -> Broken {
    let fault = match error {
        Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
            Fault::Generator
        }
        _ => Fault::Connect,
    };
    Broken::of(fault, error)
}

struct Wire<'a>(BorrowedFd<'a>);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, into)?)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
