//! What a segment says of itself: the long header of its first page.
//!
//! A server names segments by timeline and number only, so two clusters produce the same names. The header tells whose
//! segment it is and which, and is compared before anything is archived.
//!
//! Layout, little-endian (`XLogLongPageHeaderData` in `src/include/access/xlog_internal.h`): magic (u16), flags (u16),
//! timeline (u32), position (u64), length of a record's rest (u32, padded to 8), system identifier (u64), segment size
//! (u32), page size (u32).

use std::fmt;

use crate::lsn::Lsn;
use crate::wal::name::Segment;

/// Bytes of the header.
const LENGTH: usize = 40;
/// Flag of a long header.
const LONG: u16 = 0x0002;
/// Bytes a segment may have: powers of two between these.
const SIZES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

/// `XLOG_PAGE_MAGIC` of the major versions, which have had one each.
const MAGICS: [(u16, i32); 6] = [(0xD106, 13), (0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)];

/// What a segment's header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The cluster's identity, as in its control file.
    pub system_identifier: u64,
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
    /// Major version of the server that wrote it.
    pub major: i32,
}

/// A file that is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{segment} is not the segment it is named after: {field} is {found}, expected {expected}")]
pub struct HeaderError {
    /// The name.
    pub segment: Segment,
    /// What does not fit.
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What should be there.
    pub expected: String,
}

/// Checks that `bytes`, the whole file, can be what `segment` names; for an unfinished segment as well, whose file has
/// its full size.
///
/// # Errors
/// A field of the header, or the file's size, does not fit.
pub fn check(segment: Segment, bytes: &[u8]) -> Result<Header, HeaderError> {
    let fail = |field, found: &dyn fmt::Display, expected: &dyn fmt::Display| {
        Err(HeaderError { segment, field, found: found.to_string(), expected: expected.to_string() })
    };
    let Some(header) = bytes.first_chunk::<LENGTH>() else {
        return fail("its size", &format_args!("{} bytes", bytes.len()), &"a whole segment");
    };
    let magic = half(header, 0);
    let Some((_, major)) = MAGICS.iter().find(|(known, _)| *known == magic).copied() else {
        return fail("its magic number", &format_args!("{magic:#06X}"), &"that of a PostgreSQL from 13 to 18");
    };
    let flags = half(header, 2);
    if flags & LONG == 0 {
        return fail("its flags", &format_args!("{flags:#06X}"), &"those of a segment's first page");
    }
    let size = u64::from(word(header, 32));
    if !size.is_power_of_two() || !SIZES.contains(&size) {
        return fail("its segment size", &size, &"a power of two from 1 MiB to 1 GiB");
    }
    if bytes.len() as u64 != size {
        return fail(
            "its size",
            &format_args!("{} bytes", bytes.len()),
            &format_args!("{size} bytes, as it says itself"),
        );
    }
    if Segment::numbered(segment.timeline, segment.number(size), size) != segment {
        return fail("its name", &segment, &format_args!("one of a log of {} segments", (1_u64 << 32) / size));
    }
    let page = word(header, 36);
    if !page.is_power_of_two() || !(1 << 10..=1 << 16).contains(&page) {
        return fail("its page size", &page, &"a power of two from 1 KiB to 64 KiB");
    }
    // A new timeline begins with a copy of the segment it branched off in, whose first page is still the old one's.
    let timeline = word(header, 4);
    if timeline == 0 || timeline > segment.timeline {
        return fail("its timeline", &timeline, &format_args!("{} or one before it", segment.timeline));
    }
    let position = long(header, 8);
    if position != segment.start(size).0 {
        return fail("its position", &Lsn(position), &segment.start(size));
    }
    let system_identifier = long(header, 24);
    if system_identifier == 0 {
        return fail("its system identifier", &0, &"that of a cluster");
    }
    Ok(Header { system_identifier, segment_bytes: size, major })
}

fn field<const N: usize>(header: &[u8; LENGTH], offset: usize) -> [u8; N] {
    header.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn half(header: &[u8; LENGTH], offset: usize) -> u16 {
    u16::from_le_bytes(field(header, offset))
}

fn word(header: &[u8; LENGTH], offset: usize) -> u32 {
    u32::from_le_bytes(field(header, offset))
}

fn long(header: &[u8; LENGTH], offset: usize) -> u64 {
    u64::from_le_bytes(field(header, offset))
}

/// A segment of 1 MiB, for tests: a header that holds, then bytes made from `seed`.
#[cfg(test)]
pub(crate) fn sample(segment: Segment, system_identifier: u64, seed: u8) -> Vec<u8> {
    const SIZE: u64 = 1 << 20;
    let mut bytes: Vec<u8> = (0..SIZE).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
    let header = [
        &0xD110_u16.to_le_bytes()[..],
        &LONG.to_le_bytes(),
        &segment.timeline.to_le_bytes(),
        &segment.start(SIZE).0.to_le_bytes(),
        &[0; 8],
        &system_identifier.to_le_bytes(),
        &(SIZE as u32).to_le_bytes(),
        &8192_u32.to_le_bytes(),
    ]
    .concat();
    bytes[..LENGTH].copy_from_slice(&header);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        "000000020000000100000003".parse().unwrap()
    }

    #[test]
    fn a_segment_tells_its_cluster_and_its_size() {
        let header = check(segment(), &sample(segment(), 7_123_456_789, 1)).unwrap();
        assert_eq!(header, Header { system_identifier: 7_123_456_789, segment_bytes: 1 << 20, major: 15 });
    }

    #[test]
    fn every_field_that_does_not_fit_is_named_with_what_was_found() {
        for (offset, byte, field, found) in [
            (0, 0x11, "magic", "0xD111"),
            (2, 0x00, "flags", "0x0000"),
            (4, 0x03, "timeline", "3"),
            (4, 0x00, "timeline", "0"),
            (10, 0x40, "position", "1/400000"),
            (34, 0x20, "its size", "1048576 bytes"),
            (33, 0x01, "segment size", "1048832"),
            (37, 0x21, "page size", "8448"),
        ] {
            let mut bytes = sample(segment(), 7, 1);
            bytes[offset] = byte;
            let error = check(segment(), &bytes).unwrap_err().to_string();
            assert!(error.contains(field) && error.contains(found) && error.contains("expected"), "{offset}: {error}");
        }
        let mut bytes = sample(segment(), 0, 1);
        assert!(check(segment(), &bytes).unwrap_err().to_string().contains("system identifier"));
        bytes.clear();
        assert!(check(segment(), &bytes).is_err());
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let bytes = sample(segment(), 7, 1);
        for length in [0, 1, 39, 40, 8192, bytes.len() - 1] {
            assert!(check(segment(), &bytes[..length]).is_err(), "{length}");
        }
        assert!(check(segment(), &[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn a_copy_from_the_timeline_before_is_the_new_timelines_first_segment() {
        let old = Segment { timeline: 1, ..segment() };
        check(segment(), &sample(old, 7, 1)).unwrap();
        assert!(check(old, &sample(segment(), 7, 1)).is_err());
    }

    #[test]
    fn a_segment_of_another_name_is_refused() {
        let bytes = sample(segment(), 7, 1);
        for other in ["000000020000000100000004", "000000020000000200000003", "000000010000000100000003"] {
            assert!(check(other.parse().unwrap(), &bytes).is_err(), "{other}");
        }
        // The same position under a name that no server gives it, and digits that would be beyond every position.
        for other in ["000000020000000000001003", "00000002FFFFFFFFFFFFFFFF"] {
            assert!(check(other.parse().unwrap(), &bytes).unwrap_err().to_string().contains("its name"), "{other}");
        }
    }
}
