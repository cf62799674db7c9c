use super::*;

fn duration(text: &str) -> Duration {
    text.parse::<HumanDuration>().unwrap().0
}

fn size(text: &str) -> u64 {
    text.parse::<HumanSize>().unwrap().0
}

#[test]
fn durations_are_read_as_written() {
    assert_eq!(duration("200ms"), Duration::from_millis(200));
    assert_eq!(duration("1h30m"), Duration::from_mins(90));
    assert_eq!(duration("7d12h"), Duration::from_hours(180));
    assert_eq!(duration("5min"), Duration::from_mins(5));
    assert_eq!(duration("1.5s"), Duration::from_millis(1500));
    assert_eq!(duration("0"), Duration::ZERO);
}

#[test]
fn a_bare_number_is_refused_and_the_missing_unit_named() {
    let error = "30".parse::<HumanDuration>().unwrap_err().to_string();
    assert!(error.contains("30 has no unit") && error.contains("30m"), "{error}");
    assert!("1h30".parse::<HumanDuration>().is_err());
}

#[test]
fn durations_that_mean_nothing_are_refused() {
    for text in
        ["", "h", "-5s", "5x", "30m1h", "1h1h", "1.2.3s", ".s", "99999999999999999999999999999999999999999d", "5é"]
    {
        assert!(text.parse::<HumanDuration>().is_err(), "{text}");
    }
}

#[test]
fn a_printed_duration_is_read_back_as_itself() {
    for nanos in [0, 1, 999, 1_500_000, 61_000_000_000, 5_400_000_000_000, u64::MAX] {
        let value = HumanDuration(Duration::from_nanos(nanos));
        assert_eq!(value.to_string().parse::<HumanDuration>().unwrap(), value);
    }
    assert_eq!(HumanDuration(Duration::from_mins(90)).to_string(), "1h30m");
    let longest = HumanDuration(Duration::MAX);
    assert_eq!(longest.to_string().parse::<HumanDuration>().unwrap(), longest);
}

#[test]
fn sizes_are_binary_multiples_in_every_spelling() {
    for text in ["8M", "8MB", "8MiB", "8mb", "8 MB", "8388608", "8388608B", "8192kB"] {
        assert_eq!(size(text), 8 << 20, "{text}");
    }
    assert_eq!(size("1.5G"), 3 << 29);
    for text in ["", "M", "-1M", "8X", "1..5G", "99999999T", "8Mi B"] {
        assert!(text.parse::<HumanSize>().is_err(), "{text}");
    }
}

#[test]
fn a_printed_size_is_read_back_as_itself() {
    for bytes in [0, 1, 1000, 1024, 3 << 29, (1 << 40) + 1, 1 << 63, u64::MAX] {
        assert_eq!(size(&HumanSize(bytes).to_string()), bytes);
    }
    assert_eq!(HumanSize(8 << 20).to_string(), "8MiB");
}

#[test]
fn ratios_are_read_with_and_without_the_sign() {
    assert!(("30%".parse::<HumanRatio>().unwrap().0 - 0.3).abs() < f64::EPSILON);
    assert_eq!("30%".parse::<HumanRatio>(), "0.3".parse());
    assert_eq!("7 %".parse::<HumanRatio>(), "0.07".parse());
    for text in ["30", "", "%", "inf", "nan", "1e-2", "-5%", "0.3.1"] {
        assert!(text.parse::<HumanRatio>().is_err(), "{text}");
    }
}

#[test]
fn a_printed_ratio_is_read_back_as_itself() {
    for step in 0..=3000_u32 {
        let value = HumanRatio(f64::from(step) / 1000.0 / 1.3);
        assert_eq!(value.to_string().parse::<HumanRatio>().unwrap(), value, "{value}");
    }
    assert_eq!(HumanRatio(0.3).to_string(), "30%");
    assert_eq!(HumanRatio(0.075).to_string(), "7.5%");
    assert_eq!(HumanRatio(1.0).to_string(), "100%");
}

#[test]
fn all_three_travel_as_strings() {
    let text = r#"["1h30m","8MiB","30%"]"#;
    let read: (HumanDuration, HumanSize, HumanRatio) = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert!(serde_json::from_str::<HumanDuration>("30").is_err());
}

#[test]
fn numbers_are_printed_for_people() {
    assert_eq!(format_bytes(1023), "1023 B");
    assert_eq!(format_bytes(12_897_485), "12.3 MiB");
    assert_eq!(format_bytes((1 << 20) - 1), "1.0 MiB");
    assert_eq!(format_bytes(u64::MAX), "16.0 EiB");
    for (seconds, text) in [
        (0.0, "0 s"),
        (0.000_35, "350 us"),
        (0.012, "12 ms"),
        (0.9999, "1.0 s"),
        (1.2, "1.2 s"),
        (59.99, "1 min"),
        (200.0, "3 min 20 s"),
        (3599.9, "1 h"),
        (7500.0, "2 h 5 min"),
        (86_399.0, "1 d"),
        (273_600.0, "3 d 4 h"),
        (-1.2, "-1.2 s"),
        (f64::NAN, "unknown"),
    ] {
        assert_eq!(format_seconds(seconds), text);
    }
    assert_eq!(format_ratio(0.123), "12.3 %");
    assert_eq!(format_count(0), "0");
    assert_eq!(format_count(999), "999");
    assert_eq!(format_count(1_234_567), "1,234,567");
}
