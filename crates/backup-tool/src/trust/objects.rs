//! Which objects to read this time, and whether their bytes are what they should be.
//!
//! Every object of the restic repositories but their configuration is named by the SHA-256 of its bytes, so reading it
//! once proves it whole. Archived WAL and notes are sealed: opening them proves the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use maint_core::cancel::Cancel;
use ring::digest::{Context, SHA256};

use super::attestation::hex;
use super::ledger::Ledger;
use crate::storage::{Object, Storage, StorageError};

/// Bytes that are read at once: bounds the memory of a reader.
const PIECE: u64 = 32 << 20;
/// Readers at the same time: hashing one object while the next one comes from the disk.
const READERS: usize = 2;

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was read and is right.
    Right,
    /// It is not there any more: another run removed it since it was listed.
    Gone,
    /// It is damaged; what is wrong with it.
    Damaged(String),
    /// It could not be read; why.
    Unread(String),
}

impl Verdict {
    /// What an error of the storage means for the object that was being read.
    pub fn of_error(error: &StorageError) -> Self {
        match error {
            StorageError::NotFound { .. } => Verdict::Gone,
            StorageError::Short { .. } => Verdict::Damaged(error.to_string()),
            StorageError::BadKey(_) | StorageError::Io { .. } => Verdict::Unread(error.to_string()),
        }
    }
}

/// The objects of one run.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    /// To be read now.
    pub chosen: Vec<&'a Object>,
    /// Verified recently enough.
    pub known: usize,
    /// Left for a later run, because this one may not read more.
    pub left: usize,
}

/// Chooses what to read: what was not verified since `since` (seconds since 1970), the longest unverified first, and at
/// least one object; of `slice` bytes at most.
pub fn select<'a>(
    objects: impl Iterator<Item = &'a Object>,
    ledger: &Ledger,
    since: i64,
    slice: Option<u64>,
) -> Selection<'a> {
    let mut selection = Selection::default();
    let mut wanted: Vec<(i64, &Object)> = Vec::new();
    for object in objects {
        if ledger.knows(&object.key, object.size, since) {
            selection.known += 1;
        } else {
            wanted.push((ledger.seen.get(&object.key).map_or(i64::MIN, |seen| seen.second), object));
        }
    }
    wanted.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.key.cmp(&b.1.key)));
    let mut sum = 0_u64;
    for (_, object) in wanted {
        let fits = slice.is_none_or(|slice| sum.saturating_add(object.size) <= slice);
        if fits || selection.chosen.is_empty() {
            sum = sum.saturating_add(object.size);
            selection.chosen.push(object);
        } else {
            selection.left += 1;
        }
    }
    selection
}

/// Reads an object whole and compares the SHA-256 of its bytes with its name.
pub fn compare_with_name(storage: &dyn Storage, object: &Object) -> Verdict {
    let mut context = Context::new(&SHA256);
    let mut offset = 0;
    while offset < object.size {
        let length = (object.size - offset).min(PIECE);
        match storage.get_range(&object.key, offset, length as usize) {
            Ok(bytes) => context.update(&bytes),
            Err(error) => return Verdict::of_error(&error),
        }
        offset += length;
    }
    let found = hex(context.finish().as_ref());
    if object.key.ends_with(&format!("/{found}")) {
        return Verdict::Right;
    }
    Verdict::Damaged(format!("its bytes have the SHA-256 {found}, which is not its name"))
}

/// Whether the last part of a key is the name of an object of a restic repository.
pub fn is_named_by_hash(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Judges every item, a few at a time, in their order; `None` for those that were not reached before the run was asked to
/// stop.
pub fn each<T: Sync>(items: &[T], cancel: &Cancel, judge: impl Fn(&T) -> Verdict + Sync) -> Vec<Option<Verdict>> {
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(vec![None; items.len()]);
    std::thread::scope(|scope| {
        for _ in 0..READERS.min(items.len()) {
            scope.spawn(|| {
                while !cancel.is_cancelled() {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let verdict = judge(item);
                    let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(slot) = verdicts.get_mut(place) {
                        *slot = Some(verdict);
                    }
                }
            });
        }
    });
    verdicts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use maint_core::status::Exit;

    use super::*;
    use crate::storage::local::Local;
    use crate::trust::ledger::Seen;

    fn object(key: &str, size: u64) -> Object {
        Object { key: key.into(), size }
    }

    fn keys<'a>(selection: &Selection<'a>) -> Vec<&'a str> {
        selection.chosen.iter().map(|object| object.key.as_str()).collect()
    }

    #[test]
    fn the_longest_unverified_comes_first_and_a_slice_goes_on_where_the_last_one_stopped() {
        let objects = ["a", "b", "c", "d"].map(|key| object(key, 10));
        let mut ledger = Ledger::default();
        ledger.seen.insert("a".into(), Seen { bytes: 10, second: 7 });
        ledger.seen.insert("b".into(), Seen { bytes: 10, second: 5 });
        let selection = select(objects.iter(), &ledger, 100, Some(25));
        assert_eq!(keys(&selection), ["c", "d"]);
        assert_eq!((selection.known, selection.left), (0, 2));
        for key in ["c", "d"] {
            ledger.seen.insert(key.into(), Seen { bytes: 10, second: 100 });
        }
        let selection = select(objects.iter(), &ledger, 100, Some(25));
        assert_eq!(keys(&selection), ["b", "a"]);
        assert_eq!((selection.known, selection.left), (2, 0));
    }

    #[test]
    fn an_object_larger_than_the_slice_is_read_alone() {
        let objects = [object("a", 100), object("b", 100)];
        let selection = select(objects.iter(), &Ledger::default(), 0, Some(10));
        assert_eq!((keys(&selection), selection.left), (vec!["a"], 1));
    }

    #[test]
    fn every_flipped_bit_and_every_lost_byte_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let local = Local::open(directory.path()).unwrap();
        let name = hex(ring::digest::digest(&SHA256, b"pack").as_ref());
        let put = |key: &str, content: &'static [u8]| {
            local.put_new(key, &[Bytes::from_static(content)]).unwrap();
            compare_with_name(&local, &object(key, content.len() as u64))
        };
        assert_eq!(put(&format!("good/{name}"), b"pack"), Verdict::Right);
        assert!(matches!(put(&format!("flipped/{name}"), b"pacl"), Verdict::Damaged(_)));
        assert!(matches!(put(&format!("short/{name}"), b"pac"), Verdict::Damaged(_)));
        assert!(matches!(put(&format!("empty/{name}"), b""), Verdict::Damaged(_)));
        let cut = object(&format!("good/{name}"), 5);
        assert!(matches!(compare_with_name(&local, &cut), Verdict::Damaged(_)), "cut short since it was listed");
        assert_eq!(compare_with_name(&local, &object("nothing/x", 1)), Verdict::Gone);
    }

    #[test]
    fn each_item_gets_its_own_verdict_and_a_cancelled_run_none() {
        let items: Vec<usize> = (0..100).collect();
        let verdicts = each(&items, &Cancel::never(), |item| Verdict::Damaged(item.to_string()));
        assert!(verdicts.iter().enumerate().all(|(n, v)| *v == Some(Verdict::Damaged(n.to_string()))));
        let cancel = Cancel::never();
        cancel.cancel(Exit::Interrupted);
        assert!(each(&items, &cancel, |_| Verdict::Right).iter().all(Option::is_none));
    }
}
