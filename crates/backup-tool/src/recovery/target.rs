//! What a recovery is asked for.
//!
//! Moments are read as PostgreSQL's users write them, and to the microsecond, because that is what tells one commit from
//! the next. A local time that a change of the clock skips or repeats is refused: the hour that is meant cannot be guessed.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};

use crate::cli::TargetArgs;
use crate::lsn::Lsn;

/// Bytes of a restore point's name, at most (`MAXFNAMELEN` less the byte that ends it).
const NAME_BYTES: usize = 63;

/// The point at which replay ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Point {
    /// The end of the archive.
    Latest,
    /// As soon as the cluster is consistent.
    Immediate,
    /// A moment, by the database's clock.
    Time(Timestamp),
    /// A position in the log.
    Lsn(Lsn),
    /// A transaction.
    Xid(u64),
    /// A named restore point.
    Name(String),
}

/// Which timeline to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineChoice {
    /// The newest that leads to the point.
    Latest,
    /// The one that the backup was taken on.
    Current,
    /// This one.
    Numbered(u32),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The point.
    pub point: Point,
    /// Whether to stop just before it.
    pub exclusive: bool,
    /// The timeline; `None` when nobody said, and then the point must be on one way only.
    pub timeline: Option<TimelineChoice>,
}

/// What a server does when it has reached the point (`recovery_target_action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ends recovery and opens for writing, on a new timeline.
    Promote,
    /// Waits, readable, until somebody lets it go on.
    Pause,
    /// Stops.
    Shutdown,
}

impl Action {
    /// Its name in the server's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Promote => "promote",
            Action::Pause => "pause",
            Action::Shutdown => "shutdown",
        }
    }
}

impl std::str::FromStr for TimelineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        match text {
            "latest" => Ok(TimelineChoice::Latest),
            "current" => Ok(TimelineChoice::Current),
            text => number(text).filter(|number| *number > 0).map(TimelineChoice::Numbered).ok_or_else(|| {
                format!(
                    "`{text}` is no timeline: write latest, current, or a number from 1 (0x before a hexadecimal one)"
                )
            }),
        }
    }
}

impl Wanted {
    /// Everything that was archived.
    pub fn latest(timeline: TimelineChoice) -> Self {
        Wanted { point: Point::Latest, exclusive: false, timeline: Some(timeline) }
    }

    /// The backup alone.
    pub fn immediate() -> Self {
        Wanted { point: Point::Immediate, exclusive: false, timeline: Some(TimelineChoice::Current) }
    }

    /// A moment, including what was committed in that very microsecond.
    ///
    /// # Errors
    /// The text is no moment.
    pub fn moment(text: &str) -> Result<Self, String> {
        Ok(Wanted { point: Point::Time(moment(text)?), exclusive: false, timeline: None })
    }

    /// Reads what was asked for on the command line.
    ///
    /// # Errors
    /// A moment or a timeline that cannot be read.
    pub fn parse(args: &TargetArgs) -> Result<Self, String> {
        let point = &args.point;
        let point = match (&point.timestamp, point.lsn, point.xid, &point.name) {
            (Some(text), None, None, None) => Point::Time(moment(text)?),
            (None, Some(lsn), None, None) => Point::Lsn(lsn),
            (None, None, Some(xid), None) => Point::Xid(xid),
            (None, None, None, Some(name)) => Point::Name(name.clone()),
            _ => return Err("give one target: a moment, --lsn, --xid or --name".into()),
        };
        match &point {
            Point::Name(name) if name.is_empty() || name.len() > NAME_BYTES => {
                return Err(format!("a restore point's name has from 1 to {NAME_BYTES} bytes, not {}", name.len()));
            }
            Point::Name(_) if args.exclusive => {
                return Err("a server always stops just after a named restore point: leave --exclusive out".into());
            }
            Point::Xid(xid) if (*xid & 0xFFFF_FFFF) < 3 => {
                return Err(format!("{xid} is no transaction that ever commits: the first is 3"));
            }
            _ => {}
        }
        let timeline = args.timeline.as_deref().map(str::parse).transpose()?;
        Ok(Wanted { point, exclusive: args.exclusive, timeline })
    }

    /// What the server's configuration must say to stop at the point: names and values, not quoted yet. `timeline` is
    /// what the choice of a backup says is to be followed.
    pub fn settings(&self, timeline: &str, action: Action) -> Vec<(&'static str, String)> {
        let target = match &self.point {
            Point::Latest => None,
            Point::Immediate => Some(("recovery_target", "immediate".to_owned())),
            Point::Time(time) => Some(("recovery_target_time", written(*time))),
            Point::Lsn(lsn) => Some(("recovery_target_lsn", lsn.to_string())),
            Point::Xid(xid) => Some(("recovery_target_xid", xid.to_string())),
            Point::Name(name) => Some(("recovery_target_name", name.clone())),
        };
        let mut settings = vec![("recovery_target_timeline", timeline.to_owned())];
        if let Some(target) = target {
            settings.push(target);
            settings.push(("recovery_target_inclusive", if self.exclusive { "off" } else { "on" }.to_owned()));
            settings.push(("recovery_target_action", action.as_str().to_owned()));
        }
        settings
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Point::Latest => f.write_str("the end of the archive"),
            Point::Immediate => f.write_str("the end of the backup"),
            Point::Time(time) => f.write_str(&written(*time)),
            Point::Lsn(lsn) => write!(f, "position {lsn}"),
            Point::Xid(xid) => write!(f, "transaction {xid}"),
            Point::Name(name) => write!(f, "restore point `{name}`"),
        }
    }
}

/// A moment as the server reads and writes it, in UTC.
pub fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

/// Reads a moment: `2026-11-23 05:00:00.123456+00`, with a `T`, with `Z`, with the name of a time zone behind it (also in
/// brackets), or with none of them, which means this host's time zone.
///
/// # Errors
/// The text is no moment, or one that its time zone never had or had twice.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    moment_in(text, &TimeZone::system())
}

fn moment_in(text: &str, here: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let wrong = |why: &str| format!("`{text}` is no moment: {why}; write for example 2026-11-23 05:00:00.123456+00");
    let (clock, zone) = match named_zone(text) {
        Some((clock, "UTC" | "GMT" | "Z" | "z")) => (clock, Some(TimeZone::UTC)),
        Some((clock, name)) => {
            (clock, Some(TimeZone::get(name).map_err(|_| wrong(&format!("there is no time zone `{name}`")))?))
        }
        None => (text, None),
    };
    let time = if has_offset(clock) {
        // The space that some put before the offset.
        let joined = clock.replace(" +", "+").replace(" -", "-");
        let time: Timestamp = joined.parse().map_err(|error| wrong(&format!("{error}")))?;
        if let Some(zone) = &zone
            && !offsets_agree(&joined, time, zone)
        {
            return Err(wrong("the offset is not the one that its time zone had then"));
        }
        time
    } else {
        let civil: DateTime = clock.parse().map_err(|error| wrong(&format!("{error}")))?;
        let zone = zone.unwrap_or_else(|| here.clone());
        let twice = |_| wrong("the clocks of its time zone were changed just then, so give the offset");
        zone.to_ambiguous_timestamp(civil).unambiguous().map_err(twice)?
    };
    time.round(Unit::Microsecond).map_err(|error| wrong(&error.to_string()))
}

/// Splits off the name of a time zone: in brackets, or the last word.
fn named_zone(text: &str) -> Option<(&str, &str)> {
    if let Some((clock, rest)) = text.split_once('[') {
        return Some((clock.trim_end(), rest.strip_suffix(']').unwrap_or(rest)));
    }
    let (clock, word) = text.rsplit_once(' ')?;
    word.starts_with(|first: char| first.is_ascii_alphabetic()).then(|| (clock.trim_end(), word))
}

/// Whether a date and time has an offset from UTC behind it. A civil time would be read without looking at it.
fn has_offset(clock: &str) -> bool {
    clock.get(10..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z']))
}

fn offsets_agree(clock: &str, time: Timestamp, zone: &TimeZone) -> bool {
    let Ok(civil) = clock.trim_end_matches(['Z', 'z']).parse::<DateTime>() else { return false };
    zone.to_datetime(time) == civil
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::PointArgs;

    fn read(text: &str) -> Result<String, String> {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        moment_in(text, &madrid).map(written)
    }

    fn args(timestamp: Option<&str>) -> TargetArgs {
        let point = PointArgs { timestamp: timestamp.map(str::to_owned), lsn: None, xid: None, name: None };
        TargetArgs { point, exclusive: false, timeline: None }
    }

    #[test]
    fn a_moment_is_read_in_every_form_in_use() {
        for (text, expected) in [
            ("2026-11-23 05:00:00.123456+00", "2026-11-23 05:00:00.123456+00"),
            ("2026-11-23 05:00:00.123456 +00", "2026-11-23 05:00:00.123456+00"),
            ("2026-11-23 05:00+00", "2026-11-23 05:00:00.000000+00"),
            ("2026-11-23T05:00:00Z", "2026-11-23 05:00:00.000000+00"),
            ("2026-11-23T05:00:00.5-05:30", "2026-11-23 10:30:00.500000+00"),
            ("2026-11-23 05:00:00+0130", "2026-11-23 03:30:00.000000+00"),
            ("2026-11-23 05:00:00.000001 UTC", "2026-11-23 05:00:00.000001+00"),
            ("2026-11-23 05:00:00[America/New_York]", "2026-11-23 10:00:00.000000+00"),
            ("2026-11-23 05:00:00 America/New_York", "2026-11-23 10:00:00.000000+00"),
            ("2026-11-23T05:00:00-05:00[America/New_York]", "2026-11-23 10:00:00.000000+00"),
            ("2026-07-23 05:00:00", "2026-07-23 03:00:00.000000+00"),
            (" 2026-11-23 05:00 ", "2026-11-23 04:00:00.000000+00"),
            ("2026-11-23", "2026-11-22 23:00:00.000000+00"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_an_example() {
        for text in [
            "",
            "yesterday",
            "2026-11-31 05:00+00",
            "05:00",
            "2026-11-23 25:00",
            "2026-11-23 05:00 Mars/Olympus",
            "2026-11-23 05:00+99",
            "2026-11-23 05:00+00x",
            "2026-11-23T05:00:00-04:00[America/New_York]",
            "1700000000",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("no moment") && error.contains("123456+00"), "{text}: {error}");
        }
    }

    #[test]
    fn an_hour_that_the_clock_skips_or_repeats_is_not_guessed() {
        assert!(read("2026-03-29 02:30:00").unwrap_err().contains("give the offset"));
        assert!(read("2026-10-25 02:30:00").unwrap_err().contains("give the offset"));
        assert_eq!(read("2026-10-25 02:30:00+02").unwrap(), "2026-10-25 00:30:00.000000+00");
        assert_eq!(read("2026-10-25 02:30:00+01").unwrap(), "2026-10-25 01:30:00.000000+00");
    }

    #[test]
    fn exactly_one_point_is_asked_for() {
        assert!(Wanted::parse(&args(None)).is_err());
        let mut both = args(Some("2026-11-23 05:00+00"));
        assert!(matches!(Wanted::parse(&both).unwrap().point, Point::Time(_)));
        both.point.xid = Some(7);
        assert!(Wanted::parse(&both).is_err());
        both.point.timestamp = None;
        assert_eq!(Wanted::parse(&both).unwrap().point, Point::Xid(7));
        both.point.xid = Some(1 << 32);
        assert!(Wanted::parse(&both).is_err());
    }

    #[test]
    fn a_named_point_has_nothing_just_before_it() {
        let mut named = args(None);
        named.point.name = Some("before the upgrade".into());
        assert_eq!(Wanted::parse(&named).unwrap().point, Point::Name("before the upgrade".into()));
        named.exclusive = true;
        assert!(Wanted::parse(&named).unwrap_err().contains("--exclusive"));
        named.exclusive = false;
        named.point.name = Some("x".repeat(64));
        assert!(Wanted::parse(&named).is_err());
    }

    #[test]
    fn timelines_are_words_or_numbers_from_one() {
        assert_eq!("latest".parse(), Ok(TimelineChoice::Latest));
        assert_eq!("current".parse(), Ok(TimelineChoice::Current));
        assert_eq!("12".parse(), Ok(TimelineChoice::Numbered(12)));
        assert_eq!("0x0000000C".parse(), Ok(TimelineChoice::Numbered(12)));
        for text in ["", "0", "-1", "newest", "4294967296", "1.5"] {
            assert!(text.parse::<TimelineChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_server_is_told_in_its_own_words() {
        let mut wanted = Wanted::parse(&args(Some("2026-11-23 05:00:00.123456+01"))).unwrap();
        wanted.exclusive = true;
        assert_eq!(
            wanted.settings("3", Action::Promote),
            [
                ("recovery_target_timeline", "3".to_owned()),
                ("recovery_target_time", "2026-11-23 04:00:00.123456+00".to_owned()),
                ("recovery_target_inclusive", "off".to_owned()),
                ("recovery_target_action", "promote".to_owned()),
            ]
        );
        let all = Wanted::latest(TimelineChoice::Latest).settings("latest", Action::Pause);
        assert_eq!(all, [("recovery_target_timeline", "latest".to_owned())]);
        let alone = Wanted::immediate().settings("current", Action::Shutdown);
        assert!(alone.contains(&("recovery_target", "immediate".to_owned())));
        assert!(alone.contains(&("recovery_target_action", "shutdown".to_owned())));
    }
}
