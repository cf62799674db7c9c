use super::*;
use crate::syntax::{Parsed, on_large_stack, parse};

fn measured(text: &str) -> Measured {
    let source = Source {
        path: "/w/src/a.rs".into(),
        shown: "src/a.rs".into(),
        krate: "my-crate".into(),
        root: Vec::new(),
        module: vec!["a".into()],
        test: false,
    };
    on_large_stack(|| {
        let file = parse(text).unwrap();
        visit::file(source, &Parsed { text: text.to_owned(), file })
    })
    .unwrap()
}

fn function(body: &str) -> Function {
    let mut functions = measured(&format!("fn f() {{\n{body}\n}}\n")).functions;
    assert_eq!(functions.len(), 1);
    functions.remove(0)
}

fn complexity(body: &str) -> (usize, usize, usize) {
    let function = function(body);
    (function.cyclomatic, function.cognitive, function.nesting)
}

#[test]
fn a_function_is_named_by_all_that_it_is_in() {
    let file = measured(
        "mod inner { struct T; impl T { fn method(&self) { fn helper() {} } } trait U { fn given() {} fn not(); } }\n\
         impl<'a> std::fmt::Display for &'a T<u8> { fn fmt(&self) {} }",
    );
    let mut names: Vec<&str> = file.functions.iter().map(|function| function.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "my_crate::a::T::fmt",
            "my_crate::a::inner::T::method",
            "my_crate::a::inner::T::method::helper",
            "my_crate::a::inner::U::given"
        ]
    );
}

#[test]
fn a_function_is_as_long_as_from_its_name_to_its_end() {
    let file = measured("/// Docs.\n#[inline]\npub fn f(\n    a: u8,\n) {\n    a;\n}\n");
    assert_eq!((file.functions[0].line, file.functions[0].lines), (3, 5));
}

#[test]
fn complexity_counts_ways_and_what_is_hard_to_follow() {
    assert_eq!(complexity("x;"), (1, 0, 0));
    assert_eq!(complexity("if a { b } else { c }"), (2, 2, 1));
    assert_eq!(complexity("if a { 1 } else if b { 2 } else if c { 3 } else { 4 }"), (4, 4, 1));
    assert_eq!(complexity("if a { if b { if c {} } }"), (4, 6, 3));
    // A flat match is easy to read, however many arms it has.
    assert_eq!(complexity("match a { 1 => 1, 2 => 2, 3 if x => 3, _ => 4 }"), (5, 1, 1));
    assert_eq!(complexity("a && b && c || d"), (4, 2, 0));
    assert_eq!(complexity("let Some(x) = y else { return };"), (2, 1, 0));
    assert_eq!(complexity("'o: for a in b { while c { loop { continue 'o } } }"), (4, 7, 3));
    assert_eq!(complexity("v.iter().map(|x| if x { 1 } else { 2 })"), (2, 3, 2));
    assert_eq!(complexity("a()?; b()?;"), (1, 0, 0));
}

#[test]
fn a_function_inside_of_another_stands_alone() {
    let file = measured("fn outer() { if a {} fn inner() { if b { if c {} } } }");
    let find = |name: &str| file.functions.iter().find(|function| function.path.ends_with(name)).unwrap();
    assert_eq!((find("outer").cyclomatic, find("inner").cyclomatic), (2, 3));
    assert_eq!((find("outer").nesting, find("inner").nesting), (1, 2));
}

#[test]
fn unsafe_code_is_found_wherever_it_stands_and_nowhere_else() {
    let file = measured(
        "unsafe fn f() {}\n\
         fn g() { unsafe { f() } }\n\
         unsafe impl Send for T {}\n\
         unsafe trait U { unsafe fn h(); }\n\
         fn i() { assert!(unsafe { f() }); }\n\
         // unsafe { }\n\
         fn j() { \"unsafe { }\"; let r#unsafe_not = 1; }\n\
         #[unsafe(no_mangle)] fn k() {}\n",
    );
    let found: Vec<(usize, &str)> = file.unsafes.iter().map(|found| (found.line, found.what)).collect();
    assert_eq!(found, [(1, "function"), (2, "block"), (3, "impl"), (4, "trait"), (4, "function"), (5, "macro")]);
}

#[test]
fn tests_are_told_from_code() {
    let file = measured(
        "fn code() {}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n#[tokio::test]\nasync fn u() {}\n",
    );
    let tests: Vec<bool> = file.functions.iter().map(|function| function.test).collect();
    assert_eq!(tests, [false, true, true]);
    assert_eq!((file.lines, file.test_lines), (3, 6));
    assert_eq!(file.code_lines, 2);
    let file = measured("#[cfg(not(test))]\nmod real {\n    fn r() {}\n}\n");
    assert!(!file.functions[0].test);
    assert_eq!(file.test_lines, 0);
}

#[test]
fn a_file_that_is_declared_for_tests_is_test_code() {
    let mut declaring = measured("#[cfg(test)]\nmod tests;\nmod b;\n");
    declaring.source.path = "/w/src/a.rs".into();
    let at = |path: &str| {
        let mut file = measured("pub fn f() {}\n");
        file.source.path = path.into();
        file
    };
    let mut files = vec![
        declaring,
        at("/w/src/a/tests.rs"),
        at("/w/src/a/tests/deep.rs"),
        at("/w/src/a/b.rs"),
        at("/w/src/tests.rs"),
    ];
    mark_tests(&mut files);
    let tests: Vec<bool> = files.iter().map(|file| file.source.test).collect();
    assert_eq!(tests, [false, true, true, false, false]);
    assert!(files[1].functions[0].test && !files[3].functions[0].test);
    assert_eq!((files[1].lines, files[1].test_lines), (0, 1));
}

#[test]
fn public_items_are_those_that_say_so() {
    let file = measured(
        "pub struct A; struct B; pub enum C {} pub(crate) fn d() {} pub fn e() {} pub const F: u8 = 1;\n\
         impl A { pub fn g() {} fn h() {} } #[cfg(test)] mod tests { pub fn i() {} }",
    );
    assert_eq!(file.public_items, 5);
}

#[test]
fn paths_of_the_crate_are_resolved_and_others_left_out() {
    let file = measured(
        "use crate::x::{y::Z, self}; use super::s; use self::inner::I; use std::fmt;\n\
         mod inner { use super::super::up; }\n\
         fn f() { crate::p::q(); g(&crate::m::N); println!(\"{}\", crate::in_macro::v()); }\n\
         #[cfg(test)] mod tests { use crate::only_tests; }",
    );
    let mut uses: Vec<String> = file.uses.iter().map(|path| path.join("::")).collect();
    uses.sort_unstable();
    assert_eq!(uses, ["a::inner::I", "in_macro::v", "m::N", "p::q", "s", "up", "x::self", "x::y::Z"]);
}

#[test]
fn what_the_parser_lets_through_can_be_walked() {
    for (open, middle, close, times) in [
        ("!", "x", "", 39_000),
        ("(", "1", ")", 1_400),
        ("1+", "1", "", 19_000),
        ("|a|", "1", "", 9_000),
        ("if a {} else ", "{}", "", 9_000),
        ("match a { _ => ", "1", "}", 1_400),
        ("a && ", "b", "", 9_000),
    ] {
        let file = measured(&format!("fn f() {{ {}{middle}{} }}", open.repeat(times), close.repeat(times)));
        assert_eq!(file.functions.len(), 1, "{open}");
    }
}
