//! Limits, in one grammar for every tool.
//!
//! Two notations are in use where these tools run, and both are kept with their own meaning. A comparison states what
//! must hold, as in k6: `p(95)<200ms` is broken at 200 ms. A range states what is normal, as in the monitoring-plugins
//! guidelines (<https://www.monitoring-plugins.org/doc/guidelines.html#THRESHOLDFORMAT>): `10:20` is broken outside,
//! `@10:20` inside, `80` outside 0 to 80, ends included in the range.
//!
//! A limit with a unit is compared in the base unit that records use: seconds, bytes, or a ratio of one (`80%` is 0.8).

use crate::units::string_serde;
use std::fmt;
use std::str::FromStr;

/// Text that is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a threshold: {reason}; write for example p(95)<200ms, 80%, 10:20 or @10:20")]
pub struct ThresholdError {
    text: String,
    reason: String,
}

/// What a limit is about, where the text names it.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// `p(95)`: the percentile, in percent from 0 to 100.
    Percentile(f64),
    /// A name such as `error_rate`, `avg` or `max`.
    Name(String),
}

/// A limit on one number.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The metric it speaks of; `None` where the place it stands in says it.
    pub metric: Option<Metric>,
    limit: Limit,
}

string_serde!(Threshold);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Must(Comparison, Quantity),
    /// A missing start or end is infinite.
    Range {
        inside: bool,
        start: Option<Quantity>,
        end: Option<Quantity>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Two-character operators first: `<=` must not be read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

#[derive(Debug, Clone, Copy, PartialEq)]
struct Quantity {
    number: f64,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Plain,
    Ratio,
    Seconds,
    Bytes,
}

/// A unit as `number * times / per` of its base unit; two whole factors, so that 5% is exactly 0.05.
#[derive(Debug, Clone, Copy)]
struct Unit {
    name: &'static str,
    dimension: Dimension,
    times: f64,
    per: f64,
}

/// Two spellings of one unit are the same unit.
impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.dimension == other.dimension && self.times == other.times && self.per == other.per
    }
}

const PLAIN: Unit = unit("", Dimension::Plain, 1.0, 1.0);

/// Case matters: `m` is a minute, `M` a mebibyte.
const UNITS: [Unit; 22] = [
    PLAIN,
    unit("%", Dimension::Ratio, 1.0, 100.0),
    unit("us", Dimension::Seconds, 1.0, 1e6),
    unit("ms", Dimension::Seconds, 1.0, 1e3),
    unit("s", Dimension::Seconds, 1.0, 1.0),
    unit("m", Dimension::Seconds, 60.0, 1.0),
    unit("h", Dimension::Seconds, 3600.0, 1.0),
    unit("d", Dimension::Seconds, 86_400.0, 1.0),
    unit("B", Dimension::Bytes, 1.0, 1.0),
    unit("KiB", Dimension::Bytes, KIB, 1.0),
    unit("MiB", Dimension::Bytes, KIB * KIB, 1.0),
    unit("GiB", Dimension::Bytes, KIB * KIB * KIB, 1.0),
    unit("TiB", Dimension::Bytes, KIB * KIB * KIB * KIB, 1.0),
    unit("K", Dimension::Bytes, KIB, 1.0),
    unit("M", Dimension::Bytes, KIB * KIB, 1.0),
    unit("G", Dimension::Bytes, KIB * KIB * KIB, 1.0),
    unit("T", Dimension::Bytes, KIB * KIB * KIB * KIB, 1.0),
    unit("KB", Dimension::Bytes, KIB, 1.0),
    unit("kB", Dimension::Bytes, KIB, 1.0),
    unit("MB", Dimension::Bytes, KIB * KIB, 1.0),
    unit("GB", Dimension::Bytes, KIB * KIB * KIB, 1.0),
    unit("TB", Dimension::Bytes, KIB * KIB * KIB * KIB, 1.0),
];

const KIB: f64 = 1024.0;

const fn unit(name: &'static str, dimension: Dimension, times: f64, per: f64) -> Unit {
    Unit { name, dimension, times, per }
}

impl Quantity {
    const ZERO: Self = Self { number: 0.0, unit: PLAIN };

    fn base(self) -> f64 {
        self.number * self.unit.times / self.unit.per
    }
}

impl Threshold {
    /// Whether `value`, in base units (seconds, bytes, ratio), breaks the limit; `None` for NaN, which nobody can
    /// judge.
    pub fn violated(&self, value: f64) -> Option<bool> {
        if value.is_nan() {
            return None;
        }
        Some(match self.limit {
            Limit::Must(comparison, quantity) => {
                let order = value.partial_cmp(&quantity.base())?;
                let holds = match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                    Comparison::Equal => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                };
                !holds
            }
            Limit::Range { inside, start, end } => {
                let low = start.map_or(f64::NEG_INFINITY, Quantity::base);
                let high = end.map_or(f64::INFINITY, Quantity::base);
                (low <= value && value <= high) == inside
            }
        })
    }

    /// The limit as a monitoring-plugins range, in base units, for the warning and critical fields of perfdata.
    ///
    /// Every comparison has an exact range: what must be below 200 ms alerts inside `@0.2:`.
    pub fn nagios_range(&self) -> String {
        match self.limit {
            Limit::Must(comparison, quantity) => {
                let limit = quantity.base();
                match comparison {
                    Comparison::Less => format!("@{limit}:"),
                    Comparison::LessOrEqual => format!("~:{limit}"),
                    Comparison::Greater => format!("@~:{limit}"),
                    Comparison::GreaterOrEqual => format!("{limit}:"),
                    Comparison::Equal => format!("{limit}:{limit}"),
                    Comparison::NotEqual => format!("@{limit}:{limit}"),
                }
            }
            Limit::Range { inside, start, end } => range_text(inside, start, end, |q| q.base().to_string()),
        }
    }
}

fn range_text(
    inside: bool,
    start: Option<Quantity>,
    end: Option<Quantity>,
    show: impl Fn(Quantity) -> String,
) -> String {
    let at = if inside { "@" } else { "" };
    match (start, end) {
        (Some(start), Some(end)) if start.number == 0.0 => format!("{at}{}", show(end)),
        (Some(start), Some(end)) => format!("{at}{}:{}", show(start), show(end)),
        (Some(start), None) => format!("{at}{}:", show(start)),
        (None, end) => format!("{at}~:{}", end.map(show).unwrap_or_default()),
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let fail = |reason: String| ThresholdError { text: text.to_owned(), reason };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(fail("it is empty".to_owned()));
        }
        let found = trimmed
            .find(['<', '>', '=', '!'])
            .and_then(|at| trimmed.split_at_checked(at))
            .map(|(name, rest)| (name.trim_end(), rest));
        let Some((name, rest)) = found else {
            let limit = parse_range(trimmed).map_err(fail)?;
            return Ok(Self { metric: None, limit });
        };
        let metric = if name.is_empty() { None } else { Some(parse_metric(name).map_err(fail)?) };
        let (comparison, number) = COMPARISONS
            .iter()
            .find_map(|(sign, comparison)| rest.strip_prefix(sign).map(|number| (*comparison, number)))
            .ok_or_else(|| fail("comparisons are <, <=, >, >=, == and !=".to_owned()))?;
        let quantity = parse_quantity(number.trim()).map_err(fail)?;
        Ok(Self { metric, limit: Limit::Must(comparison, quantity) })
    }
}

fn parse_metric(name: &str) -> Result<Metric, String> {
    if let Some(percentile) = name.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')) {
        return match percentile.trim().parse::<f64>() {
            Ok(value) if (0.0..=100.0).contains(&value) => Ok(Metric::Percentile(value)),
            _ => Err(format!("p({percentile}) is not a percentile from 0 to 100")),
        };
    }
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts_well && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
        Ok(Metric::Name(name.to_owned()))
    } else {
        Err(format!("\"{name}\" is not the name of a metric"))
    }
}

fn parse_range(text: &str) -> Result<Limit, String> {
    let (inside, text) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
    let Some((start, end)) = text.split_once(':') else {
        let end = parse_quantity(text)?;
        let start = Quantity { unit: end.unit, ..Quantity::ZERO };
        return check_order(Limit::Range { inside, start: Some(start), end: Some(end) });
    };
    let mut start = match start.trim() {
        "~" => None,
        "" => return Err("a range from minus infinity starts with ~, one from zero with 0".to_owned()),
        start => Some(parse_quantity(start)?),
    };
    let end = match end.trim() {
        "" => None,
        end => Some(parse_quantity(end)?),
    };
    if start.is_none() && end.is_none() {
        return Err("a range without start and end limits nothing".to_owned());
    }
    // In 10:20% the unit is meant for both.
    if let (Some(start), Some(end)) = (start.as_mut(), end)
        && start.unit == PLAIN
    {
        start.unit = end.unit;
    }
    check_order(Limit::Range { inside, start, end })
}

fn check_order(limit: Limit) -> Result<Limit, String> {
    if let Limit::Range { start: Some(start), end: Some(end), .. } = limit {
        if start.unit.dimension != end.unit.dimension {
            return Err("start and end have units that cannot be compared".to_owned());
        }
        if start.base() > end.base() {
            return Err("the start is above the end".to_owned());
        }
    }
    Ok(limit)
}

fn parse_quantity(text: &str) -> Result<Quantity, String> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, name) = text.split_at_checked(at).unwrap_or((text, ""));
    let value: f64 = number.parse().map_err(|_| format!("\"{text}\" does not start with a number"))?;
    if !value.is_finite() {
        return Err(format!("{number} is too large"));
    }
    let name = name.trim_start();
    let unit = UNITS.iter().find(|unit| unit.name == name);
    let unit =
        unit.ok_or_else(|| format!("unknown unit \"{name}\" (known: %, us, ms, s, m, h, d, B, KiB, MiB, GiB, TiB)"))?;
    Ok(Quantity { number: value, unit: *unit })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.unit.name)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percent) => write!(f, "p({percent})"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(metric) = &self.metric {
            write!(f, "{metric}")?;
        }
        match self.limit {
            Limit::Must(comparison, quantity) => {
                let sign = COMPARISONS.iter().find(|(_, c)| *c == comparison).map_or("", |(sign, _)| sign);
                write!(f, "{sign}{quantity}")
            }
            Limit::Range { inside, start, end } => f.write_str(&range_text(inside, start, end, |q| q.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
