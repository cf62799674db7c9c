//! Simulated comparisons whose truth is known.

use super::evidence::{holm, weigh};
use super::*;
use crate::student::Noise;

/// Ten pairs of runs that vary by `spread` around a machine that drifts, the second of each `slower` times as slow.
fn pairs(noise: &mut Noise, spread: f64, slower: f64) -> Vec<(Metrics, Metrics)> {
    (0..10)
        .map(|pair| {
            let drift = 1.0 + f64::from(pair) * 0.02;
            let mut run = |slower: f64| {
                let mut around = |value: f64| value * drift * slower * (noise.normal() * spread).exp();
                let values = [
                    ("response_p50_seconds", around(0.010)),
                    ("response_p95_seconds", around(0.020)),
                    ("response_p99_seconds", around(0.050)),
                    ("requests_per_second", 1.0 / around(0.001)),
                    ("error_ratio", 0.0),
                ];
                Metrics(values.map(|(name, value)| (name.to_owned(), value)).into())
            };
            let before = run(1.0);
            (before, run(slower))
        })
        .collect()
}

/// In how many of 200 comparisons something was found.
fn found(spread: f64, slower: f64) -> usize {
    let mut noise = Noise(11);
    (0..200)
        .filter(|_| {
            let pairs = pairs(&mut noise, spread, slower);
            let sure = |weighed: &Weighed| weighed.chance < MISTAKES && weighed.evidence.mean.exp_m1().abs() > 0.02;
            judge(&pairs, false).iter().any(|(_, weighed)| sure(weighed))
        })
        .count()
}

#[test]
fn two_of_the_same_are_hardly_ever_called_different() {
    for spread in [0.01, 0.03, 0.20] {
        let alarms = found(spread, 1.0);
        assert!(alarms <= 10, "{alarms} false alarms of 200 with {spread}");
    }
}

#[test]
fn five_per_cent_slower_is_found_with_ten_runs_each() {
    for spread in [0.01, 0.03] {
        let found = found(spread, 1.05);
        assert!(found >= 180, "{found} of 200 with {spread}");
    }
}

#[test]
fn the_interval_holds_the_truth_as_often_as_it_says() {
    let mut noise = Noise(5);
    let held = (0..400)
        .filter(|_| {
            let differences: Vec<f64> = (0..10).map(|_| 0.05 + 0.03 * noise.normal()).collect();
            let evidence = weigh(&differences);
            evidence.low <= 0.05 && 0.05 <= evidence.high
        })
        .count();
    assert!((368..=396).contains(&held), "{held} of 400");
}

#[test]
fn what_never_differs_is_no_difference() {
    let evidence = weigh(&[0.0; 10]);
    assert!((evidence.chance - 1.0).abs() < 1e-9 && evidence.low == 0.0 && evidence.high == 0.0, "{evidence:?}");
    // Always the same difference has no spread, and is one all the same.
    let evidence = weigh(&[0.1; 10]);
    assert!(evidence.chance < 0.003, "{evidence:?}");
    // Many pairs: signs are drawn.
    let evidence = weigh(&[0.1; 40]);
    assert!(evidence.chance < 0.001, "{evidence:?}");
}

#[test]
fn what_only_the_second_side_hides_is_hidden() {
    let mut pairs = pairs(&mut Noise(3), 0.01, 1.0);
    let hidden = |pairs: &[(Metrics, Metrics)]| -> Vec<&str> {
        METRICS.iter().filter(|metric| is_hidden(metric, pairs)).map(|metric| metric.name).collect()
    };
    assert!(hidden(&pairs).is_empty());
    pairs[4].1.0.remove("response_p99_seconds");
    assert_eq!(hidden(&pairs), ["response_p99_seconds"]);
    pairs[7].0.0.remove("response_p99_seconds");
    assert!(hidden(&pairs).is_empty(), "neither side knows it");
}

#[test]
fn chances_are_those_over_all_tests() {
    let close =
        |found: Vec<f64>, wanted: &[f64]| found.iter().zip(wanted).all(|(one, other)| (one - other).abs() < 1e-12);
    assert!(close(holm(&[0.01, 0.04, 0.03]), &[0.03, 0.06, 0.06]));
    assert!(close(holm(&[0.5, 0.9]), &[1.0, 1.0]));
    assert!(holm(&[]).is_empty());
}
