//! Whether two sets of values lie at the same level, by their ranks alone.

/// How probable it is that two samples of one distribution differ as much in rank, by the normal approximation with
/// correction for ties and continuity (Mann, Whitney, 1947).
pub fn mann_whitney(one: &[f64], two: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        one.iter().map(|value| (*value, true)).chain(two.iter().map(|value| (*value, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (one.len() as f64, two.len() as f64);
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let size = group.len() as f64;
        let of_one = group.iter().filter(|(_, is_one)| *is_one).count() as f64;
        ranks += of_one * (before + f64::midpoint(size, 1.0));
        ties += size.powi(3) - size;
        before += size;
    }
    let u = ranks - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((u - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    2.0 * upper_tail(z)
}

/// The part of a normal distribution above `z`, 0 and more (Abramowitz and Stegun, 26.2.17, off by less than 1e-7).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_test_is_that_of_the_tables() {
        // Without overlap, eight against eight: U = 0, the normal approximation gives 0.00094.
        let one: Vec<f64> = (0..8).map(f64::from).collect();
        let two: Vec<f64> = (10..18).map(f64::from).collect();
        assert!((mann_whitney(&one, &two) - 0.000_94).abs() < 0.000_02, "{}", mann_whitney(&one, &two));
        assert!(mann_whitney(&one, &one) > 0.9);
        assert!((mann_whitney(&[1.0; 5], &[1.0; 5]) - 1.0).abs() < 1e-9);
    }
}
