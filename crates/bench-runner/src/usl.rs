//! The Universal Scalability Law (Gunther, Guerrilla Capacity Planning, 2007): throughput at load N is
//! `γ N / (1 + α (N - 1) + β N (N - 1))`.
//!
//! γ is the throughput of one, α the part of the work that waits its turn, β what it costs that everybody has to agree with
//! everybody. With β above zero there is a load beyond which more load gives less.

#![allow(clippy::many_single_char_names, reason = "the cells of a matrix have no other names")]

use crate::student;

/// What the parameters are, and how well they are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// It lies so far from it to either side with 95 %; `None` where there are too few points, or the value is at its bound.
    pub margin: Option<f64>,
}

/// A fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// γ: the throughput at a load of one.
    pub gamma: Estimate,
    /// α: contention, 0 to 1.
    pub alpha: Estimate,
    /// β: coherency, 0 and more.
    pub beta: Estimate,
    /// The part of the variation that it explains.
    pub r_squared: f64,
    /// How many points it was made of.
    pub points: usize,
}

/// Three numbers, one for each parameter.
type Three = [f64; 3];

impl Fit {
    /// The throughput at a load.
    pub fn throughput(&self, load: f64) -> f64 {
        model([self.gamma.value, self.alpha.value, self.beta.value], load)
    }

    /// The load with the highest throughput; `None` where more load always gives more.
    pub fn peak(&self) -> Option<f64> {
        (self.beta.value > 0.0).then(|| ((1.0 - self.alpha.value) / self.beta.value).sqrt()).filter(|load| *load >= 1.0)
    }
}

fn model([gamma, alpha, beta]: Three, load: f64) -> f64 {
    gamma * load / denominator(alpha, beta, load)
}

fn denominator(alpha: f64, beta: f64, load: f64) -> f64 {
    1.0 + alpha * (load - 1.0) + beta * load * (load - 1.0)
}

/// How throughput changes with each parameter.
fn slopes([gamma, alpha, beta]: Three, load: f64) -> Three {
    let below = denominator(alpha, beta, load);
    let common = -gamma * load * (load - 1.0) / (below * below);
    [load / below, common, common * load]
}

/// Fits points of load (1 and more) and throughput by least squares (Levenberg-Marquardt). `None` for fewer than three
/// different loads, or points that nothing fits.
pub fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let mut loads: Vec<f64> = points.iter().map(|(load, _)| *load).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    if loads.len() < 3 || points.iter().any(|(load, throughput)| !(*load >= 1.0 && *throughput > 0.0)) {
        return None;
    }
    // A parameter that would leave its bounds is held at the bound, and the others are fitted without it.
    let free_sets = [[true, true, true], [true, true, false], [true, false, true], [true, false, false]];
    let (parameters, free) = free_sets
        .into_iter()
        .filter_map(|free| Some((descend(points, free)?, free)))
        .filter(|([gamma, alpha, beta], _)| *gamma > 0.0 && (0.0..=1.0).contains(alpha) && *beta >= 0.0)
        .min_by(|(a, _), (b, _)| squares(points, *a).total_cmp(&squares(points, *b)))?;
    let rest = squares(points, parameters);
    let mean = points.iter().map(|(_, throughput)| throughput).sum::<f64>() / points.len() as f64;
    let all: f64 = points.iter().map(|(_, throughput)| (throughput - mean).powi(2)).sum();
    let count = free.iter().filter(|free| **free).count();
    let degrees = points.len().saturating_sub(count);
    let margins = (degrees > 0).then(|| margins(points, parameters, free, rest / degrees as f64, degrees)).flatten();
    let [gamma, alpha, beta] = parameters;
    let [gammas, alphas, betas] = margins.unwrap_or([None; 3]);
    Some(Fit {
        gamma: Estimate { value: gamma, margin: gammas },
        alpha: Estimate { value: alpha, margin: alphas },
        beta: Estimate { value: beta, margin: betas },
        r_squared: if all > 0.0 { 1.0 - rest / all } else { 1.0 },
        points: points.len(),
    })
}

fn squares(points: &[(f64, f64)], parameters: Three) -> f64 {
    points.iter().map(|(load, throughput)| (throughput - model(parameters, *load)).powi(2)).sum()
}

/// From a guess downhill, until it gets no lower.
fn descend(points: &[(f64, f64)], free: [bool; 3]) -> Option<Three> {
    let gamma = points.iter().map(|(load, throughput)| throughput / load).fold(0.0, f64::max);
    let start = |free: bool, value: f64| if free { value } else { 0.0 };
    let [_, is_alpha, is_beta] = free;
    let mut at = [gamma, start(is_alpha, 0.05), start(is_beta, 1e-4)];
    let mut lowest = squares(points, at);
    let mut damping = 1e-3;
    for _ in 0..500 {
        let (normal, right) = equations(points, at, free);
        let [[a, b, c], [_, d, e], [_, _, f]] = normal;
        let damped = Symmetric { a: a * (1.0 + damping), b, c, d: d * (1.0 + damping), e, f: f * (1.0 + damping) };
        let Some(step) = damped.solve(right) else {
            damping *= 10.0;
            continue;
        };
        let [x, y, z] = at;
        let [dx, dy, dz] = step;
        let there = [x + dx, y + dy, z + dz];
        let height = squares(points, there);
        if height.is_finite() && height <= lowest {
            let is_still = lowest - height <= 1e-15 * lowest.max(1e-300);
            (at, lowest) = (there, height);
            damping = (damping / 10.0).max(1e-12);
            if is_still {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    at.iter().all(|value| value.is_finite()).then_some(at)
}

/// The normal equations; what is held has an equation of its own, which says that it stays.
fn equations(points: &[(f64, f64)], at: Three, free: [bool; 3]) -> ([Three; 3], Three) {
    let mut normal = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for (load, throughput) in points {
        let slopes = slopes(at, *load);
        let missing = throughput - model(at, *load);
        for ((row, side), (one, is_free)) in normal.iter_mut().zip(&mut right).zip(slopes.iter().zip(free)) {
            for (cell, (other, is_other)) in row.iter_mut().zip(slopes.iter().zip(free)) {
                *cell += if is_free && is_other { one * other } else { 0.0 };
            }
            *side += if is_free { one * missing } else { 0.0 };
        }
    }
    for (index, (row, is_free)) in normal.iter_mut().zip(free).enumerate() {
        if let Some(cell) = row.get_mut(index).filter(|_| !is_free) {
            *cell = 1.0;
        }
    }
    (normal, right)
}

/// Of each parameter how far to either side it may lie (95 %).
fn margins(
    points: &[(f64, f64)],
    at: Three,
    free: [bool; 3],
    variance: f64,
    degrees: usize,
) -> Option<[Option<f64>; 3]> {
    let ([[a, b, c], [_, d, e], [_, _, f]], _) = equations(points, at, free);
    let normal = Symmetric { a, b, c, d, e, f };
    let t = student::quantile(0.975, degrees);
    let [first, second, third] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].map(|unit| normal.solve(unit));
    let ([x, _, _], [_, y, _], [_, _, z]) = (first?, second?, third?);
    let [is_gamma, is_alpha, is_beta] = free;
    let margin = |is_free: bool, part: f64| (is_free && part >= 0.0).then(|| t * (variance * part).sqrt());
    Some([margin(is_gamma, x), margin(is_alpha, y), margin(is_beta, z)])
}

/// A symmetric matrix of three rows: a b c, b d e, c e f.
#[derive(Clone, Copy)]
struct Symmetric {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
    e: f64,
    f: f64,
}

impl Symmetric {
    /// By Cholesky's way, in units in which the diagonal is one: the parameters' sizes are far apart.
    fn solve(self, [x, y, z]: Three) -> Option<Three> {
        let (p, q, r) = (self.a.sqrt(), self.d.sqrt(), self.f.sqrt());
        if !(p > 0.0 && q > 0.0 && r > 0.0) {
            return None;
        }
        let (b, c, e) = (self.b / (p * q), self.c / (p * r), self.e / (q * r));
        let (x, y, z) = (x / p, y / q, z / r);
        let l22 = (1.0 - b * b).sqrt();
        let l32 = (e - b * c) / l22;
        let l33 = (1.0 - c * c - l32 * l32).sqrt();
        if !(l22 > 0.0 && l33 > 0.0) {
            return None;
        }
        let u = x;
        let v = (y - b * u) / l22;
        let w = (z - c * u - l32 * v) / l33;
        let third = w / l33;
        let second = (v - l32 * third) / l22;
        let first = u - b * second - c * third;
        Some([first / p, second / q, third / r])
    }
}

#[cfg(test)]
mod tests;
