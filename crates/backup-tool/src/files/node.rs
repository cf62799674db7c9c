//! What is kept of an entry beside its bytes, in the form that restic keeps it in.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustic_core::repofile::{Metadata, NodeType};

use super::walk::EntryKind;
use crate::store::form::{go_mode, moment};

/// Names of users and groups by their numbers, from `/etc/passwd` and `/etc/group` alone: a directory service may be the
/// very thing that is to be restored. What has no name there is restored by its number.
#[derive(Debug, Clone, Default)]
pub struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// Those of this host. A file that cannot be read names nobody.
    pub fn of_this_host() -> Self {
        let read = |path: &str| parse(&fs::read(Path::new(path)).unwrap_or_default());
        Names { users: read("/etc/passwd"), groups: read("/etc/group") }
    }
}

/// Of `name:password:number:...` (passwd(5), group(5)), number and name; the first line of a number counts.
fn parse(text: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut parts = line.split(':');
        if let (Some(name), Some(number)) = (parts.next(), parts.nth(1))
            && let Ok(number) = number.parse()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// What is kept of an entry. The time of the last access is not: reading changes it, and with it in, no directory would
/// ever be the same in two backups. restic needs one, so it gets that of the last change.
///
/// The device is only kept where inode and device together tell hard links; elsewhere it would only be different after the
/// next boot.
pub fn metadata(found: &fs::Metadata, names: &Names) -> Metadata {
    let modified = moment(found.mtime(), found.mtime_nsec());
    let links = if found.is_dir() { 0 } else { found.nlink() };
    Metadata {
        mode: Some(go_mode(found.mode())),
        mtime: Some(modified),
        atime: Some(modified),
        ctime: Some(moment(found.ctime(), found.ctime_nsec())),
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        user: names.users.get(&found.uid()).cloned(),
        group: names.groups.get(&found.gid()).cloned(),
        inode: found.ino(),
        device_id: if links > 1 { found.dev() } else { 0 },
        size: if found.is_file() { found.len() } else { 0 },
        links,
        ..Metadata::default()
    }
}

/// The type of a node.
pub fn node_type(kind: &EntryKind) -> NodeType {
    match kind {
        EntryKind::Directory => NodeType::Dir,
        EntryKind::File(_) => NodeType::File,
        EntryKind::Link(target) => NodeType::from_link(target),
        EntryKind::Pipe => NodeType::Fifo,
        EntryKind::Socket => NodeType::Socket,
        EntryKind::Block(device) => NodeType::Dev { device: *device },
        EntryKind::Character(device) => NodeType::Chardev { device: *device },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_number_names_it() {
        let names = parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n\nbad\nalso:x:many:\nw\xffw:x:33:33:::\n");
        assert_eq!(names.len(), 2);
        assert_eq!((&names[&0][..], &names[&33][..]), ("root", "w\u{fffd}w"));
        assert_eq!(Names::of_this_host().users[&0], "root");
    }
}
