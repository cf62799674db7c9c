//! Audits as documents: what other programs read of them, and that other people's text stays text.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::Value;
use testbed::{run, validators};

use super::update_world::{World, of_kind};

/// `used` has an advisory whose title is as hostile as titles come.
fn world() -> World {
    let world = World::new();
    world.publish("used", "1.0.0", &[]);
    world.need(&["used 1"]);
    world.advisory("RUSTSEC-2026-0042", "used", "patched = [\">= 1.0.1\"]");
    let file = world.path("db/crates/used/RUSTSEC-2026-0042.md");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("# Something in used", "# =cmd|' /C' <b>&\"x\" \u{1b}[31m| @you https://a.test");
    std::fs::write(file, text).unwrap();
    world
}

#[track_caller]
fn written(world: &World, form: &str, args: &[&str]) -> String {
    let output = run(&mut world.tool_as(form, args)).unwrap();
    assert!(!output.stdout.contains('\u{1b}') && !output.stdout.contains("\\u001b"), "{output}");
    output.stdout
}

fn document(world: &World, form: &str) -> String {
    written(world, form, &["security-audit", "Cargo.lock"])
}

/// A lock file by hand: of a package of the workspace, what the registry, git and another registry gave it.
fn odd_lock(world: &World, path: &Path) {
    let registry = concat!("registry+https://github.com/rust-lang/crates", ".io-index");
    let git = format!("git+https://example.org/a/b?branch=main#{}", "0123456789abcdef0123456789abcdef01234567");
    let other = "registry+https://registry.example.org/index";
    let mut text = "version = 4\n".to_owned();
    for (name, version, source, needs) in [
        ("app", "0.1.0", None, "[\n \"forked\",\n \"used\",\n]"),
        ("forked", "1.0.0+build.5", Some(git.as_str()), "[\n \"other\",\n]"),
        ("other", "2.0.0", Some(other), ""),
        ("used", "1.0.0", Some(registry), ""),
    ] {
        writeln!(text, "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"").unwrap();
        if let Some(source) = source {
            writeln!(text, "source = \"{source}\"").unwrap();
        }
        if !needs.is_empty() {
            writeln!(text, "dependencies = {needs}").unwrap();
        }
    }
    fs::create_dir_all(world.path("app").join(path).parent().unwrap()).unwrap();
    fs::write(world.path("app").join(path), text).unwrap();
}

#[test]
fn others_find_nothing_wrong_with_what_is_written() {
    let world = world();
    let not_text = Path::new(OsStr::from_bytes(b"od\xffd name/Cargo.lock"));
    odd_lock(&world, not_text);
    odd_lock(&world, &world.path("elsewhere/Cargo.lock"));
    let several = ["security-audit", "Cargo.lock", "--root", ".", "--root", "../elsewhere", "no-such.lock"];
    world.need(&[]);
    fs::write(world.path("app/clean.lock"), world.lock()).unwrap();
    let mut fingerprints = BTreeSet::new();
    for (name, args) in [("several", &several[..]), ("clean", &["security-audit", "clean.lock"])] {
        let sarif = world.path(&format!("{name}.sarif"));
        let text = written(&world, "sarif", args);
        let log: Value = serde_json::from_str(&text).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.is_empty(), name == "clean");
        let place = |result: &Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        let places: BTreeSet<String> =
            results.iter().map(|result| place(result).as_str().unwrap().to_owned()).collect();
        if name == "several" {
            let elsewhere = format!("file://{}", world.path("elsewhere/Cargo.lock").canonicalize().unwrap().display());
            assert_eq!(places, BTreeSet::from(["od%FFd%20name/Cargo.lock".to_owned(), elsewhere]), "{text}");
        }
        for result in results {
            assert!(fingerprints.insert(result["partialFingerprints"].to_string()), "not one of its own: {result}");
        }
        fs::write(&sarif, text).unwrap();
        assert_eq!(validators::sarif(&sarif).unwrap(), Vec::<String>::new(), "{name}");
        let bill = world.path(&format!("{name}.json"));
        fs::write(&bill, written(&world, "cyclonedx", args)).unwrap();
        assert_eq!(validators::cyclonedx(&bill).unwrap(), "", "{name}");
        let osv: Value = serde_json::from_str(&written(&world, "osv", args)).unwrap();
        assert!(osv["results"].is_array());
    }
    // The judges do judge.
    let bill = world.path("several.json");
    fs::write(&bill, fs::read_to_string(&bill).unwrap().replace("\"library\"", "\"libary\"")).unwrap();
    assert!(validators::cyclonedx(&bill).unwrap().contains("libary"));
    let sarif = world.path("several.sarif");
    fs::write(&sarif, fs::read_to_string(&sarif).unwrap().replace("\"startLine\"", "\"endLine\"")).unwrap();
    assert!(!validators::sarif(&sarif).unwrap().is_empty());
}

#[test]
fn what_came_from_elsewhere_says_so_in_its_address() {
    let world = world();
    odd_lock(&world, Path::new("odd/Cargo.lock"));
    let bom: Value = serde_json::from_str(&written(&world, "cyclonedx", &["sbom", "odd/Cargo.lock"])).unwrap();
    let purls: Vec<&str> =
        bom["components"].as_array().unwrap().iter().map(|one| one["purl"].as_str().unwrap_or("none")).collect();
    let revision = "%400123456789abcdef0123456789abcdef01234567";
    let forked = format!("pkg:cargo/forked@1.0.0%2Bbuild.5?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fa%2Fb{revision}");
    let other = "pkg:cargo/other@2.0.0?repository_url=https%3A%2F%2Fregistry.example.org%2Findex";
    assert_eq!(purls, [forked.as_str(), other, "pkg:cargo/used@1.0.0"]);
    let main = &bom["metadata"]["component"];
    assert_eq!((&main["name"], &main["purl"], &main["type"]), (&"app".into(), &Value::Null, &"application".into()));
    let needs = |at: &str| {
        let all = bom["dependencies"].as_array().unwrap();
        all.iter().find(|one| one["ref"] == at).unwrap_or_else(|| panic!("{at}: {bom:#}"))["dependsOn"].clone()
    };
    assert_eq!(needs(main["bom-ref"].as_str().unwrap()), serde_json::json!([forked, "pkg:cargo/used@1.0.0"]));
    assert_eq!(needs(&forked), serde_json::json!([other]));
}

#[test]
fn a_bill_has_scopes_and_a_serial_number_of_its_content() {
    let world = world();
    let (_, unscoped) = world.run(&["sbom"]);
    let told = &of_kind(&unscoped, "check")[0]["data"];
    assert!(told["is_scoped"] == false && told["message"].as_str().unwrap().contains("failed to download"), "{told}");
    world.cargo(&["fetch"]);
    let bill = || written(&world, "cyclonedx", &["sbom"]);
    let text = bill();
    assert_eq!(text, bill());
    let bom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bom["components"][0]["scope"], "required", "{text}");
    let serial = bom["serialNumber"].clone();
    assert!(serial.as_str().unwrap().starts_with("urn:uuid:"));
    // The workspace is not ours from elsewhere: nobody is asked, and nothing is claimed.
    let mut command = world.tool_as("cyclonedx", &["sbom", "../app/Cargo.lock"]);
    let output = run(command.current_dir(world.path("home"))).unwrap();
    assert_eq!(output.code, 0, "{output}");
    let other: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(other["components"][0]["scope"], Value::Null);
    assert_ne!(other["serialNumber"], serial);
    let (output, records) = world.run(&["sbom", "Cargo.lock", "missing.lock"]);
    assert_eq!((output.code, records.len()), (3, 1), "{output}");
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
    world.cargo(&["fetch"]);
    let bom: Value = serde_json::from_str(&document(&world, "cyclonedx")).unwrap();
    assert_eq!(bom["specVersion"], "1.6");
    let at = "pkg:cargo/used@1.0.0";
    let analysis = &bom["vulnerabilities"][0]["analysis"];
    assert_eq!(analysis["state"], "in_triage", "it is built: {bom:#}");
    let component = bom["components"].as_array().unwrap().iter().find(|one| one["bom-ref"] == at).unwrap();
    assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert_eq!(bom["vulnerabilities"][0]["affects"][0]["ref"], at);
    let app = &bom["metadata"]["component"]["bom-ref"];
    let app = bom["dependencies"].as_array().unwrap().iter().find(|one| one["ref"] == *app).unwrap();
    assert_eq!(app["dependsOn"], serde_json::json!([at]));
    let osv: Value = serde_json::from_str(&document(&world, "osv")).unwrap();
    assert_eq!(osv["results"][0]["packages"][0]["vulnerabilities"][0]["id"], "RUSTSEC-2026-0042");
}

#[test]
fn titles_are_no_formulas_no_markup_and_no_columns() {
    let world = world();
    let csv = document(&world, "csv");
    let row = csv.lines().nth(1).unwrap();
    assert!(row.contains("\"'=cmd|' /C' <b>&\"\"x\"\" "), "{row}");
    let markdown = document(&world, "markdown");
    let row = markdown.lines().find(|line| line.contains("RUSTSEC-2026-0042")).unwrap();
    assert!(row.contains("=cmd\\|' /C' &lt;b\\>&amp;") && !row.contains("@you") && !row.contains("://"), "{row}");
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
