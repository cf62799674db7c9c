//! A page of a relation: its checksum and what it says about the page.
//!
//! The checksum is PostgreSQL's (`src/include/storage/checksum_impl.h`): 32 FNV-1a sums side by side over the page with its
//! checksum field taken as zero, folded together, mixed with the page's number in its relation, and brought down to 16
//! bits that are never zero. The 32 lanes do not depend on each other, so the loop below becomes vector instructions.

use std::fmt;

use crate::lsn::Lsn;

/// Size of a page in bytes. Clusters built with another size are refused when their control file is read.
pub const PAGE_BYTES: usize = 8192;

/// The bytes of a page.
pub type Page = [u8; PAGE_BYTES];

const LANES: usize = 32;
const ROW_BYTES: usize = LANES * 4;
const PRIME: u32 = 16_777_619;

/// Where each lane begins: random numbers that are part of the format.
const SEEDS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What a look at a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Never written: all zero.
    New,
    /// Whole; last changed by the log record that ends here.
    Good(Lsn),
    /// Not whole.
    Bad(Fault),
}

/// Why a page is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its header is that of a page never written, but there is something in it.
    NotEmpty,
    /// Its bytes do not have the checksum it says.
    Checksum {
        /// The checksum in the page.
        stored: u16,
        /// The checksum of its bytes.
        computed: u16,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotEmpty => f.write_str("it has no header, but is not all zero"),
            Fault::Checksum { stored, computed } => {
                write!(f, "it says its checksum is {stored:04X}, but its bytes have {computed:04X}")
            }
        }
    }
}

fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

fn add_row(sums: &mut [u32; LANES], row: &[u8; ROW_BYTES]) {
    let (words, _) = row.as_chunks::<4>();
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum = mix(*sum, u32::from_le_bytes(*word));
    }
}

/// The checksum of a page that is page number `block` of its relation, counted over all its segments.
pub fn checksum(page: &Page, block: u32) -> u16 {
    let mut sums = SEEDS;
    let (rows, _) = page.as_chunks::<ROW_BYTES>();
    if let [first, rest @ ..] = rows {
        let mut first = *first;
        let [_, _, _, _, _, _, _, _, low, high, ..] = &mut first;
        (*low, *high) = (0, 0);
        add_row(&mut sums, &first);
        for row in rest {
            add_row(&mut sums, row);
        }
    }
    let folded = sums.iter().fold(0, |folded, sum| folded ^ mix(mix(*sum, 0), 0));
    ((folded ^ block) % 65535 + 1) as u16
}

/// Looks at page number `block` of a relation whose pages carry checksums.
pub fn check(page: &Page, block: u32) -> Verdict {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, _, _, _, _, upper0, upper1, ..] = *page;
    if (upper0, upper1) == (0, 0) {
        let empty = page.iter().fold(0, |seen, byte| seen | byte) == 0;
        return if empty { Verdict::New } else { Verdict::Bad(Fault::NotEmpty) };
    }
    let stored = u16::from_le_bytes([c0, c1]);
    let computed = checksum(page, block);
    if stored == computed {
        let (high, low) = (u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3]));
        Verdict::Good(Lsn(u64::from(high) << 32 | u64::from(low)))
    } else {
        Verdict::Bad(Fault::Checksum { stored, computed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages of a cluster of PostgreSQL 15: page 0 of `pg_am`, page 7 of `pg_proc`.
    const PAGES: &[u8] = include_bytes!("fixtures/pages-15.bin");

    fn page(index: usize) -> Page {
        PAGES.as_chunks::<PAGE_BYTES>().0[index]
    }

    #[test]
    fn pages_that_a_server_wrote_are_good() {
        assert_eq!(check(&page(0), 0), Verdict::Good(Lsn(0x015E_FFB8)));
        assert!(matches!(check(&page(1), 7), Verdict::Good(_)));
        assert_eq!(checksum(&page(0), 0), 0xF3CA);
    }

    #[test]
    fn a_page_in_another_place_is_bad() {
        assert!(matches!(check(&page(1), 8), Verdict::Bad(Fault::Checksum { .. })));
        assert!(matches!(check(&page(1), 7 + 131_072), Verdict::Bad(Fault::Checksum { .. })));
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_a_page_bad() {
        for at in (0..PAGE_BYTES).step_by(97).chain([8, 9, 14, 15, PAGE_BYTES - 1]) {
            let mut page = page(0);
            page[at] ^= 0x10;
            assert!(matches!(check(&page, 0), Verdict::Bad(_)), "byte {at}");
        }
    }

    #[test]
    fn a_page_of_zeros_is_new_and_one_without_a_header_is_not() {
        let mut page = [0; PAGE_BYTES];
        assert_eq!(check(&page, 3), Verdict::New);
        page[PAGE_BYTES - 1] = 1;
        assert_eq!(check(&page, 3), Verdict::Bad(Fault::NotEmpty));
    }

    #[test]
    fn the_checksum_does_not_depend_on_the_checksum_field() {
        let mut other = page(0);
        (other[8], other[9]) = (1, 2);
        assert_eq!(checksum(&other, 0), checksum(&page(0), 0));
    }
}
