//! Plans that come in from outside, for `apply`: which records of a stream are steps.

use serde_json::Value;

use crate::record::Kind;

/// The `data` of a record that is a step of a plan; none for other records of ours (findings, metrics, the summary), which
/// are passed over. `any` says whether there was a step before it.
///
/// # Errors
/// It is no record, or the summary of a plan that failed and has no steps: an empty plan must not look like finished
/// work.
pub fn step_data(mut record: Value, any: bool) -> Result<Option<Value>, String> {
    let Some(event) = record.get("type").and_then(Value::as_str).map(str::to_owned) else {
        return Err("not a record: it has no \"type\"".to_owned());
    };
    let data = record.get_mut("data").map(Value::take).unwrap_or_default();
    if event == Kind::Plan.event_type() {
        return Ok(Some(data));
    }
    if event == Kind::Summary.event_type() {
        let code = data.get("exit_code").and_then(Value::as_u64).unwrap_or(0);
        if code >= 2 && !any {
            let why = data.get("message").and_then(Value::as_str).unwrap_or("no message");
            return Err(format!("the plan itself failed: {why}"));
        }
    }
    if Kind::ALL.iter().any(|kind| kind.event_type() == event) {
        Ok(None)
    } else {
        Err(format!("unknown record type {event:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps_are_taken_other_records_passed_over_and_the_rest_refused() {
        assert_eq!(step_data(json!({"type": "maint.plan.v1", "data": {"a": 1}}), false), Ok(Some(json!({"a": 1}))));
        assert_eq!(step_data(json!({"type": "maint.finding.v1"}), false), Ok(None));
        for bad in [json!({}), json!(7), json!([]), json!({"type": "x"})] {
            assert!(step_data(bad, false).is_err());
        }
    }

    #[test]
    fn a_failed_plan_without_steps_is_an_error() {
        let summary = || json!({"type": "maint.summary.v1", "data": {"exit_code": 2, "message": "server down"}});
        assert!(step_data(summary(), false).unwrap_err().contains("server down"));
        assert_eq!(step_data(summary(), true), Ok(None));
    }
}
