//! Durations, sizes and ratios as people write them, and numbers as people read them.
//!
//! Options and configuration keys take these types, so `30m` means the same in every tool. A bare number is refused
//! where its unit would be a guess (`30`: seconds or minutes?), because a guess that is wrong by sixty times is found
//! too late. What is written is read back as the same value: configuration that a tool prints can be pasted into a
//! file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Text that is not a duration, size or ratio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {kind}: {reason}")]
pub struct UnitError {
    text: String,
    kind: &'static str,
    reason: String,
}

impl UnitError {
    fn new(kind: &'static str, text: &str, reason: impl Into<String>) -> Self {
        Self { text: text.to_owned(), kind, reason: reason.into() }
    }
}

/// Serialises a type as the text its `Display` prints, and reads it back with its `FromStr`.
macro_rules! string_serde {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use string_serde;

/// A length of time: `200ms`, `2s`, `30m`, `1h30m`, `7d12h`, or a bare `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

string_serde!(HumanDuration);

/// Largest first, as they must stand in the text; nanoseconds each. `min` is how PostgreSQL writes a minute.
const DURATION_UNITS: [(&str, u128); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for HumanDuration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = |reason: String| UnitError::new("duration", text, reason);
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(fail("it is empty; write for example 30m".to_owned()));
        }
        let mut total: u128 = 0;
        let mut smallest = u128::MAX;
        while !rest.is_empty() {
            let (number, after) = split_at_first(rest, |c| !(c.is_ascii_digit() || c == '.'));
            let (unit, after) = split_at_first(after, |c| !c.is_ascii_alphabetic());
            if number.is_empty() {
                return Err(fail(format!("expected a number at \"{rest}\"; write for example 1h30m")));
            }
            if unit.is_empty() {
                return Err(fail(format!("{number} has no unit; write for example {number}s, {number}m or {number}h")));
            }
            let Some((_, nanos)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(fail(format!("unknown unit \"{unit}\"; units are d, h, m, s, ms, us, ns")));
            };
            if *nanos >= smallest {
                return Err(fail(format!("\"{unit}\" must stand before the smaller units, and once")));
            }
            smallest = *nanos;
            let part = scaled(number, *nanos).map_err(fail)?;
            total = total.checked_add(part).ok_or_else(|| fail("it is too long".to_owned()))?;
            rest = after;
        }
        let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| fail("it is too long".to_owned()))?;
        Ok(Self(Duration::new(seconds, (total % 1_000_000_000) as u32)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0");
        }
        for (unit, nanos) in DURATION_UNITS.iter().filter(|(unit, _)| *unit != "min") {
            if rest >= *nanos {
                write!(f, "{}{unit}", rest / nanos)?;
                rest %= nanos;
            }
        }
        Ok(())
    }
}

/// A number of bytes: `8M`, `8MB` and `8MiB` are the same 8388608, as in PostgreSQL; a bare number is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanSize(pub u64);

string_serde!(HumanSize);

/// Powers of 1024, smallest first.
const SIZE_UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

impl FromStr for HumanSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = |reason: String| UnitError::new("size", text, reason);
        let (number, unit) = split_at_first(text.trim(), |c| !(c.is_ascii_digit() || c == '.'));
        if number.is_empty() {
            return Err(fail("expected a number and a unit; write for example 8MiB".to_owned()));
        }
        let unit = unit.trim_start();
        let power = SIZE_UNITS.iter().position(|name| {
            let letter = name.get(..1).unwrap_or_default();
            let spellings = [(*name).to_owned(), letter.to_owned(), format!("{letter}B")];
            spellings.iter().any(|spelling| spelling.eq_ignore_ascii_case(unit))
        });
        let power = match power {
            Some(power) => power,
            None if unit.is_empty() => 0,
            None => {
                return Err(fail(format!("unknown unit \"{unit}\"; units are B, KiB, MiB, GiB, TiB (or K, M, G, T)")));
            }
        };
        let bytes = scaled(number, 1_u128 << (10 * power)).map_err(fail)?;
        u64::try_from(bytes).map(Self).map_err(|_| fail("it is too large".to_owned()))
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = self.0;
        let mut units = SIZE_UNITS.iter();
        let mut unit = units.next().copied().unwrap_or_default();
        while number != 0 && number.is_multiple_of(1024) {
            number /= 1024;
            unit = units.next().copied().unwrap_or_default();
        }
        write!(f, "{number}{unit}")
    }
}

/// A share of a whole: `30%` and `0.3` are the same.
///
/// A bare number above 1 is refused (`30` would be 3000 %); with the sign any share can be written (`150%`).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct HumanRatio(pub f64);

string_serde!(HumanRatio);

impl FromStr for HumanRatio {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = |reason: String| UnitError::new("ratio", text, reason);
        let trimmed = text.trim();
        let percent = trimmed.strip_suffix('%').map(str::trim_end);
        let number = percent.unwrap_or(trimmed);
        if !is_decimal(number) {
            return Err(fail("write for example 30% or 0.3".to_owned()));
        }
        // The exponent lets the parser round once, so that 7% is exactly what 0.07 is.
        let exponent = if percent.is_some() { "e-2" } else { "" };
        let value = format!("{number}{exponent}").parse().unwrap_or(f64::INFINITY);
        if !f64::is_finite(value) {
            return Err(fail("it is too large".to_owned()));
        }
        if percent.is_none() && value > 1.0 {
            return Err(fail(format!("a number without % is at most 1; write {number}% if that is meant")));
        }
        Ok(Self(value))
    }
}

impl fmt::Display for HumanRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Moving the point in the text keeps every digit; multiplying by 100 would not.
        let text = self.0.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = format!("{fraction:0<2}");
        let (moved, left) = fraction.split_at_checked(2).unwrap_or((&fraction, ""));
        let digits = format!("{whole}{moved}");
        let sign = if digits.starts_with('-') { "-" } else { "" };
        let digits = digits.trim_start_matches('-').trim_start_matches('0');
        let digits = if digits.is_empty() { "0" } else { digits };
        let point = if left.is_empty() { "" } else { "." };
        write!(f, "{sign}{digits}{point}{left}%")
    }
}

/// Bytes with a binary unit and one decimal: `12.3 MiB`; below 1 KiB the plain number.
pub fn format_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut shown = "B";
    if bytes < 1024 {
        return format!("{bytes} {shown}");
    }
    for unit in SIZE_UNITS.iter().skip(1) {
        value /= 1024.0;
        shown = unit;
        // Not 1024: from here on the rounded text would read "1024.0".
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {shown}")
}

/// Seconds as the two units that matter: `12 ms`, `1.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. Not a number is
/// `unknown`.
pub fn format_seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let size = seconds.abs();
    let pair = |value: u64, large: &str, per: u64, small: &str| match (value / per, value % per) {
        (whole, 0) => format!("{sign}{whole} {large}"),
        (whole, rest) => format!("{sign}{whole} {large} {rest} {small}"),
    };
    if size == 0.0 {
        "0 s".to_owned()
    } else if size < 0.000_999_5 {
        format!("{sign}{:.0} us", size * 1e6)
    } else if size < 0.999_5 {
        format!("{sign}{:.0} ms", size * 1e3)
    } else if size < 59.95 {
        format!("{sign}{size:.1} s")
    } else if size < 3599.5 {
        pair(size.round() as u64, "min", 60, "s")
    } else if size < 86_370.0 {
        pair((size / 60.0).round() as u64, "h", 60, "min")
    } else {
        pair((size / 3600.0).round() as u64, "d", 24, "h")
    }
}

/// A ratio as a percentage with one decimal: 0.123 is `12.3 %`. Not a number is `unknown`.
pub fn format_ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{:.1} %", ratio * 100.0) } else { "unknown".to_owned() }
}

/// A count with commas between thousands: `1,234,567`.
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at_checked(text.find(stop).unwrap_or(text.len())).unwrap_or((text, ""))
}

/// Digits with at most one point; what `f64` also reads (`inf`, `1e9`) is not for people to write here.
fn is_decimal(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.matches('.').count() <= 1
}

/// A decimal number times a unit, in whole units of one, without going through floating point.
fn scaled(number: &str, unit: u128) -> Result<u128, String> {
    if !is_decimal(number) {
        return Err(format!("\"{number}\" is not a number"));
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More decimals than this cannot change the result of any unit here.
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or_default();
    let too_large = || format!("{number} is too large");
    let digits: u128 = format!("0{whole}{fraction}").parse().map_err(|_| too_large())?;
    let product = digits.checked_mul(unit).ok_or_else(too_large)?;
    Ok(product / 10_u128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests;
