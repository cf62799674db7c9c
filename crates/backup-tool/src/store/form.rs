//! How restic writes down what a file system has: modes and times.

use jiff::{SignedDuration, Timestamp};

/// A mode as restic stores it: Go's `fs.FileMode`, whose bits for types and for setuid, setgid and sticky are not those of
/// Unix (<https://pkg.go.dev/io/fs#FileMode>).
pub fn go_mode(mode: u32) -> u32 {
    const BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    const DEVICE: u32 = 1 << 26;
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => DEVICE,
        0o020_000 => DEVICE | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    BITS.iter().filter(|(unix, _)| mode & unix != 0).fold(kind | (mode & 0o777), |all, (_, go)| all | go)
}

/// A moment of the file system; one beyond what can be kept is the last that can.
pub fn moment(seconds: i64, nanoseconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let Ok(second) = Timestamp::from_second(seconds) else { return end };
    second.checked_add(SignedDuration::from_nanos(nanoseconds)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        assert_eq!(go_mode(0o100_600), 0o600);
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o042_750), 1 << 31 | 1 << 22 | 0o750);
        assert_eq!(go_mode(0o120_777), 1 << 27 | 0o777);
        assert_eq!(go_mode(0o060_660), 1 << 26 | 0o660);
        assert_eq!(go_mode(0o020_620), 1 << 26 | 1 << 21 | 0o620);
        assert_eq!(go_mode(0o010_644), 1 << 25 | 0o644);
        assert_eq!(go_mode(0o140_755), 1 << 24 | 0o755);
    }

    #[test]
    fn moments_before_1970_and_beyond_the_end_are_kept_as_well_as_they_can_be() {
        assert_eq!(moment(-2, 250_000_000).as_nanosecond(), -1_750_000_000);
        assert_eq!(moment(5, 7).as_nanosecond(), 5_000_000_007);
        assert_eq!((moment(i64::MAX, 1), moment(i64::MIN, 1)), (Timestamp::MAX, Timestamp::MIN));
    }
}
