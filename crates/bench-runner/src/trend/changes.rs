//! Where a series changes its level.
//!
//! In four steps. Single values far from their neighbours are drawn in (Hampel's filter: the window is five, the bound three
//! deviations), so that an outlier is no change. What is left is divided by its noise, which the differences of neighbours
//! tell, so that levels do not count as noise. PELT (Killick, Fearnhead, Eckley, 2012) then finds the division into segments
//! of four and more with the least squared distance from their means, where each further segment costs `3 ln n`. At last each
//! change must hold against the values as they were: by the rank test of Mann and Whitney, or its segments become one.

use crate::rank::mann_whitney;

/// A segment is at least so long: three values and a fourth that agrees.
const SHORTEST: usize = 4;
/// Neighbours to each side that an outlier is told by.
const NEIGHBOURS: usize = 2;
/// From the median absolute deviation to the standard deviation of normal noise.
const TO_DEVIATION: f64 = 1.4826;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// The first value of the new level.
    pub(super) at: usize,
    /// The median before, back to the change before it.
    pub(super) before: f64,
    /// The median from there on, up to the next change.
    pub(super) after: f64,
    /// How probable such a difference is by chance.
    pub(super) p: f64,
}

/// The changes of a series, in its order. Each is less probable by chance than `most`.
pub(super) fn changes(values: &[f64], most: f64) -> Vec<Change> {
    let mut bounds = divide(&scaled(&drawn_in(values)));
    loop {
        let tested: Vec<Change> = bounds.windows(3).filter_map(|three| test(values, three)).collect();
        let Some((index, weakest)) = tested.iter().enumerate().max_by(|(_, a), (_, b)| a.p.total_cmp(&b.p)) else {
            return Vec::new();
        };
        if weakest.p < most {
            return tested;
        }
        bounds.remove(index + 1);
    }
}

/// Whether so many values could show a change at all: halves that differ wherever they can.
pub(super) fn can_tell(count: usize, most: f64) -> bool {
    let (low, high) = (vec![0.0; count / 2], vec![1.0; count - count / 2]);
    count >= 2 * SHORTEST && mann_whitney(&low, &high) < most
}

fn test(values: &[f64], three: &[usize]) -> Option<Change> {
    let [from, at, to] = three else { return None };
    let (before, after) = (values.get(*from..*at)?, values.get(*at..*to)?);
    Some(Change { at: *at, before: median(before), after: median(after), p: mann_whitney(before, after) })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let of = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    if sorted.len() % 2 == 1 { of(middle) } else { f64::midpoint(of(middle.saturating_sub(1)), of(middle)) }
}

/// The median distance from the median, as a standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    TO_DEVIATION * median(&distances)
}

fn drawn_in(values: &[f64]) -> Vec<f64> {
    let one = |(index, value): (usize, &f64)| {
        let window = values.get(index.saturating_sub(NEIGHBOURS)..(index + NEIGHBOURS + 1).min(values.len()));
        let window = window.unwrap_or_default();
        let (middle, reach) = (median(window), 3.0 * deviation(window));
        value.clamp(middle - reach, middle + reach)
    };
    values.iter().enumerate().map(one).collect()
}

fn scaled(values: &[f64]) -> Vec<f64> {
    let steps: Vec<f64> = values.windows(2).filter_map(|two| Some(two.last()? - two.first()?)).collect();
    // The difference of two has twice the variance of one. Where nothing moves, any step is a change.
    let noise = deviation(&steps) / std::f64::consts::SQRT_2;
    let size = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let noise = noise.max(size * 1e-9).max(f64::MIN_POSITIVE);
    let middle = median(values);
    values.iter().map(|value| (value - middle) / noise).collect()
}

/// The bounds of the segments, both ends included.
fn divide(values: &[f64]) -> Vec<usize> {
    let count = values.len();
    if count < 2 * SHORTEST {
        return vec![0, count];
    }
    let penalty = 3.0 * (count as f64).ln();
    // Sums and squares of all values before a place.
    let mut sums = vec![(0.0, 0.0)];
    for value in values {
        let (sum, squares) = sums.last().copied().unwrap_or_default();
        sums.push((sum + value, squares + value * value));
    }
    let sum = |place: usize| sums.get(place).copied().unwrap_or_default();
    let cost = |from: usize, to: usize| {
        let ((sum_from, squares_from), (sum_to, squares_to)) = (sum(from), sum(to));
        let total: f64 = sum_to - sum_from;
        squares_to - squares_from - total * total / (to - from) as f64
    };
    // The least cost up to a place, and where its last segment begins.
    let mut least = vec![(f64::INFINITY, 0); count + 1];
    if let Some(first) = least.first_mut() {
        *first = (-penalty, 0);
    }
    let known = |least: &[(f64, usize)], place: usize| least.get(place).map_or(f64::INFINITY, |(cost, _)| *cost);
    let mut starts = vec![0];
    for to in SHORTEST..=count {
        let best = starts
            .iter()
            .filter(|from| to - **from >= SHORTEST)
            .map(|&from| (known(&least, from) + cost(from, to) + penalty, from))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((total, from)) = best else { continue };
        if let Some(place) = least.get_mut(to) {
            *place = (total, from);
        }
        // A start that is worse than a new segment here is not looked at again.
        starts.retain(|&from| to - from < SHORTEST || known(&least, from) + cost(from, to) <= total);
        // The next segment may begin where this one can end.
        starts.push(to + 1 - SHORTEST);
        starts.retain(|&from| from == 0 || from >= SHORTEST);
        starts.dedup();
    }
    let mut bounds = vec![count];
    while let Some(place) = bounds.last().copied().filter(|place| *place > 0) {
        bounds.push(least.get(place).map_or(0, |(_, from)| *from));
    }
    bounds.reverse();
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::Noise;

    fn places(values: &[f64]) -> Vec<usize> {
        changes(values, 0.001).iter().map(|change| change.at).collect()
    }

    fn series(noise: &mut Noise, levels: &[(usize, f64)]) -> Vec<f64> {
        levels.iter().flat_map(|&(count, level)| vec![level; count]).map(|level| level + noise.normal()).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is_and_nothing_else() {
        let steps = [(10, 5.0), (10, 8.0)].map(|(count, level)| vec![level; count]).concat();
        assert_eq!(places(&steps), [10]);
        assert!(places(&vec![5.0; 50]).is_empty());
        assert!(places(&[]).is_empty() && places(&[1.0]).is_empty() && places(&[1.0, 9.0, 1.0]).is_empty());
        let mut noise = Noise(1);
        let found = changes(&series(&mut noise, &[(40, 100.0), (40, 110.0), (40, 95.0)]), 0.001);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].at.abs_diff(40) <= 1 && found[1].at.abs_diff(80) <= 1, "{found:?}");
        assert!((found[0].before - 100.0).abs() < 1.0 && (found[0].after - 110.0).abs() < 1.0, "{found:?}");
    }

    #[test]
    fn a_few_values_cannot_tell() {
        assert!(!can_tell(0, 0.001) && !can_tell(7, 0.9) && !can_tell(8, 0.001));
        assert!(can_tell(16, 0.001) && !can_tell(10, 0.000_2) && can_tell(60, 0.000_2));
    }

    #[test]
    fn outliers_are_no_changes() {
        let mut noise = Noise(2);
        let mut mistaken = 0;
        for _ in 0..100 {
            let mut flat = series(&mut noise, &[(200, 100.0)]);
            // Two in a hundred stand far out.
            for place in [13, 60, 111, 170] {
                flat[place] += 30.0;
            }
            mistaken += usize::from(!places(&flat).is_empty());
        }
        assert!(mistaken <= 5, "{mistaken} of 100");
    }

    #[test]
    fn a_step_of_two_deviations_is_found_among_outliers() {
        let mut noise = Noise(4);
        let found = (0..100)
            .filter(|_| {
                let mut step = series(&mut noise, &[(100, 100.0), (100, 102.0)]);
                for place in [13, 60, 150] {
                    step[place] += 30.0;
                }
                places(&step).iter().any(|at| at.abs_diff(100) <= 5)
            })
            .count();
        assert!(found >= 90, "{found} of 100");
    }

    #[test]
    fn one_bad_value_at_the_end_is_no_change_yet_and_four_are() {
        let mut noise = Noise(6);
        let mut values = series(&mut noise, &[(40, 100.0)]);
        values.push(150.0);
        assert!(places(&values).is_empty());
        values.extend([151.0, 149.0, 150.5, 150.2]);
        assert_eq!(places(&values), [40]);
    }
}
