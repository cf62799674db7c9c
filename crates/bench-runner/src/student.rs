//! Student's t, for intervals around means and fits.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The quantile `p` (from one half to below one) of Student's t with `degrees` of freedom, 1 and more: the exact series of
/// its distribution (Abramowitz and Stegun, 26.7.3 and 26.7.4), inverted by halving.
pub fn quantile(p: f64, degrees: usize) -> f64 {
    let wanted = 2.0 * p - 1.0;
    // Halving the angle, as t itself has no bound.
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if within(middle, degrees) < wanted { low = middle } else { high = middle }
    }
    f64::midpoint(low, high).tan() * (degrees as f64).sqrt()
}

/// How probable it is that t lies within ±tan(angle) times the root of the degrees of freedom.
fn within(angle: f64, degrees: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    if degrees == 1 {
        return FRAC_2_PI * angle;
    }
    let (mut term, mut sum) = if is_odd { (cosine, cosine) } else { (1.0, 1.0) };
    let mut next = if is_odd { 3 } else { 2 };
    while next + 1 < degrees {
        // cos θ · 2/3 · 4/5 · … of odd degrees, 1 · 1/2 · 3/4 · … of even ones, times cos² θ each time.
        term *= (next - 1) as f64 / next as f64 * cosine * cosine;
        sum += term;
        next += 2;
    }
    if is_odd { FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

/// Normal numbers, the same ones every time.
#[cfg(test)]
pub(crate) struct Noise(pub(crate) u64);

#[cfg(test)]
impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_tables() {
        for (p, degrees, table) in [
            (0.975, 1, 12.7062),
            (0.975, 2, 4.3027),
            (0.975, 3, 3.1824),
            (0.95, 4, 2.1318),
            (0.975, 5, 2.5706),
            (0.975, 9, 2.2622),
            (0.99, 9, 2.8214),
            (0.975, 30, 2.0423),
            (0.995, 120, 2.6174),
        ] {
            let found = quantile(p, degrees);
            assert!((found - table).abs() < 1e-4, "t({p}, {degrees}) = {found}, {table} in tables");
        }
    }
}
