//! How long certificates may be valid (BR 6.3.2). The limit is that of the day on which it begins to be valid; all of them
//! count the last second (RFC 5280, 4.1.2.5).

use jiff::{SignedDuration, Timestamp};

use super::facts::Facts;
use super::{Lint, lints};

/// From when on (in seconds since 1970), and how many days. The first two were given in months: 60 and 39 of the longest
/// ones.
const LIMITS: [(i64, i64); 7] = [
    (1_341_100_800, 1827), // 2012-07-01
    (1_427_846_400, 1188), // 2015-04-01
    (1_519_862_400, 825),  // 2018-03-01
    (1_598_918_400, 398),  // 2020-09-01
    (1_773_532_800, 200),  // 2026-03-15
    (1_805_068_800, 100),  // 2027-03-15
    (1_868_227_200, 47),   // 2029-03-15
];

pub(super) fn lints(facts: &Facts<'_>) -> Vec<Lint> {
    let certificate = facts.certificate;
    let limit = limit(certificate.not_before);
    let lifetime = certificate.lifetime();
    let too_long = limit.is_some_and(|days| lifetime > SignedDuration::from_hours(days * 24));
    lints! {
        too_long && !facts.is_authority() => "lifetime-too-long", Warning, Baseline,
            format!(
                "is valid for {} days, more than the {} that the day of its issuance allows (BR 6.3.2)",
                lifetime.as_hours().div_euclid(24),
                limit.unwrap_or_default()
            );
    }
}

/// The limit in days for a certificate that begins then; none before there was one.
fn limit(begin: Timestamp) -> Option<i64> {
    LIMITS.iter().take_while(|(from, _)| *from <= begin.as_second()).last().map(|(_, days)| *days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_first_day() {
        let limit = |at: &str| limit(at.parse().unwrap());
        assert_eq!(limit("2012-06-30T23:59:59Z"), None);
        for (before, after, at) in [
            (1827, 1188, "2015-04-01T00:00:00Z"),
            (1188, 825, "2018-03-01T00:00:00Z"),
            (825, 398, "2020-09-01T00:00:00Z"),
            (398, 200, "2026-03-15T00:00:00Z"),
            (200, 100, "2027-03-15T00:00:00Z"),
            (100, 47, "2029-03-15T00:00:00Z"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(
                (limit(&(at - SignedDuration::from_secs(1)).to_string()), limit(&at.to_string())),
                (Some(before), Some(after))
            );
        }
        assert_eq!(limit("9999-01-01T00:00:00Z"), Some(47));
    }
}
