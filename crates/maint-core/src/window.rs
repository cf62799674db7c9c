//! Maintenance windows: `Sat..Sun 01:00-05:00 Europe/Madrid`.
//!
//! A window is a rule on local time, so its zone is part of it and daylight saving time is not an edge case but two
//! nights of every year, both at an hour when maintenance runs. Each named day gives one interval of real time:
//!
//! - an end that falls into the skipped hour is the moment of the jump, because that is when the clock passes it; a
//!   window that lies wholly in the skipped hour does not happen that day;
//! - an end that happens twice is taken the first time, so that a window neither opens twice nor runs an hour over.
//!
//! A window that ends at or before its start in the text runs past midnight and belongs to the day it starts on.

use crate::units::string_serde;
use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan as _};
use std::fmt;
use std::str::FromStr;

/// Text that is not a maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a maintenance window: {reason}; write for example Sat..Sun 01:00-05:00 Europe/Madrid")]
pub struct WindowError {
    text: String,
    reason: String,
}

/// A weekly recurring window in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes after midnight, 0 to 1439.
    start: i16,
    /// Minutes after midnight, 1 to 1440; not above `start` means the next day.
    end: i16,
    /// `None` is the system's zone, looked up when it is asked for.
    zone: Option<TimeZone>,
}

string_serde!(Window);

const DAY_NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const DAY_MINUTES: i16 = 24 * 60;

impl Window {
    /// Whether the window is open at this moment. The start belongs to it, the end does not.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.open_until(at).is_some()
    }

    /// The first start after this moment. `None` only at the end of representable time.
    pub fn next_start(&self, at: Timestamp) -> Option<Timestamp> {
        let zone = self.zone();
        let mut day = at.to_zoned(zone.clone()).date().yesterday().ok()?;
        // A week holds every named day; the second one is for a day whose window the clock skipped.
        for _ in 0..16 {
            if let Some((start, _)) = self.occurrence(day, &zone)
                && start > at
            {
                return Some(start);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// When the window that is open now closes; `None` when none is open.
    ///
    /// Days that join without a gap (`Sat..Sun 00:00-24:00`) count as one window, looking at most eight days ahead.
    pub fn end_of_current(&self, at: Timestamp) -> Option<Timestamp> {
        let mut end = self.open_until(at)?;
        for _ in 0..8 {
            match self.open_until(end) {
                Some(later) => end = later,
                None => break,
            }
        }
        Some(end)
    }

    fn zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or_else(TimeZone::system)
    }

    fn open_until(&self, at: Timestamp) -> Option<Timestamp> {
        let zone = self.zone();
        let today = at.to_zoned(zone.clone()).date();
        [today.yesterday().ok(), Some(today)]
            .into_iter()
            .flatten()
            .filter_map(|day| self.occurrence(day, &zone))
            .find(|(start, end)| *start <= at && at < *end)
            .map(|(_, end)| end)
    }

    /// The real interval of the window that starts on `day`; `None` if the day is not named or the clock skips it.
    fn occurrence(&self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let index = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
        if !*self.days.get(index)? {
            return None;
        }
        let start = instant(day, self.start, zone)?;
        let end = if self.end > self.start { self.end } else { self.end + DAY_MINUTES };
        let end = instant(day, end, zone)?;
        (start < end).then_some((start, end))
    }
}

/// The first moment at which the local clock has reached `minutes` after the midnight that starts `day`.
fn instant(day: Date, minutes: i16, zone: &TimeZone) -> Option<Timestamp> {
    let local = day.at(0, 0, 0, 0).checked_add(i64::from(minutes).minutes()).ok()?;
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        // Read with the later offset, a skipped local time lies just before the jump.
        AmbiguousOffset::Gap { after, .. } => {
            let before_jump = after.to_timestamp(local).ok()?;
            zone.following(before_jump).next().map(|jump| jump.timestamp())
        }
    }
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let fail = |reason: String| WindowError { text: text.to_owned(), reason };
        let mut words = text.split_whitespace().peekable();
        let days = match words.next_if(|word| word.starts_with(|c: char| c.is_alphabetic())) {
            Some(word) => parse_days(word).map_err(fail)?,
            None => [true; 7],
        };
        let times = words.next().ok_or_else(|| fail("the times are missing".to_owned()))?;
        let (start, end) = times.split_once('-').ok_or_else(|| fail(format!("\"{times}\" is not START-END")))?;
        let start = parse_time(start).map_err(fail)?;
        let end = parse_time(end).map_err(fail)?;
        if start == DAY_MINUTES {
            return Err(fail("a window cannot start at 24:00; write 00:00 and the next day".to_owned()));
        }
        if start == end {
            return Err(fail("it starts and ends at the same time; write 00:00-24:00 for a whole day".to_owned()));
        }
        let zone = words.next().map(|name| {
            TimeZone::get(name)
                .map_err(|_| fail(format!("unknown time zone \"{name}\" (names are like Europe/Madrid)")))
        });
        let zone = zone.transpose()?;
        if let Some(word) = words.next() {
            return Err(fail(format!("\"{word}\" is one word too many")));
        }
        Ok(Self { days, start, end, zone })
    }
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let last = parse_day(last)?;
        let mut day = parse_day(first)?;
        loop {
            if let Some(named) = usize::try_from(day.to_monday_zero_offset()).ok().and_then(|i| days.get_mut(i)) {
                *named = true;
            }
            if day == last {
                break;
            }
            day = day.next();
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<Weekday, String> {
    let is_named = |name: &&str| name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    let found = if text.len() < 3 { None } else { DAY_NAMES.iter().position(is_named) };
    found
        .and_then(|index| Weekday::from_monday_zero_offset(index as i8).ok())
        .ok_or_else(|| format!("\"{text}\" is not a day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"))
}

fn parse_time(text: &str) -> Result<i16, String> {
    let fail = || format!("\"{text}\" is not a time from 00:00 to 24:00");
    let number = |part: &str| -> Option<i16> {
        (matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (hour, minute) = text.split_once(':').ok_or_else(fail)?;
    let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(fail)?;
    let total = hour * 60 + minute;
    if minute < 60 && total <= DAY_MINUTES { Ok(total) } else { Err(fail()) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let mut parts = Vec::new();
            let mut run: Option<(&str, &str)> = None;
            let close = |run: Option<(&str, &str)>| match run {
                Some((first, last)) if first == last => Some(first.to_owned()),
                Some((first, last)) => Some(format!("{first}..{last}")),
                None => None,
            };
            for (name, named) in DAY_NAMES.iter().zip(self.days) {
                let short = name.get(..3).unwrap_or(name);
                if named {
                    run = Some((run.map_or(short, |(first, _)| first), short));
                } else {
                    parts.extend(close(run.take()));
                }
            }
            parts.extend(close(run));
            write!(f, "{} ", parts.join(","))?;
        }
        let (start, end) = (self.start, self.end);
        write!(f, "{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)?;
        match self.zone.as_ref().and_then(TimeZone::iana_name) {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_start_until_before_its_end() {
        // 2025-06-07 is a Saturday; Madrid is two hours ahead of UTC.
        let w = window("Sat..Sun 01:00-05:00 Europe/Madrid");
        assert!(!w.contains(at("2025-06-06T22:59:59Z")));
        assert!(w.contains(at("2025-06-06T23:00:00Z")));
        assert!(w.contains(at("2025-06-08T02:59:59Z")));
        assert!(!w.contains(at("2025-06-08T03:00:00Z")));
        assert!(!w.contains(at("2025-06-09T00:00:00Z")));
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_starts_on() {
        // 2025-06-04 is a Wednesday.
        let w = window("Mon,Wed 22:00-02:00 UTC");
        assert!(w.contains(at("2025-06-05T01:59:00Z")));
        assert!(!w.contains(at("2025-06-04T01:59:00Z")));
        assert_eq!(w.end_of_current(at("2025-06-04T23:00:00Z")), Some(at("2025-06-05T02:00:00Z")));
        assert_eq!(w.next_start(at("2025-06-04T23:00:00Z")), Some(at("2025-06-09T22:00:00Z")));
    }

    #[test]
    fn without_days_every_day_is_meant() {
        let w = window("01:00-05:00 UTC");
        for day in 1..=7 {
            assert!(w.contains(at(&format!("2025-06-0{day}T04:00:00Z"))));
        }
        assert_eq!(w.end_of_current(at("2025-06-01T00:30:00Z")), None);
        assert_eq!(w.next_start(at("2025-06-01T01:00:00Z")), Some(at("2025-06-02T01:00:00Z")));
    }

    #[test]
    fn whole_days_that_join_are_one_window() {
        let w = window("Sat..Sun 00:00-24:00 UTC");
        assert_eq!(w.end_of_current(at("2025-06-07T12:00:00Z")), Some(at("2025-06-09T00:00:00Z")));
        let always = window("00:00-24:00 UTC");
        assert!(always.end_of_current(at("2025-06-07T12:00:00Z")).unwrap() > at("2025-06-14T00:00:00Z"));
    }

    // Madrid goes from 02:00 to 03:00 on 2025-03-30 at 01:00 UTC.

    #[test]
    fn a_window_over_the_skipped_hour_is_an_hour_shorter() {
        let w = window("01:00-05:00 Europe/Madrid");
        assert_eq!(w.next_start(at("2025-03-29T12:00:00Z")), Some(at("2025-03-30T00:00:00Z")));
        assert_eq!(w.end_of_current(at("2025-03-30T00:30:00Z")), Some(at("2025-03-30T03:00:00Z")));
    }

    #[test]
    fn a_start_or_end_in_the_skipped_hour_is_the_moment_of_the_jump() {
        let starts = window("02:30-05:00 Europe/Madrid");
        assert_eq!(starts.next_start(at("2025-03-29T12:00:00Z")), Some(at("2025-03-30T01:00:00Z")));
        let on_the_edge = window("02:00-05:00 Europe/Madrid");
        assert_eq!(on_the_edge.next_start(at("2025-03-29T12:00:00Z")), Some(at("2025-03-30T01:00:00Z")));
        let ends = window("01:00-02:30 Europe/Madrid");
        assert_eq!(ends.end_of_current(at("2025-03-30T00:30:00Z")), Some(at("2025-03-30T01:00:00Z")));
        assert!(!ends.contains(at("2025-03-30T01:00:00Z")));
    }

    #[test]
    fn a_window_within_the_skipped_hour_waits_for_the_next_day() {
        let w = window("02:15-02:45 Europe/Madrid");
        assert_eq!(w.next_start(at("2025-03-29T12:00:00Z")), Some(at("2025-03-31T00:15:00Z")));
        let weekly = window("Sun 02:15-02:45 Europe/Madrid");
        assert_eq!(weekly.next_start(at("2025-03-29T12:00:00Z")), Some(at("2025-04-06T00:15:00Z")));
    }

    // Madrid goes from 03:00 back to 02:00 on 2025-10-26 at 01:00 UTC.

    #[test]
    fn a_window_over_the_repeated_hour_is_an_hour_longer() {
        let w = window("01:00-05:00 Europe/Madrid");
        assert_eq!(w.end_of_current(at("2025-10-25T23:00:00Z")), Some(at("2025-10-26T04:00:00Z")));
    }

    #[test]
    fn a_window_in_the_repeated_hour_opens_once() {
        let w = window("02:15-02:45 Europe/Madrid");
        assert_eq!(w.next_start(at("2025-10-25T12:00:00Z")), Some(at("2025-10-26T00:15:00Z")));
        assert_eq!(w.end_of_current(at("2025-10-26T00:15:00Z")), Some(at("2025-10-26T00:45:00Z")));
        assert!(!w.contains(at("2025-10-26T01:30:00Z")));
        assert_eq!(w.next_start(at("2025-10-26T00:15:00Z")), Some(at("2025-10-27T01:15:00Z")));
    }

    #[test]
    fn a_printed_window_is_read_back_as_itself() {
        for text in ["Sat..Sun 01:00-05:00 Europe/Madrid", "Mon,Wed 22:00-02:00", "01:00-05:00", "Fri 00:00-24:00 UTC"]
        {
            assert_eq!(window(text).to_string(), text);
        }
        assert_eq!(window("saturday,SUN 1:00-5:00").to_string(), "Sat..Sun 01:00-05:00");
        let wrapped = window("Fri..Mon 01:00-05:00");
        assert_eq!(wrapped.to_string(), "Mon,Fri..Sun 01:00-05:00");
        assert_eq!(window(&wrapped.to_string()), wrapped);
        assert_eq!(serde_json::to_string(&wrapped).unwrap(), r#""Mon,Fri..Sun 01:00-05:00""#);
    }

    #[test]
    fn text_that_is_no_window_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "times are missing"),
            ("Sat", "times are missing"),
            ("Sat 01:00", "START-END"),
            ("Foo 01:00-02:00", "\"Foo\" is not a day"),
            ("Sat..Foo 01:00-02:00", "\"Foo\" is not a day"),
            ("25:00-26:00", "25:00"),
            ("23:60-24:00", "23:60"),
            ("01:00-01:00", "same time"),
            ("24:00-01:00", "cannot start"),
            ("01:00-05:00 Europe/Atlantis", "unknown time zone"),
            ("01:00-05:00 UTC now", "too many"),
            ("é 01:00-05:00", "is not a day"),
            ("01:00-0é:00", "is not a time"),
        ] {
            let error = text.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let w = window("Mon,Wed 22:00-02:00 Europe/Madrid");
        for moment in [Timestamp::MIN, Timestamp::MAX] {
            let _ = (w.contains(moment), w.next_start(moment), w.end_of_current(moment));
        }
    }
}
