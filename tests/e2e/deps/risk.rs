//! risk: a score whose parts are shown, and nothing guessed.

use serde_json::Value;

use super::update_world::{OLD, World, of_kind};

fn of<'a>(records: &'a [Value], name: &str) -> &'a Value {
    let all = of_kind(records, "check");
    &all.into_iter().find(|record| record["data"]["crate"] == name).unwrap_or_else(|| panic!("{name}: {records:#?}"))["data"]
}

#[test]
fn every_part_of_the_score_is_shown_and_what_is_not_known_is_null() {
    let world = World::new();
    world.publish_as("young", "1.0.0", &[], "2026-05-25T00:00:00Z", "");
    world.publish_as("quiet", "1.0.0", &[], "2022-01-01T00:00:00Z", "");
    world.publish_as("bad", "0.1.0", &["quiet 1"], OLD, "");
    world.need(&["young 1", "bad 0.1"]);
    world.advisory("RUSTSEC-2026-0042", "bad", "patched = []");
    let (output, records) = world.run(&["risk"]);
    assert_eq!(output.code, 1, "{output}");
    let bad = of(&records, "bad");
    assert_eq!((&bad["parts"]["vulnerabilities"], &bad["parts"]["before_one"]), (&40.into(), &2.into()), "{bad}");
    assert_eq!(
        (&bad["status"], &bad["parts"]["build_script"]),
        (&"warning".into(), &Value::Null),
        "nothing is fetched"
    );
    assert!(bad["unknown"].as_array().unwrap().contains(&"license".into()), "{bad}");
    assert_eq!(of(&records, "young")["parts"]["fresh"], 10);
    assert_eq!(of(&records, "quiet")["parts"]["silence"], 10);
    let first = of_kind(&records, "check").into_iter().find(|record| record["data"]["score"].is_u64()).unwrap();
    assert_eq!(first["data"]["crate"], "bad", "the riskiest is not first");
    // With what cargo knows, nothing is null; a finding that somebody lets pass does not count.
    world.cargo(&["fetch"]);
    let except = ["except", "add", "RUSTSEC-2026-0042", "--reason", "r", "--owner", "o", "--until", "2026-07-01"];
    assert_eq!(world.run(&except).0.code, 0);
    let (output, records) = world.run(&["risk", "bad"]);
    assert_eq!(output.code, 0, "{output}");
    let bad = of(&records, "bad");
    assert_eq!((&bad["parts"]["vulnerabilities"], &bad["parts"]["license"]), (&0.into(), &5.into()), "{bad}");
    assert_eq!(bad["unknown"], serde_json::json!([]));
    let sum: u64 = bad["parts"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(bad["score"], sum);
    let (output, _) = world.run(&["risk", "nothing"]);
    assert!(output.code == 3 && output.stderr.contains("nothing is not in"), "{output}");
}
