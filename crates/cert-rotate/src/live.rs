//! The directory that servers read.
//!
//! ```text
//! live/NAME -> ../archive/NAME/GENERATION        the one symbolic link that is switched
//! archive/NAME/GENERATION/{cert,chain,fullchain,privkey}.pem
//! ```
//!
//! Key and certificate can only change together, because what changes is the one link before both of them.

use std::path::{Path, PathBuf};

use maint_core::failure::Failure;

use crate::certificate::Certificate;

/// One state of a certificate: its directory and what is in it.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Counted from 1.
    pub number: u64,
    /// Its directory.
    pub directory: PathBuf,
    /// The chain, leaf first.
    pub chain: Vec<Certificate>,
}

impl Generation {
    /// The leaf.
    pub fn leaf(&self) -> Option<&Certificate> {
        self.chain.first()
    }
}

/// The tool's directory.
#[derive(Debug, Clone)]
pub struct Live {
    root: PathBuf,
}

impl Live {
    /// Below `root`; nothing is touched.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Live { root: root.into() }
    }

    /// The tool's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `live/NAME`: what a server's configuration names.
    pub fn link(&self, name: &str) -> PathBuf {
        self.root.join("live").join(name)
    }

    /// What is live now; `None` before the first issue.
    ///
    /// # Errors
    /// The link points elsewhere than into the archive, or its files cannot be read.
    pub fn current(&self, name: &str) -> Result<Option<Generation>, Failure> {
        let link = self.link(name);
        let target = match std::fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::critical(format!("cannot read the link {}: {error}", link.display()))),
        };
        let number = target.file_name().and_then(|number| number.to_str()).and_then(|number| number.parse().ok());
        let number: u64 = number.ok_or_else(|| {
            Failure::critical(format!("{} points to {}, which is no generation", link.display(), target.display()))
        })?;
        self.generation(name, number).map(Some)
    }

    /// Reads a generation.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn generation(&self, name: &str, number: u64) -> Result<Generation, Failure> {
        let directory = self.root.join("archive").join(name).join(number.to_string());
        let path = directory.join("fullchain.pem");
        let read = std::fs::read(&path)
            .map_err(|error| Failure::critical(format!("cannot read {}: {error}", path.display())))?;
        let chain = Certificate::all_from_pem(&read)
            .map_err(|error| Failure::critical(format!("{}: {error}", path.display())))?;
        Ok(Generation { number, directory, chain })
    }
}
