//! Audits as documents: what other programs read of them, and that other people's text stays text.

use serde_json::Value;
use testbed::run;

use super::update_world::{World, of_kind};

/// `used` has an advisory whose title is as hostile as titles come.
fn world() -> World {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.advisory("RUSTSEC-2026-0042", "used", "patched = [\">= 1.0.1\"]");
    let file = world.path("db/crates/used/RUSTSEC-2026-0042.md");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("# Something in used", "# =cmd|' /C' <b>&\"x\" \u{1b}[31m|");
    std::fs::write(file, text).unwrap();
    world
}

fn document(world: &World, form: &str) -> String {
    let mut command = world.tool(&["security-audit", "Cargo.lock"]);
    // The last one given counts.
    let args: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut again = std::process::Command::new(command.get_program());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    again
        .current_dir(world.path("app"))
        .args(args.into_iter().map(|arg| if arg == "ndjson" { form.into() } else { arg }));
    command = again;
    let output = run(&mut command).unwrap();
    assert_eq!(output.code, 2, "{output}");
    assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains("\\u001b"), "{output}");
    output.stdout
}

#[test]
fn sarif_has_the_packages_line_and_no_path_of_this_machine() {
    let world = world();
    let text = document(&world, "sarif");
    assert!(!text.contains(world.path("app").to_str().unwrap()), "{text}");
    let sarif: Value = serde_json::from_str(&text).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"RUSTSEC-2026-0042".into(), &"error".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "Cargo.lock");
    let line = usize::try_from(place["region"]["startLine"].as_u64().unwrap()).unwrap();
    let lock = String::from_utf8(world.lock()).unwrap();
    assert_eq!(lock.lines().nth(line), Some("name = \"used\""));
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][index]["id"], "RUSTSEC-2026-0042");
    assert_eq!(text, document(&world, "sarif"), "the same report gives the same bytes");
}

#[test]
fn a_bill_of_materials_names_what_is_affected() {
    let world = world();
    let bom: Value = serde_json::from_str(&document(&world, "cyclonedx")).unwrap();
    assert_eq!(bom["specVersion"], "1.6");
    let at = "pkg:cargo/used@1.0.0";
    let component = bom["components"].as_array().unwrap().iter().find(|one| one["bom-ref"] == at).unwrap();
    assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert_eq!(bom["vulnerabilities"][0]["affects"][0]["ref"], at);
    let app = bom["dependencies"].as_array().unwrap().iter().find(|one| one["ref"] == "pkg:cargo/app@0.1.0").unwrap();
    assert_eq!(app["dependsOn"], serde_json::json!([at]));
    let osv: Value = serde_json::from_str(&document(&world, "osv")).unwrap();
    assert_eq!(osv["results"][0]["packages"][0]["vulnerabilities"][0]["id"], "RUSTSEC-2026-0042");
}

#[test]
fn titles_are_no_formulas_no_markup_and_no_columns() {
    let world = world();
    let csv = document(&world, "csv");
    let row = csv.lines().nth(1).unwrap();
    assert!(row.contains("\"'=cmd|' /C' <b>&\"\"x\"\""), "{row}");
    let markdown = document(&world, "markdown");
    let row = markdown.lines().find(|line| line.contains("RUSTSEC-2026-0042")).unwrap();
    assert!(row.contains("=cmd\\|' /C' \\<b\\>"), "{row}");
    let junit = document(&world, "junit");
    assert!(junit.contains("&lt;b&gt;&amp;&quot;x&quot;") && !junit.contains("<b>"), "{junit}");
    assert!(junit.contains("failures=\"1\""), "{junit}");
}

#[test]
fn a_form_that_a_command_does_not_have_is_refused() {
    let world = world();
    let (output, records) = world.run(&["security-audit", "Cargo.lock"]);
    assert_eq!((output.code, of_kind(&records, "finding").len()), (2, 1));
    let mut command = testbed::tool("dep-audit", &world.path("state")).unwrap();
    let output = run(command.current_dir(world.path("app")).args(["outdated", "-o", "sarif"])).unwrap();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.is_empty() && output.stderr.contains("security-audit"), "{output}");
}
