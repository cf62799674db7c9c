use super::*;

fn limit(text: &str) -> Threshold {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

/// Values that must be fine and values that must alert.
fn holds(text: &str, fine: &[f64], broken: &[f64]) {
    for (values, expected) in [(fine, false), (broken, true)] {
        for value in values {
            assert_eq!(limit(text).violated(*value), Some(expected), "{text} at {value}");
            // What perfdata says must be the same limit.
            let range = limit(text).nagios_range();
            assert_eq!(limit(&range).violated(*value), Some(expected), "{text} as {range} at {value}");
        }
    }
}

#[test]
fn a_comparison_states_what_must_hold() {
    holds("p(95)<200ms", &[0.0, 0.199], &[0.2, 1.0, f64::INFINITY]);
    holds("error_rate<5%", &[0.0, 0.049], &[0.05, 1.0]);
    holds("error_rate<=5%", &[0.05], &[0.051]);
    holds(">80", &[80.5], &[80.0, -1.0]);
    holds(">=1.5G", &[1_610_612_736.0], &[1_610_612_735.0]);
    holds("==3", &[3.0], &[2.0, 4.0]);
    holds("!=3", &[2.0, 4.0], &[3.0]);
}

#[test]
fn a_range_means_what_the_monitoring_plugins_say() {
    holds("10", &[0.0, 10.0], &[-0.1, 10.1]);
    holds("10:", &[10.0, f64::INFINITY], &[9.9]);
    holds("~:10", &[f64::NEG_INFINITY, 10.0], &[10.1]);
    holds("10:20", &[10.0, 20.0], &[9.9, 20.1]);
    holds("@10:20", &[9.9, 20.1], &[10.0, 20.0]);
    holds("@10", &[-1.0, 11.0], &[0.0, 10.0]);
    holds("-5:5", &[-5.0, 5.0], &[-6.0, 6.0]);
    holds("80%", &[0.8], &[0.81]);
    holds("10:20%", &[0.1, 0.2], &[0.09, 0.21]);
    holds("500ms:1m", &[0.5, 60.0], &[0.4, 61.0]);
}

#[test]
fn a_minute_and_a_mebibyte_are_told_apart() {
    holds("1m", &[60.0], &[60.5]);
    holds("1M", &[1_048_576.0], &[1_048_577.0]);
}

#[test]
fn what_is_not_a_number_is_not_judged() {
    assert_eq!(limit("80").violated(f64::NAN), None);
    assert_eq!(limit("<80").violated(f64::NAN), None);
}

#[test]
fn the_metric_is_read_when_named() {
    assert_eq!(limit("p(99.9) < 2s").metric, Some(Metric::Percentile(99.9)));
    assert_eq!(limit("error_rate<5%").metric, Some(Metric::Name("error_rate".to_owned())));
    assert_eq!(limit(">80").metric, None);
}

#[test]
fn a_printed_threshold_is_read_back_as_itself() {
    for text in ["p(95)<200ms", "error_rate<=5%", "80", "80%", ">80", "10:20", "10:", "~:20", "@10:20", "@10", "!=3"] {
        assert_eq!(limit(text).to_string(), text);
    }
    assert_eq!(limit("10:20%").to_string(), "10%:20%");
    assert_eq!(limit(" p( 95 ) >= 1.5 GiB ").to_string(), "p(95)>=1.5GiB");
    let json = serde_json::to_string(&limit("p(95)<200ms")).unwrap();
    assert_eq!(json, r#""p(95)<200ms""#);
    assert_eq!(serde_json::from_str::<Threshold>(&json).unwrap(), limit("p(95)<200ms"));
}

#[test]
fn perfdata_is_in_base_units() {
    assert_eq!(limit("p(95)<200ms").nagios_range(), "@0.2:");
    assert_eq!(limit("80%").nagios_range(), "0.8");
    assert_eq!(limit("~:1KiB").nagios_range(), "~:1024");
}

#[test]
fn text_that_limits_nothing_is_refused() {
    for text in [
        "",
        "abc",
        "<",
        "p(95)",
        "p(101)<1",
        "p(x)<1",
        "20:10",
        "~:",
        ":",
        ":20",
        "@",
        "10:~",
        "1:2:3",
        "5 parsecs",
        "10ms:20%",
        "=5",
        "=<5",
        "<inf",
        "<nan",
        "1e3",
        "9lives<3",
        "é<3",
        "<5é",
    ] {
        assert!(text.parse::<Threshold>().is_err(), "{text}");
    }
}
