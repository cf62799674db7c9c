//! Extended attributes, and with them POSIX access control lists, which the kernel shows as `system.posix_acl_*`.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustic_core::repofile::Metadata;
use rustix::buffer::spare_capacity;
use rustix::fd::BorrowedFd;
use rustix::fs::{
    fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, lgetxattr, lgetxattr_query, llistxattr, llistxattr_query,
};
use rustix::io::{Errno, Result};

/// So often a list or value that grew between being measured and being read is asked for again.
const TRIES: u32 = 5;

/// Where attributes are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name that is not followed, for what cannot be opened: a link, pipe, socket or device.
    Named(&'a Path),
}

/// A name, as the system has it, and the value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// All attributes that this account may see, by name.
///
/// # Errors
/// They cannot be read. A file system without attributes has none, and that is no error.
pub fn read(holder: Holder<'_>) -> io::Result<Vec<Attribute>> {
    let list = match whole(|| holder.size_of_list(), |buffer| holder.list(buffer)) {
        Ok(list) => list,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in list.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        match whole(|| holder.size_of_value(name), |buffer| holder.value(name, buffer)) {
            Ok(value) => attributes.push((name.to_bytes().to_vec(), value)),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    attributes.sort();
    Ok(attributes)
}

/// Puts attributes into the metadata of a node. The engine does not export their type, so they are made from their
/// serialized form, and then given their values.
///
/// # Errors
/// The engine's form is not the one that is known here.
pub fn store(meta: &mut Metadata, attributes: Vec<(String, Vec<u8>)>) -> serde_json::Result<()> {
    let blank = attributes.iter().map(|(name, _)| serde_json::json!({ "name": name, "value": null }));
    meta.extended_attributes = serde_json::from_value(blank.collect())?;
    for (slot, (_, value)) in meta.extended_attributes.iter_mut().zip(attributes) {
        slot.value = Some(value);
    }
    Ok(())
}

/// Measures, then reads; again when it grew in between.
fn whole(size: impl Fn() -> Result<usize>, read: impl Fn(&mut Vec<u8>) -> Result<usize>) -> Result<Vec<u8>> {
    let mut tries = 0;
    loop {
        let size = size()?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = Vec::with_capacity(size);
        match read(&mut buffer) {
            Ok(_) => return Ok(buffer),
            Err(Errno::RANGE) if tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

impl Holder<'_> {
    fn size_of_list(self) -> Result<usize> {
        match self {
            Holder::Open(file) => flistxattr_query(file),
            Holder::Named(path) => llistxattr_query(path),
        }
    }

    fn list(self, buffer: &mut Vec<u8>) -> Result<usize> {
        match self {
            Holder::Open(file) => flistxattr(file, spare_capacity(buffer)),
            Holder::Named(path) => llistxattr(path, spare_capacity(buffer)),
        }
    }

    fn size_of_value(self, name: &CStr) -> Result<usize> {
        match self {
            Holder::Open(file) => fgetxattr_query(file, name),
            Holder::Named(path) => lgetxattr_query(path, name),
        }
    }

    fn value(self, name: &CStr, buffer: &mut Vec<u8>) -> Result<usize> {
        match self {
            Holder::Open(file) => fgetxattr(file, name, spare_capacity(buffer)),
            Holder::Named(path) => lgetxattr(path, name, spare_capacity(buffer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd as _;

    use rustix::fs::{XattrFlags, fsetxattr};

    use super::*;

    #[test]
    fn attributes_come_with_their_bytes_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "").unwrap();
        let file = File::open(&path).unwrap();
        let large = vec![7; 2000];
        for (name, value) in [("user.b", &b"\0\xff\n"[..]), ("user.a", b""), ("user.large", &large)] {
            fsetxattr(&file, name, value, XattrFlags::empty()).unwrap();
        }
        let expected: Vec<Attribute> = vec![
            (b"user.a".to_vec(), vec![]),
            (b"user.b".to_vec(), b"\0\xff\n".to_vec()),
            (b"user.large".to_vec(), large),
        ];
        assert_eq!(read(Holder::Open(file.as_fd())).unwrap(), expected);
        assert_eq!(read(Holder::Named(&path)).unwrap(), expected);
    }

    #[test]
    fn what_has_none_and_what_cannot_have_any_have_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(Holder::Named(dir.path())).unwrap().is_empty());
        assert!(read(Holder::Named(Path::new("/proc/self/stat"))).unwrap().is_empty());
        assert!(read(Holder::Named(&dir.path().join("gone"))).is_err());
    }

    #[test]
    fn a_node_takes_attributes_with_any_bytes() {
        let mut meta = Metadata::default();
        store(&mut meta, vec![("user.a".into(), vec![]), ("user.b".into(), vec![0, 255])]).unwrap();
        let stored: Vec<_> = meta.extended_attributes.iter().map(|one| (&one.name[..], one.value.clone())).collect();
        assert_eq!(stored, [("user.a", Some(vec![])), ("user.b", Some(vec![0, 255]))]);
    }
}
