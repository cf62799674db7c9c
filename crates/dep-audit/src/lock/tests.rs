use super::*;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates\u{2e}io-index";

fn text() -> String {
    format!(
        "# made by cargo\nversion = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.1.0\"\ndependencies = [\n \"three 1.0.0\",\n \
         \"three 2.0.0 (git+https://example.org/three?branch=main#0123456789abcdef0123456789abcdef01234567)\",\n \"two\",\n]\n\n\
         [[package]]\nname = \"three\"\nversion = \"1.0.0\"\nsource = \"{REGISTRY}\"\nchecksum = \"{}\"\n\n[[package]]\n\
         name = \"three\"\nversion = \"2.0.0\"\n\
         source = \"git+https://example.org/three?branch=main#0123456789abcdef0123456789abcdef01234567\"\n\n[[package]]\n\
         name = \"two\"\nversion = \"1.2.3\"\nsource = \"{REGISTRY}\"\n",
        "ab".repeat(32)
    )
}

fn of(text: &str) -> Lock {
    Lock::parse(Path::new("Cargo.lock"), text).unwrap()
}

#[test]
fn packages_know_their_lines_and_where_they_come_from() {
    let lock = of(&text());
    let found: Vec<_> =
        lock.packages.iter().map(|p| (p.package.name.as_str(), p.line, p.is_from_the_registry())).collect();
    assert_eq!(found, [("one", 4, false), ("three", 13, true), ("three", 19, false), ("two", 24, true)]);
}

#[test]
fn what_is_no_lock_file_is_named() {
    let error = Lock::parse(Path::new("x/Cargo.lock"), "[[package]]\nname = 3\n").unwrap_err();
    assert!(error.to_string().starts_with("x/Cargo.lock: "), "{error}");
}

#[test]
fn the_quick_way_reads_what_the_library_reads() {
    let text = text();
    let quick = plain::packages(&text).unwrap();
    let whole = by_library(Path::new("Cargo.lock"), &text).unwrap();
    assert_eq!(format!("{quick:?}"), format!("{whole:?}"));
}

#[test]
fn the_quick_way_leaves_alone_what_it_does_not_know() {
    let good = text();
    let others = [
        good.replace("version = 4\n\n", "\n"),
        good.replace("version = 4", "version = 5"),
        good.replace("name = \"two\"", "name = 'two'"),
        good.replace("name = \"two\"", "\"name\" = \"two\""),
        good.replace("name = \"two\"", "name = \"t\\u0077o\""),
        good.replace(" \"two\",\n]", " \"two\" ]"),
        good.replace(" \"two\",\n", " \"four\",\n"),
        good.replace("version = \"1.2.3\"", "version = \"1.2\""),
        good.replace("version = \"1.2.3\"", "version = \"1.2.3\"\nversion = \"1.2.4\""),
        good.replace("version = \"1.2.3\"\n", ""),
        format!("{good}\n[[patch.unused]]\nname = \"four\"\nversion = \"1.0.0\"\n"),
        format!("{good}replace = \"three 1.0.0\"\n"),
        format!("<<<<<<< HEAD\n{good}"),
        good.replace("]\n\n[[package]]\nname = \"three\"\nversion = \"1.0.0\"", "\n"),
    ];
    for (index, other) in others.iter().enumerate() {
        assert_ne!(*other, good, "{index} changes nothing");
        assert!(plain::packages(other).is_none(), "{index}: {other}");
    }
}
