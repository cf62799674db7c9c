//! Owner, extended attributes, mode and times of what was restored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustic_core::repofile::Node;
use rustix::fs::{AtFlags, CWD, Gid, RawMode, Timespec, Timestamps, Uid, XattrFlags};

use super::Restored;

/// Set-user-id, set-group-id and sticky: where Go, and so restic, keeps them, and where the system has them.
const SPECIAL: [(u32, RawMode); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];

/// Bits that let whoever runs a file act as its owner.
const ACTS_AS_OWNER: RawMode = 0o6000;

/// Permission bits, as the system has them.
pub(super) fn mode_of(node: &Node) -> RawMode {
    let stored = node.meta.mode.unwrap_or(0o600);
    SPECIAL.iter().filter(|(go, _)| stored & go != 0).fold(stored & 0o777, |mode, (_, unix)| mode | unix)
}

/// Gives an entry what it had, in this order: a change of owner takes bits of the mode and capabilities away, and what is
/// not writable any more takes no attributes. What cannot be given is noted; a mode is all that must be right.
pub(super) fn dress(place: &Path, node: &Node, done: &mut Restored) {
    let meta = &node.meta;
    let mut mode = mode_of(node);
    if !give(place, node, done) {
        mode &= !ACTS_AS_OWNER;
    }
    for attribute in &meta.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        if let Err(error) = rustix::fs::lsetxattr(place, &attribute.name, value, XattrFlags::empty()) {
            done.note(place, format!("its attribute {} could not be set: {error}", attribute.name));
        }
    }
    if !node.is_symlink()
        && let Err(error) = fs::set_permissions(place, fs::Permissions::from_mode(mode))
    {
        done.fail(place, format!("its mode could not be set: {error}"));
    }
    if let Some(time) = meta.mtime {
        // The nanoseconds of a time before 1970 count backwards there, and never here.
        let nanoseconds = time.as_nanosecond();
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or_default();
        let rest = i64::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or_default();
        let time = Timespec { tv_sec: seconds, tv_nsec: rest };
        let times = Timestamps { last_access: time, last_modification: time };
        if let Err(error) = rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW) {
            done.note(place, format!("its time could not be set: {error}"));
        }
    }
}

/// Gives an entry to its owner and group; whether it belongs to them now.
fn give(place: &Path, node: &Node, done: &mut Restored) -> bool {
    let (Some(uid), Some(gid)) = (node.meta.uid, node.meta.gid) else { return false };
    let us = rustix::process::geteuid();
    if !us.is_root() && us.as_raw() != uid {
        done.foreign += 1;
        return false;
    }
    // Who is not root may still hand a file to one of his own groups.
    let owner = us.is_root().then(|| Uid::from_raw(uid));
    match rustix::fs::chownat(CWD, place, owner, Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) => true,
        Err(_) if !us.is_root() => {
            done.foreign += 1;
            false
        }
        Err(error) => {
            done.note(place, format!("its owner could not be set: {error}"));
            false
        }
    }
}
