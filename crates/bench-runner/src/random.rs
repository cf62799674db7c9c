//! Random numbers that are the same ones every time: SplitMix64 (Steele, Lea, Flood, 2014).

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed. Seeds that lie close together give streams that do not.
    pub fn new(seed: u64) -> Self {
        Random(mix(seed))
    }

    /// Another stream, for the `index`-th of several who draw.
    pub fn of(seed: u64, index: u64) -> Self {
        Random::new(seed ^ mix(index.wrapping_add(1)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number from 0 to below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of the product: even to one part in 2^64 / end.
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// A number between 0 and 1, neither of them included.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A gap between random arrivals of rate one.
    pub fn gap(&mut self) -> f64 {
        -self.uniform().ln()
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_as_often_as_the_others() {
        let mut random = Random::new(3);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[usize::try_from(random.below(10)).unwrap()] += 1;
        }
        // Five deviations of a binomial distribution.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 475), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn those_who_draw_side_by_side_draw_other_numbers() {
        let first: std::collections::BTreeSet<u64> = (0..1000).map(|index| Random::of(1, index).bits()).collect();
        assert_eq!(first.len(), 1000);
    }
}
