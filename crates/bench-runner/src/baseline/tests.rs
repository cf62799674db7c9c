use super::*;

fn summary(change: &str, to: &str) -> String {
    r#"{"type":"maint.check.v1","subject":"x","data":{}}
{"type":"maint.summary.v1","subject":"http://127.0.0.1/","time":"2026-11-24T08:00:00Z","data":{"scheduled":1000,"good":1000,"error_ratio":0.0,"partial":false,"verdict":"valid","requests_per_second":99.5,"response_p50_seconds":0.001,"response_p95_seconds":0.002,"response_p99_seconds":null}}
"#
    .replace(change, to)
}

#[test]
fn a_valid_run_is_taken_with_what_it_knows() {
    let (entry, is_failed) = of_records(&summary("", "")).unwrap();
    assert!(!is_failed);
    assert!(of_records(&summary("\"scheduled\"", "\"status\":\"critical\",\"scheduled\"")).unwrap().1);
    assert_eq!((entry.subject.as_str(), entry.metrics.0.len()), ("http://127.0.0.1/", 4));
    assert!(!entry.metrics.0.contains_key("response_p99_seconds"));
}

#[test]
fn a_run_that_proves_nothing_is_no_baseline() {
    for (change, to, said) in [
        ("\"valid\"", "\"the generator is late\"", "the generator is late"),
        ("\"partial\":false", "\"partial\":true", "before its time"),
        ("\"good\":1000", "\"good\":0", "not one good"),
        ("maint.summary.v1", "maint.check.v1", "0 summaries"),
        ("{\"type\"", "{type", "line 1"),
        ("\"verdict\":\"valid\",", "", "no verdict"),
    ] {
        let failure = of_records(&summary(change, to)).unwrap_err();
        assert!(failure.message.contains(said), "{said}: {}", failure.message);
    }
    assert!(of_records(&summary("", "").repeat(2)).unwrap_err().message.contains("2 summaries"));
    assert!(of_records("").is_err());
}
