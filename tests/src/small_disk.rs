//! A disk that is small enough to be filled.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::{Account, give, is_root};
use crate::error::{Doing, Result};
use crate::setup::close_to_others;
use crate::template::must;

/// A file system in memory, mounted until it is dropped. The sandbox it lies in unmounts it should this process be killed.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(path: &Path, bytes: u64, account: Option<Account>) -> Result<Option<SmallDisk>> {
        if !is_root() {
            // Not through print!, which the test harness would hold back.
            let text = format!("\nNOT TESTED: a full {}: mounting a small disk needs root\n", path.display());
            let _ = std::io::stderr().write_all(text.as_bytes());
            return Ok(None);
        }
        fs::create_dir(path).doing(|| format!("make {}", path.display()))?;
        let size = format!("size={bytes}");
        must(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path), "mounting a small disk")?;
        let disk = SmallDisk { path: path.to_owned() };
        close_to_others(path)?;
        give(path, account)?;
        Ok(Some(disk))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another size in bytes.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        let option = format!("remount,size={bytes}");
        must(Command::new("mount").args(["-o", &option]).arg(&self.path), "resizing a small disk").map(drop)
    }

    /// Writes a file until nothing more fits; [`SmallDisk::relieve`] removes it.
    pub fn fill(&self) -> Result<()> {
        let path = self.ballast();
        let mut file = fs::File::create(&path).doing(|| format!("make {}", path.display()))?;
        // Smaller and smaller, so that not even a note fits in the end.
        for size in [1 << 20, 4096, 1] {
            let block = vec![b'x'; size];
            loop {
                match file.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).doing(|| format!("fill {}", self.path.display())),
                }
            }
        }
        Ok(())
    }

    /// Takes back what [`SmallDisk::fill`] wrote.
    pub fn relieve(&self) -> Result<()> {
        fs::remove_file(self.ballast()).doing(|| format!("relieve {}", self.path.display()))
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
