//! What a file holds: certificates, keys, requests and revocation lists, whatever it is called.
//!
//! A file is recognised by its content, because the endings `.pem`, `.crt`, `.cer` and `.key` say nothing about it. What
//! looks like a certificate and is none is told as a problem with its line and never passed over: a bundle that lost one
//! of its certificates works until somebody needs that one. A file that holds nothing of all this is no error here, as
//! most files of a directory do not; [`Read::is_empty`] says so.

pub(crate) mod base64;
mod der;
mod embedded;
mod jks;
mod pem;
mod pkcs12;
mod walk;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;
use maint_core::secret::Secret;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::key::PrivateKey;

pub use walk::walk;

/// What is larger than this (in bytes) is not read. The largest revocation lists of public authorities have about half of
/// it.
pub const MAX_BYTES: u64 = 32 << 20;

/// How a file holds what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text with `-----BEGIN` (RFC 7468).
    Pem,
    /// One object in DER.
    Der,
    /// A keystore (RFC 7292).
    Pkcs12,
    /// A keystore of Java.
    Jks,
    /// Text with PEM in base64 inside, as kubeconfig files and Kubernetes Secrets.
    Embedded,
    /// Nothing that we know.
    Nothing,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Pem => "PEM",
            Format::Der => "DER",
            Format::Pkcs12 => "PKCS #12",
            Format::Jks => "JKS",
            Format::Embedded => "base64 in text",
            Format::Nothing => "nothing known",
        })
    }
}

/// An entry of a keystore. The numbers are places in [`Read::keys`] and [`Read::certificates`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// What the store calls it; may be empty.
    pub alias: String,
    /// Its private key.
    pub key: Option<usize>,
    /// Its certificates, that of the key first.
    pub certificates: Vec<usize>,
    /// It has a private key that the passphrase does not open.
    pub locked: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Read {
    /// Where it was read, for messages.
    pub source: String,
    /// How it is held.
    pub format: Format,
    /// Certificates, in their order.
    pub certificates: Vec<Certificate>,
    /// Private keys that can be used here, in their order.
    pub keys: Vec<PrivateKey>,
    /// Certificate signing requests, DER.
    pub requests: Vec<Vec<u8>>,
    /// Certificate revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    /// What a keystore's entries are; empty for everything else.
    pub entries: Vec<Entry>,
    /// What looks like one of these and could not be read, and why, with its line.
    pub problems: Vec<String>,
    /// Something is encrypted and was not opened; it is among the problems.
    pub locked: bool,
    /// How many private keys stand there unencrypted, those included that nothing here can use.
    pub bare_keys: usize,
}

impl Read {
    fn new(source: &str, format: Format) -> Self {
        Read {
            source: source.to_owned(),
            format,
            certificates: Vec::new(),
            keys: Vec::new(),
            requests: Vec::new(),
            crls: Vec::new(),
            entries: Vec::new(),
            problems: Vec::new(),
            locked: false,
            bare_keys: 0,
        }
    }

    /// Whether there is nothing in it, not even something damaged.
    pub fn is_empty(&self) -> bool {
        let Read { certificates, keys, requests, crls, entries, problems, .. } = self;
        certificates.is_empty()
            && keys.is_empty()
            && requests.is_empty()
            && crls.is_empty()
            && entries.is_empty()
            && problems.is_empty()
    }
}

/// A file could not be looked at at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot {step} {}: {error}", path.display())]
    Io {
        /// What was being done, as the words between "cannot" and the path.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Larger than [`MAX_BYTES`].
    #[error("{0} has more than {max} bytes, which is no certificate, key or keystore", max = MAX_BYTES)]
    TooLarge(String),
    /// Parts of a directory could not be looked at; the rest was.
    #[error("{first}{}", more(*others))]
    Parts {
        /// The first.
        first: Box<ReadError>,
        /// How many others.
        others: usize,
    },
}

fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more)") }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Failure::usage(error.to_string())
    }
}

/// Reads a file. With `passphrase`, what is encrypted in it is opened.
///
/// # Errors
/// It cannot be read, or is too large. That its content does not hold is told in [`Read::problems`].
pub fn file(path: &Path, passphrase: Option<&Secret>) -> Result<Read, ReadError> {
    let failed = |error| ReadError::Io { step: "read", path: path.to_owned(), error };
    let opened = File::open(path).map_err(failed)?;
    let known = opened.metadata().map_err(failed)?.len();
    let source = path.display().to_string();
    if known > MAX_BYTES {
        return Err(ReadError::TooLarge(source));
    }
    // Enough room from the start: there may be a key in it, and a buffer that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(known as usize + 1));
    opened.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    bytes(&source, &content, passphrase)
}

/// Reads what stands in memory; `source` is what messages call it.
///
/// # Errors
/// It is too large.
pub fn bytes(source: &str, content: &[u8], passphrase: Option<&Secret>) -> Result<Read, ReadError> {
    if content.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge(source.to_owned()));
    }
    if let Some(read) = jks::read(source, content, passphrase) {
        return Ok(read);
    }
    if der::is_one(content) {
        let mut read = Read::new(source, Format::Der);
        if pkcs12::looks_like(content) {
            read.format = Format::Pkcs12;
            pkcs12::add(&mut read, content, passphrase);
        } else {
            der::add(&mut read, content, passphrase);
        }
        if read.is_empty() {
            read.format = Format::Nothing;
        }
        return Ok(read);
    }
    let mut read = Read::new(source, Format::Pem);
    if pem::is_text(content) {
        pem::add(&mut read, content, passphrase, &|line| format!("line {line}"));
        if read.is_empty() {
            read.format = Format::Embedded;
        }
        embedded::add(&mut read, content, passphrase);
    }
    if read.is_empty() {
        read.format = Format::Nothing;
    }
    Ok(read)
}

/// The targets of a command line, with `-` replaced by the lines of stdin.
///
/// # Errors
/// Stdin cannot be read.
pub fn targets(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::with_capacity(given.len());
    for target in given {
        if target == "-" {
            let text = io::read_to_string(io::stdin())
                .map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))?;
            all.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        } else {
            all.push(target.clone());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
