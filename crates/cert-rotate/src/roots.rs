//! What to trust.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use maint_core::failure::Failure;

use crate::certificate::Certificate;

/// A set of roots, as flags and configuration name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of this system.
    System,
    /// Those that Mozilla's browsers trust, as they were when this program was built. They come as names and keys, not as
    /// certificates, so only a verdict of rustls can be had from them.
    Mozilla,
    /// A file of PEM or DER certificates.
    File(PathBuf),
}

impl FromStr for Roots {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "system" => Roots::System,
            "mozilla" => Roots::Mozilla,
            file => Roots::File(file.into()),
        })
    }
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Roots::System => f.write_str("system"),
            Roots::Mozilla => f.write_str("mozilla"),
            Roots::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Roots {
    /// The certificates.
    ///
    /// # Errors
    /// The file cannot be read, or there is no root at all: to trust nothing is never what was meant.
    pub fn load(&self) -> Result<Vec<Certificate>, Failure> {
        let found = match self {
            Roots::System => {
                let loaded = rustls_native_certs::load_native_certs();
                // One broken file among two hundred is not a reason to trust none of them.
                loaded.certs.iter().filter_map(|der| Certificate::from_der(der).ok()).collect::<Vec<_>>()
            }
            Roots::Mozilla => {
                return Err(Failure::usage("Mozilla's roots are no certificates here")
                    .hint("use `system`, or a PEM file of them"));
            }
            Roots::File(path) => {
                let shown = path.display();
                let bytes = std::fs::read(path)
                    .map_err(|error| Failure::usage(format!("cannot read the roots in {shown}: {error}")))?;
                let read = if bytes.starts_with(&[0x30]) {
                    Certificate::from_der(&bytes).map(|one| vec![one])
                } else {
                    Certificate::all_from_pem(&bytes)
                };
                read.map_err(|error| Failure::usage(format!("the roots in {shown}: {error}")))?
            }
        };
        if found.is_empty() {
            return Err(Failure::usage(format!("there is no root certificate in {self}")));
        }
        Ok(found)
    }
}
