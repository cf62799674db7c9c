//! `apply`: reads the steps of a plan that was made before, and maybe filtered on its way here.
//!
//! The input is a stream of JSON values, one a line or laid out over many (as `jq` does without `-c`). All of it is read
//! and checked before the first step starts: a plan with one bad record changes nothing. It may be larger than memory,
//! so what is read goes into a file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::plan::step_data;
use serde_json::Value;

use crate::spool::Spool;
use crate::step::{Action, Step};

/// Reads a plan from a file, or from stdin where the path is `-`.
///
/// # Errors
/// It cannot be read, or is not a plan: the message names the record.
pub fn read(path: &Path) -> Result<Spool, Failure> {
    if path == Path::new("-") {
        return parse(std::io::stdin().lock(), "stdin");
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::usage(format!("cannot read the plan {name}: {error}")))?;
    parse(BufReader::with_capacity(1 << 16, file), &name)
}

/// The steps of the plan called `name`, in order. Records that are not steps (findings, the summary) are passed over,
/// unless the summary says that the plan itself failed.
///
/// # Errors
/// Something is not a record of a plan.
pub fn parse(input: impl Read, name: &str) -> Result<Spool, Failure> {
    let mut spool = Spool::new()?;
    let stream = serde_json::Deserializer::from_reader(input).into_iter::<Value>();
    for (index, value) in stream.enumerate() {
        let bad = |why: String| {
            Failure::usage(format!("{name}, record {}: {why}; nothing was done", index + 1))
                .hint("make the plan with: redis-maint cache-cleanup --policy FILE --dry-run -o ndjson")
        };
        let value = value.map_err(|error| bad(format!("not JSON: {error}")))?;
        if let Some(data) = step_data(value, !spool.is_empty()).map_err(bad)? {
            let step: Step =
                serde_json::from_value(data).map_err(|error| bad(format!("not a step of a plan: {error}")))?;
            check(&step).map_err(|why| bad(why.to_owned()))?;
            spool.push(&step)?;
        }
    }
    Ok(spool)
}

/// A step that says less than is needed to compare the key would be taken on a key that nobody looked at.
fn check(step: &Step) -> Result<(), &'static str> {
    match step.action {
        Action::Delete if step.expires.is_none() => Err("a deletion without `expires`"),
        Action::Delete if step.bytes.is_none() && step.idle_seconds.is_none() && step.digest.is_none() => {
            Err("a deletion without `memory_bytes`, `idle_seconds` or `digest`")
        }
        Action::Expire if step.ttl_ms.is_none_or(|ttl| ttl == 0) => Err("an expiry without `ttl_ms`"),
        Action::Expire if step.expires.is_none() => Err("an expiry without `expires`"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::step;
    use maint_core::record::Envelope;

    fn line(key: &[u8]) -> String {
        let envelope = Envelope::new("redis-maint", "cache-cleanup");
        serde_json::to_string(&envelope.seal(&step(Action::Delete, key).planned())).unwrap()
    }

    fn read(text: &str) -> Result<Vec<Step>, Failure> {
        parse(text.as_bytes(), "stdin")?.into_reader()?.take(100)
    }

    #[test]
    fn compact_and_laid_out_plans_read_the_same() {
        let compact = format!("{}\n{}\n", line(b"a"), line(b"\xff%"));
        let pretty: String = [line(b"a"), line(b"\xff%")]
            .iter()
            .map(|text| serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap() + "\n")
            .collect();
        let steps = read(&compact).unwrap();
        assert_eq!(steps, read(&pretty).unwrap());
        assert_eq!(steps[1].key_bytes(), b"\xff%");
    }

    #[test]
    fn one_bad_record_refuses_the_plan_and_names_it() {
        let text = format!("{}\n{{\"type\":\"maint.plan.v1\",\"data\":{{\"action\":\"delete\"}}}}\n", line(b"a"));
        let failure = read(&text).unwrap_err();
        assert!(failure.message.starts_with("stdin, record 2: not a step"), "{failure}");
        for text in ["{", "[]", "7", "{}", "{\"type\":\"x\"}", "delete everything", "\u{0}"] {
            read(text).unwrap_err();
        }
    }

    #[test]
    fn a_step_that_could_not_be_compared_is_refused() {
        let mut value: Value = serde_json::from_str(&line(b"a")).unwrap();
        value["data"].as_object_mut().unwrap().remove("expires");
        assert!(read(&value.to_string()).unwrap_err().message.contains("expires"));
    }

    #[test]
    fn an_empty_plan_has_no_steps_but_a_failed_one_is_an_error() {
        assert!(read("").unwrap().is_empty());
        let text = r#"{"type":"maint.summary.v1","data":{"exit_code":2,"message":"server down"}}"#;
        assert!(read(text).unwrap_err().message.contains("server down"));
    }
}
