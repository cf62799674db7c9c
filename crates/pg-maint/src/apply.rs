//! `apply`: carries out the steps of a plan that was made before, and maybe filtered on its way here.
//!
//! The input is a stream of JSON values, one a line or laid out over many (as `jq` does without `-c`). All of it is
//! read and checked before the first step starts: a plan with one bad record changes nothing.

use std::io::Read;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::plan::step_data;
use serde_json::Value;

use crate::step::Step;

/// Reads a plan from a file, or from stdin where the path is `-`.
///
/// # Errors
/// It cannot be read, or is not a plan: the message names the line.
pub fn read(path: &Path) -> Result<Vec<Step>, Failure> {
    let mut text = String::new();
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let result = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    result.map_err(|error| Failure::usage(format!("cannot read the plan from {name}: {error}")))?;
    parse(&text, &name)
}

/// The steps in `text`, in order. Records that are not steps (findings, the summary) are passed over, unless the
/// summary says that the plan itself failed.
///
/// # Errors
/// Something is not a record of a plan.
pub fn parse(text: &str, name: &str) -> Result<Vec<Step>, Failure> {
    let mut steps: Vec<Step> = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let rest = text.get(stream.byte_offset()..).unwrap_or_default();
        let start = text.len() - rest.trim_start().len();
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        let bad = |why: String| {
            Failure::usage(format!("{name}, line {line}: {why}; nothing was done"))
                .hint("make the plan with: pg-maint plan -o ndjson")
        };
        let value = match stream.next() {
            None => return Ok(steps),
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(bad(format!("not JSON: {error}"))),
        };
        if let Some(data) = step_data(value, !steps.is_empty()).map_err(bad)? {
            let step: Step =
                serde_json::from_value(data).map_err(|error| bad(format!("not a step of a plan: {error}")))?;
            if step.schema.is_empty() || step.relation.is_empty() || step.database.is_empty() || step.oid == 0 {
                return Err(bad("a step without database, schema, relation or oid".to_owned()));
            }
            if step.schema.contains('\0') || step.relation.contains('\0') || step.database.contains('\0') {
                return Err(bad("a name with a NUL character".to_owned()));
            }
            // The same step twice is one step.
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Action;
    use crate::step::tests::step;
    use maint_core::record::Envelope;

    fn line(relation: &str) -> String {
        let envelope = Envelope::new("pg-maint", "plan");
        let record = step(Action::Vacuum, relation).planned();
        serde_json::to_string(&envelope.seal(&record)).unwrap()
    }

    #[test]
    fn compact_and_laid_out_plans_read_the_same() {
        let compact = format!("{}\n{}\n", line("a"), line("b"));
        let pretty: String = [line("a"), line("b")]
            .iter()
            .map(|text| serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap() + "\n")
            .collect();
        assert_eq!(parse(&compact, "x").unwrap(), parse(&pretty, "x").unwrap());
        assert_eq!(parse(&compact, "x").unwrap().len(), 2);
    }

    #[test]
    fn one_bad_record_refuses_the_plan_and_names_its_line() {
        let text = format!("{}\n{{\"type\":\"maint.plan.v1\",\"data\":{{\"action\":\"vacuum\"}}}}\n", line("a"));
        let failure = parse(&text, "stdin").unwrap_err();
        assert!(failure.message.starts_with("stdin, line 2: not a step"), "{failure}");
        for text in ["{", "[]", "7", "{}", "{\"type\":\"x\"}", "vacuum everything", "\u{0}"] {
            parse(text, "stdin").unwrap_err();
        }
    }

    #[test]
    fn sql_from_outside_is_never_run() {
        let mut value: Value = serde_json::from_str(&line("a")).unwrap();
        value["data"]["sql"] = "DROP TABLE a".into();
        let steps = parse(&value.to_string(), "stdin").unwrap();
        assert_eq!(steps[0].sql(), r#"VACUUM (TRUNCATE false) "public"."a""#);
    }

    #[test]
    fn an_empty_plan_has_no_steps_but_a_failed_one_is_an_error() {
        assert!(parse("", "stdin").unwrap().is_empty());
        let text = r#"{"type":"maint.summary.v1","data":{"exit_code":2,"message":"server down"}}"#;
        assert!(parse(text, "stdin").unwrap_err().message.contains("server down"));
    }
}
