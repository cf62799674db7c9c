//! The sealed object that an archived file becomes.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |------:|------|
//! | 8     | magic `maintwal` |
//! | 4     | version of this layout: 1 |
//! | 8     | length of the plain file |
//! | 32    | content id: HMAC-SHA256 of the plain file |
//! | 16    | salt, random |
//! | rest  | frames |
//!
//! The frames together are the file compressed by zstd, cut every MiB; each is sealed by AES-256-GCM and 16 bytes longer
//! than what is in it. The key of the frames is made for this object alone, from the sealing key and the salt
//! (HKDF-SHA256), so that no two objects ever share a nonce. The nonce is the frame's number (u32, then seven zero bytes)
//! and a last byte that is 1 for the last frame, as in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár,
//! 2015): frames that were cut off, added or put in another order do not open. Associated data of every frame are the
//! header, the cluster's system identifier and the file's name: an object under another name, or of another cluster, does
//! not open either.
//!
//! Nothing is believed before it was opened, so a hostile length costs no memory; and the plain file must have the length
//! and the content id that the header promises.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::store::keys::{Keys, Purpose};

const MAGIC: &[u8; 8] = b"maintwal";
const VERSION: u32 = 1;
/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 8 + 4 + 8 + 32 + SALT_BYTES;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// What is in a frame, but the last, in bytes.
pub const FRAME_BYTES: usize = 1 << 20;
/// The largest file there is to be archived: a segment of the largest size that initdb allows.
const MAX_PLAIN_BYTES: u64 = 1 << 30;
/// Level 1 is a seventh larger; level 6 takes more than twice as long for a hundredth.
const LEVEL: i32 = 3;

/// What an object is of; it does not open as that of anything else.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The cluster's system identifier.
    pub system_identifier: u64,
    /// The file's name.
    pub name: &'a str,
}

/// An object that does not open, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is too short to have a header and a frame.
    #[error("it is cut short ({0} bytes)")]
    Short(usize),
    /// It does not begin as ours do.
    #[error("it does not begin as an archived object does")]
    Magic,
    /// A later program wrote it.
    #[error("it has layout {0}, and this program knows {VERSION}; use the program that wrote it, or a later one")]
    Version(u32),
    /// A frame does not open.
    #[error("it was damaged, cut, moved from another name or cluster, or sealed with another key (frame {0})")]
    Frame(usize),
    /// What was sealed is not what the header promises.
    #[error("its content is not the one that its header promises: {0}")]
    Content(&'static str),
    /// It cannot be sealed.
    #[error("it cannot be sealed: {0}")]
    Seal(&'static str),
}

/// The keys that seal and open.
#[derive(Clone)]
pub struct Sealer {
    seal: Zeroizing<[u8; 32]>,
    content: hmac::Key,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Takes the two keys of the archive.
    pub fn new(keys: &Keys) -> Self {
        Sealer {
            seal: keys.derive(Purpose::WalSeal),
            content: hmac::Key::new(HMAC_SHA256, keys.derive(Purpose::WalContent).as_ref()),
        }
    }

    /// The id of a content: equal for equal files, and telling nothing to whoever has not the key.
    pub fn content_id(&self, plain: &[u8]) -> [u8; 32] {
        let mut id = [0; 32];
        let tag = hmac::sign(&self.content, plain);
        id.iter_mut().zip(tag.as_ref()).for_each(|(id, byte)| *id = *byte);
        id
    }

    /// Seals a file; the object is the concatenation of what is returned.
    ///
    /// # Errors
    /// It is too large, or the system has no random bytes.
    pub fn seal(&self, of: Binding<'_>, plain: &[u8]) -> Result<[Bytes; 2], SealError> {
        if plain.len() as u64 > MAX_PLAIN_BYTES {
            return Err(SealError::Seal("it is larger than any segment"));
        }
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| SealError::Seal("the system gave no random bytes"))?;
        let length = (plain.len() as u64).to_le_bytes();
        let header = [&MAGIC[..], &VERSION.to_le_bytes(), &length, &self.content_id(plain), &salt].concat();
        let key = self.frame_key(&salt)?;
        let associated = associated(&header, of);
        let compressed = zstd::bulk::compress(plain, LEVEL).map_err(|_| SealError::Seal("it cannot be compressed"))?;
        let count = compressed.len().div_ceil(FRAME_BYTES);
        let mut frames = Vec::with_capacity(compressed.len() + count * TAG_BYTES);
        for (number, piece) in compressed.chunks(FRAME_BYTES).enumerate() {
            let start = frames.len();
            frames.extend_from_slice(piece);
            let frame = frames.get_mut(start..).unwrap_or_default();
            let tag = key
                .seal_in_place_separate_tag(nonce(number, number + 1 == count), Aad::from(&associated), frame)
                .map_err(|_| SealError::Seal("it is too long"))?;
            frames.extend_from_slice(tag.as_ref());
        }
        Ok([header.into(), frames.into()])
    }

    /// Opens an object and returns the file.
    ///
    /// # Errors
    /// It is not, to the last bit, an object that was sealed with these keys for this name and cluster.
    pub fn open(&self, of: Binding<'_>, object: Bytes) -> Result<Vec<u8>, SealError> {
        let whole = object.len();
        let mut object = Vec::from(object);
        let (header, frames) = object.split_at_mut_checked(HEADER_BYTES).ok_or(SealError::Short(whole))?;
        let (length, id, salt) = promised(header)?;
        if frames.len() <= TAG_BYTES {
            return Err(SealError::Short(whole));
        }
        let key = self.frame_key(&salt)?;
        let associated = associated(header, of);
        let count = frames.len().div_ceil(FRAME_BYTES + TAG_BYTES);
        let mut compressed = Vec::with_capacity(frames.len());
        for (number, frame) in frames.chunks_mut(FRAME_BYTES + TAG_BYTES).enumerate() {
            let opened = key
                .open_in_place(nonce(number, number + 1 == count), Aad::from(&associated), frame)
                .map_err(|_| SealError::Frame(number))?;
            compressed.extend_from_slice(opened);
        }
        drop(object);
        // From here on the header is known to be ours.
        let capacity = usize::try_from(length).map_err(|_| SealError::Content("its length"))?;
        let plain =
            zstd::bulk::decompress(&compressed, capacity).map_err(|_| SealError::Content("it does not decompress"))?;
        if plain.len() != capacity {
            return Err(SealError::Content("its length"));
        }
        hmac::verify(&self.content, &plain, &id).map_err(|_| SealError::Content("its content id"))?;
        Ok(plain)
    }

    fn frame_key(&self, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, SealError> {
        let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(self.seal.as_ref());
        let material = pseudorandom.expand(&[b"maint backup-tool wal frames 1"], &AES_256_GCM);
        // It cannot fail for one key's length.
        material
            .map(|key| LessSafeKey::new(UnboundKey::from(key)))
            .map_err(|_| SealError::Seal("there is no key for it"))
    }
}

/// Length, content id and salt, as a header says.
fn promised(header: &[u8]) -> Result<(u64, [u8; 32], [u8; SALT_BYTES]), SealError> {
    let short = SealError::Short(header.len());
    let (magic, rest) = header.split_first_chunk::<8>().ok_or(short.clone())?;
    if magic != MAGIC {
        return Err(SealError::Magic);
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(short.clone())?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(SealError::Version(version));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(short.clone())?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_PLAIN_BYTES {
        return Err(SealError::Content("its length"));
    }
    let (id, rest) = rest.split_first_chunk::<32>().ok_or(short.clone())?;
    let salt = rest.first_chunk::<SALT_BYTES>().ok_or(short)?;
    Ok((length, *id, *salt))
}

fn associated(header: &[u8], of: Binding<'_>) -> Vec<u8> {
    [header, &of.system_identifier.to_le_bytes(), of.name.as_bytes()].concat()
}

fn nonce(number: usize, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    // No file has 2^32 frames: the largest has about a thousand.
    bytes.iter_mut().zip((number as u32).to_le_bytes()).for_each(|(byte, digit)| *byte = digit);
    if let Some(flag) = bytes.last_mut() {
        *flag = u8::from(last);
    }
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "000000010000000000000001";
    const OF: Binding<'static> = Binding { system_identifier: 7, name: NAME };

    fn sealer() -> Sealer {
        Sealer::new(&Keys::from_master(&[3; 32]))
    }

    /// Bytes that do not compress, so that a few MiB of them are a few frames.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        SystemRandom::new().fill(&mut bytes).unwrap();
        bytes
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        sealer().seal(OF, plain).unwrap().concat()
    }

    fn open(object: Vec<u8>) -> Result<Vec<u8>, SealError> {
        sealer().open(OF, object.into())
    }

    #[test]
    fn what_was_sealed_opens() {
        for plain in [vec![], vec![1], vec![0; 16 << 20], noise(FRAME_BYTES - 200), noise(2 * FRAME_BYTES + 5)] {
            assert!(open(sealed(&plain)).unwrap() == plain, "{} bytes", plain.len());
        }
    }

    #[test]
    fn equal_files_have_equal_ids_and_different_objects() {
        let (one, two) = (sealed(b"same"), sealed(b"same"));
        assert_eq!(promised(&one[..HEADER_BYTES]).unwrap().1, promised(&two[..HEADER_BYTES]).unwrap().1);
        assert_ne!(one[HEADER_BYTES..], two[HEADER_BYTES..]);
        assert_ne!(sealer().content_id(b"same"), sealer().content_id(b"other"));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let plain = noise(2 * FRAME_BYTES + 500);
        let object = sealed(&plain);
        let frame = FRAME_BYTES + TAG_BYTES;
        let borders = [0, 1, 2].map(|number| HEADER_BYTES + number * frame);
        let around = borders.iter().flat_map(|border| (border - TAG_BYTES - 2)..(border + 3));
        let places = (0..HEADER_BYTES).chain(around).chain(object.len() - 20..object.len());
        for place in places {
            for bit in 0..8 {
                let mut changed = object.clone();
                changed[place] ^= 1 << bit;
                assert!(open(changed).is_err(), "byte {place} bit {bit}");
            }
        }
    }

    #[test]
    fn an_object_that_was_cut_or_grew_does_not_open() {
        let object = sealed(&noise(2 * FRAME_BYTES + 500));
        let frame = FRAME_BYTES + TAG_BYTES;
        let mut lengths: Vec<usize> = (0..HEADER_BYTES + 40).collect();
        for border in [HEADER_BYTES + frame, HEADER_BYTES + 2 * frame, object.len()] {
            lengths.extend(border - 18..=border + 18);
        }
        for length in lengths.into_iter().filter(|length| *length < object.len()) {
            assert!(open(object[..length].to_vec()).is_err(), "cut to {length}");
        }
        for more in [1, 16, 17, frame] {
            assert!(open([object.clone(), vec![0; more]].concat()).is_err(), "{more} more");
        }
    }

    #[test]
    fn frames_in_another_order_or_of_another_object_do_not_open() {
        let object = sealed(&noise(3 * FRAME_BYTES + 500));
        let frame = FRAME_BYTES + TAG_BYTES;
        let (header, frames) = object.split_at(HEADER_BYTES);
        let pieces: Vec<&[u8]> = frames.chunks(frame).collect();
        assert_eq!(pieces.len(), 4);
        for order in [vec![1, 0, 2, 3], vec![0, 1, 3], vec![0, 0, 1, 2, 3], vec![3], vec![0, 1, 2]] {
            let body: Vec<u8> = order.iter().flat_map(|number| pieces[*number].iter().copied()).collect();
            assert!(open([header, &body].concat()).is_err(), "{order:?}");
        }
        let other = sealed(&noise(3 * FRAME_BYTES + 500));
        assert!(open([header, &other[HEADER_BYTES..]].concat()).is_err());
        assert!(open([header, &frames[..frame], &other[HEADER_BYTES + frame..]].concat()).is_err());
    }

    #[test]
    fn another_name_another_cluster_and_another_key_do_not_open_it() {
        let object = Bytes::from(sealed(b"segment"));
        for of in [
            Binding { name: "000000010000000000000002", ..OF },
            Binding { name: "", ..OF },
            Binding { system_identifier: 8, ..OF },
        ] {
            assert_eq!(sealer().open(of, object.clone()), Err(SealError::Frame(0)));
        }
        let other = Sealer::new(&Keys::from_master(&[4; 32]));
        assert_eq!(other.open(OF, object), Err(SealError::Frame(0)));
    }

    #[test]
    fn a_hostile_length_is_refused_before_memory_is_asked_for() {
        let object = sealed(b"segment");
        for length in [u64::MAX, 1 << 40, MAX_PLAIN_BYTES + 1, MAX_PLAIN_BYTES, 8, 6, 0] {
            let mut changed = object.clone();
            changed[12..20].copy_from_slice(&length.to_le_bytes());
            assert!(open(changed).is_err(), "{length}");
        }
    }

    #[test]
    fn a_later_layout_is_named() {
        let mut object = sealed(b"segment");
        object[8] = 2;
        assert_eq!(open(object), Err(SealError::Version(2)));
    }

    #[test]
    fn what_the_key_holder_sealed_wrongly_is_refused_all_the_same() {
        // As a bug could: frames that open, around a content that is not the promised one.
        let sealer = sealer();
        let parts = sealer.seal(OF, b"segment").unwrap();
        for (offset, byte) in [(12, 6), (12, 8), (20, 0xAA)] {
            let mut header = parts[0].to_vec();
            header[offset] = if header[offset] == byte { byte ^ 1 } else { byte };
            let salt = promised(&header).unwrap().2;
            let mut frame = zstd::bulk::compress(b"segment", LEVEL).unwrap();
            let key = sealer.frame_key(&salt).unwrap();
            let tag =
                key.seal_in_place_separate_tag(nonce(0, true), Aad::from(associated(&header, OF)), &mut frame).unwrap();
            let object = [&header, &frame, tag.as_ref()].concat();
            assert!(matches!(open(object), Err(SealError::Content(_))), "{offset}");
        }
    }
}
