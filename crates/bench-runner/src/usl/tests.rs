use super::*;
use crate::student::Noise;

/// SPEC SDM of 1991, a data set that the literature on this law fits (Gunther, 2007; the R package usl has it as specsdm91).
const SPEC: [(f64, f64); 7] =
    [(1.0, 64.9), (18.0, 995.9), (36.0, 1652.4), (72.0, 1853.2), (108.0, 1828.9), (144.0, 1775.0), (216.0, 1702.2)];

fn near(found: f64, wanted: f64, part: f64) {
    assert!((found / wanted - 1.0).abs() < part, "{found}, and {wanted} is true");
}

#[test]
fn a_data_set_of_the_literature_gives_what_is_published_for_it() {
    let fit = fit(&SPEC).unwrap();
    near(fit.gamma.value, 89.995, 0.001);
    near(fit.alpha.value, 0.027_73, 0.001);
    near(fit.beta.value, 0.000_104_37, 0.001);
    near(fit.peak().unwrap(), 96.52, 0.001);
    near(fit.throughput(fit.peak().unwrap()), 1883.8, 0.001);
    assert!(fit.r_squared > 0.98, "{fit:?}");
}

#[test]
fn points_that_lie_on_the_curve_give_its_parameters() {
    let of = |parameters: Three| [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0].map(|load| (load, model(parameters, load)));
    let found = fit(&of([1000.0, 0.03, 0.0002])).unwrap();
    near(found.gamma.value, 1000.0, 1e-6);
    near(found.alpha.value, 0.03, 1e-5);
    near(found.beta.value, 0.0002, 1e-5);
    // All of it waits its turn: throughput is flat.
    let flat = fit(&of([200.0, 1.0, 0.0])).unwrap();
    near(flat.alpha.value, 1.0, 1e-6);
    // More load always gives more.
    let open = fit(&of([50.0, 0.01, 0.0])).unwrap();
    assert!(open.beta.value < 1e-9 && open.peak().is_none_or(|peak| peak > 1e4), "{open:?}");
}

#[test]
fn what_would_leave_its_bounds_is_held_there() {
    // Better than linear, as caches that fill up make it.
    let found = fit(&[(1.0, 10.0), (2.0, 22.0), (4.0, 48.0), (8.0, 100.0)]).unwrap();
    assert_eq!((found.alpha.value, found.beta.value, found.peak()), (0.0, 0.0, None), "{found:?}");
    assert_eq!(found.alpha.margin, None);
}

#[test]
fn too_few_points_are_no_fit_and_three_have_no_interval() {
    assert_eq!(fit(&SPEC[..2]), None);
    assert_eq!(fit(&[(1.0, 5.0), (1.0, 6.0), (1.0, 7.0), (2.0, 9.0)]), None, "two loads");
    assert_eq!(fit(&[(0.5, 5.0), (1.0, 6.0), (2.0, 7.0)]), None, "less than one");
    let three = fit(&SPEC[..3]).unwrap();
    assert!(three.beta.margin.is_none() || three.beta.value == 0.0, "{three:?}");
}

#[test]
fn the_interval_holds_the_truth_as_often_as_it_says() {
    let truth = [1000.0, 0.05, 0.001];
    let loads = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0];
    let mut noise = Noise(3);
    let mut held = 0;
    for _ in 0..1000 {
        let points = loads.map(|load| (load, model(truth, load) + noise.normal() * 50.0));
        let found = fit(&points).unwrap();
        let margin = found.beta.margin.unwrap_or(0.0);
        held += usize::from((found.beta.value - truth[2]).abs() <= margin);
    }
    assert!((930..=970).contains(&held), "{held} of 1000");
}
