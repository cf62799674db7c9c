//! Counting in bounded memory.
//!
//! A keyspace may hold more keys than this program may hold bytes. Each structure here has a size that is fixed when it
//! is made, and says how wrong it can be; none of them is random, so the same keys always give the same answer.

use std::hash::{BuildHasherDefault, Hasher};

/// A 64-bit hash of some bytes, the same in every run and on every machine.
///
/// Lanes of eight bytes are mixed in one by one with the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable
/// Pseudorandom Number Generators, 2014), the length last. It is for counting only: someone who chooses the keys can
/// make it collide.
pub fn hash(bytes: &[u8]) -> u64 {
    let (lanes, tail) = bytes.as_chunks::<8>();
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for lane in lanes {
        state = mix(state ^ u64::from_le_bytes(*lane));
    }
    let last = tail.iter().rev().fold(0, |lane, byte| lane << 8 | u64::from(*byte));
    mix(mix(state ^ last) ^ bytes.len() as u64)
}

fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// [`hash`] for maps whose size is bounded; std's hash resists chosen collisions and costs several times as much.
#[derive(Debug, Clone, Copy, Default)]
pub struct FastHasher(u64);

/// Makes [`FastHasher`]s.
pub type FastHash = BuildHasherDefault<FastHasher>;

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ hash(bytes);
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = mix(self.0 ^ value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How many different keys were seen, though some may have been seen twice.
///
/// HyperLogLog (Flajolet and others, 2007) with 2^14 one-byte registers: 16 KiB, standard error 1.04 / sqrt(2^14) =
/// 0.81 %, whatever the number. The estimate is Ertl's (New cardinality estimation algorithms for HyperLogLog sketches,
/// 2017, algorithm 6), which needs no correction for small or large numbers.
#[derive(Debug, Clone)]
pub struct Distinct {
    registers: Vec<u8>,
}

/// Bits of the hash that choose a register.
const INDEX_BITS: u32 = 14;
/// Bits that are left, in which leading zeros are counted.
const VALUE_BITS: u32 = 64 - INDEX_BITS;

impl Default for Distinct {
    fn default() -> Self {
        Distinct { registers: vec![0; 1 << INDEX_BITS] }
    }
}

impl Distinct {
    /// The relative standard error of [`Distinct::estimate`].
    pub const STANDARD_ERROR: f64 = 1.04 / 128.0;

    /// Counts what has this [`hash`].
    pub fn add(&mut self, hash: u64) {
        let rank = ((hash << INDEX_BITS).leading_zeros().min(VALUE_BITS) + 1) as u8;
        if let Some(register) = self.registers.get_mut((hash >> VALUE_BITS) as usize) {
            *register = rank.max(*register);
        }
    }

    /// The number of different hashes that were added, nearly.
    pub fn estimate(&self) -> u64 {
        let mut counts = [0_u32; VALUE_BITS as usize + 2];
        for register in &self.registers {
            if let Some(count) = counts.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let registers = self.registers.len() as f64;
        let [zero, middle @ .., full] = counts;
        let mut sum = registers * tau(1.0 - f64::from(full) / registers);
        for count in middle.iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += registers * sigma(f64::from(zero) / registers);
        // 1 / (2 ln 2) is the limit of the bias correction for many registers.
        (registers * registers / (2.0 * std::f64::consts::LN_2 * sum)).round() as u64
    }
}

/// `x + sum of x^(2^k) * 2^(k-1)` for k from 1; infinite at 1, which makes the estimate of nothing 0.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut factor, mut sum) = (1.0, x);
    loop {
        x *= x;
        let next = sum + x * factor;
        factor *= 2.0;
        if next <= sum {
            return sum;
        }
        sum = next;
    }
}

/// `(1 - x - sum of (1 - x^(2^-k))^2 * 2^-k) / 3` for k from 1.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut factor, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        factor *= 0.5;
        let next = sum - (1.0 - x).powi(2) * factor;
        if next >= sum {
            return sum / 3.0;
        }
        sum = next;
    }
}

/// The values that occur most often.
///
/// Misra and Gries (Finding repeated elements, 1982): with `capacity` counters, each count is at least the true number
/// less [`Frequent::error`], never more than the true number, and error is at most `total / (capacity + 1)`. A value
/// that occurs more often than that is therefore always kept. Two summaries merge under the same bound (Agarwal and
/// others: Mergeable summaries, 2012).
#[derive(Debug, Clone)]
pub struct Frequent<T> {
    capacity: usize,
    counts: Vec<(T, u64)>,
    total: u64,
    error: u64,
}

impl<T: PartialEq + Ord> Frequent<T> {
    /// Keeps at most `capacity` values; each addition looks through all of them, so it should be small.
    pub fn new(capacity: usize) -> Self {
        Frequent { capacity: capacity.max(1), counts: Vec::new(), total: 0, error: 0 }
    }

    /// Counts one more of this value.
    pub fn add(&mut self, value: T) {
        self.total += 1;
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == value) {
            *count += 1;
        } else if self.counts.len() < self.capacity {
            self.counts.push((value, 1));
        } else {
            // One of each kept value and the new one cancel out.
            self.lower(1);
        }
    }

    /// Adds what another summary saw.
    pub fn merge(&mut self, other: Self) {
        self.total += other.total;
        self.error += other.error;
        for (value, more) in other.counts {
            match self.counts.iter_mut().find(|(known, _)| *known == value) {
                Some((_, count)) => *count += more,
                None => self.counts.push((value, more)),
            }
        }
        if self.counts.len() > self.capacity {
            let mut counts: Vec<u64> = self.counts.iter().map(|(_, count)| *count).collect();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            self.lower(counts.get(self.capacity).copied().unwrap_or_default());
        }
    }

    fn lower(&mut self, by: u64) {
        self.error += by;
        self.counts.retain_mut(|(_, count)| {
            *count = count.saturating_sub(by);
            *count > 0
        });
    }

    /// How many were added.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// By how much every count may be too small.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// The values kept and their counts, most frequent first; equals stand in the order of the values.
    pub fn most(&self) -> Vec<(&T, u64)> {
        let mut most: Vec<_> = self.counts.iter().map(|(value, count)| (value, *count)).collect();
        most.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        most
    }
}

/// How many numbers have how many binary digits: the counts are exact, the numbers are rounded down to a power of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log2Histogram {
    counts: [u64; 65],
}

impl Default for Log2Histogram {
    fn default() -> Self {
        Log2Histogram { counts: [0; 65] }
    }
}

impl Log2Histogram {
    /// Counts a number.
    pub fn add(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// The buckets that hold something, smallest first: the smallest number of the bucket, and how many are in it. A
    /// bucket ends before the double of its smallest number; zeros are alone.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let lows = std::iter::once(0).chain((0..64).map(|digits| 1_u64 << digits));
        lows.zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// How many numbers were added.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

fn bucket(value: u64) -> usize {
    (64 - value.leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_hash_tells_a_million_names_apart_and_stays_the_same() {
        let hashes: HashSet<u64> = (0..1_000_000).map(|i| hash(format!("user:{i}").as_bytes())).collect();
        assert_eq!(hashes.len(), 1_000_000);
        assert_ne!(hash(b""), hash(b"\0"), "the length counts");
        assert_ne!(hash(b"abcdefgh"), hash(b"abcdefgh\0"));
        assert_eq!(hash(b"session:1"), hash(b"session:1"));
    }

    #[test]
    fn every_bit_of_the_hash_is_set_half_of_the_time() {
        let mut ones = [0_u32; 64];
        for i in 0..100_000_u32 {
            let hash = hash(format!("k{i}").as_bytes());
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (hash >> bit & 1) as u32;
            }
        }
        // Six standard deviations of a fair coin: 6 * sqrt(100,000) / 2.
        assert!(ones.iter().all(|count| count.abs_diff(50_000) < 950), "{ones:?}");
    }

    #[test]
    fn distinct_keys_are_counted_within_four_standard_errors() {
        assert_eq!(Distinct::default().estimate(), 0);
        let mut distinct = Distinct::default();
        for i in 1..=1_000_000_u64 {
            distinct.add(hash(format!("session:{i:08x}").as_bytes()));
            if [1, 10, 100, 1_000, 10_000, 40_000, 100_000, 300_000, 1_000_000].contains(&i) {
                let off = distinct.estimate().abs_diff(i) as f64 / i as f64;
                assert!(off < 4.0 * Distinct::STANDARD_ERROR, "{i}: off by {off}");
            }
        }
        let before = distinct.estimate();
        for i in 1..=500_000_u64 {
            distinct.add(hash(format!("session:{i:08x}").as_bytes()));
        }
        assert_eq!(distinct.estimate(), before, "keys seen twice count once");
    }

    #[test]
    fn the_standard_error_is_the_stated_one() {
        let squares: f64 = (0..100_u64)
            .map(|round| {
                let mut distinct = Distinct::default();
                (0..50_000_u64).for_each(|i| distinct.add(hash(&(round << 32 | i).to_be_bytes())));
                (distinct.estimate() as f64 / 50_000.0 - 1.0).powi(2)
            })
            .sum();
        let seen = (squares / 100.0).sqrt();
        // A standard deviation from 100 trials is itself known to 7 %; four times that are allowed.
        assert!((0.7..1.3).contains(&(seen / Distinct::STANDARD_ERROR)), "{seen}");
    }

    #[test]
    fn frequent_values_keep_their_counts_within_the_stated_bound() {
        let (mut all, mut left, mut right) = (Frequent::new(16), Frequent::new(16), Frequent::new(16));
        for i in 0..1_000_000_u64 {
            // 30 % are a 7, 20 % an 8, the others differ.
            let value = match i % 10 {
                0..3 => 7,
                3..5 => 8,
                _ => 100 + i,
            };
            all.add(value);
            if i % 3 == 0 { left.add(value) } else { right.add(value) }
        }
        left.merge(right);
        for summary in [all, left] {
            assert_eq!(summary.total(), 1_000_000);
            assert!(summary.error() <= 1_000_000 / 17, "{}", summary.error());
            let most = summary.most();
            for (place, (value, truth)) in [(7, 300_000), (8, 200_000)].into_iter().enumerate() {
                let (found, count) = most[place];
                assert_eq!(*found, value);
                assert!(count <= truth && truth <= count + summary.error(), "{count} for {truth}");
            }
            assert!(most.len() <= 16);
        }
    }

    #[test]
    fn the_histogram_counts_exactly_and_rounds_down_to_powers_of_two() {
        let mut histogram = Log2Histogram::default();
        for value in [0, 1, 2, 3, 4, 1023, 1024, u64::MAX] {
            histogram.add(value);
        }
        let expected = [(0, 1), (1, 1), (2, 2), (4, 1), (512, 1), (1024, 1), (1 << 63, 1)];
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), expected);
        let mut million = Log2Histogram::default();
        (0..1_000_000).for_each(|value| million.add(value));
        million.merge(&histogram);
        assert_eq!(million.total(), 1_000_008);
        assert_eq!(million.buckets().find(|(low, _)| *low == 512), Some((512, 513)));
    }
}
