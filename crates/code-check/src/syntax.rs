//! Parsing Rust without trusting it.
//!
//! The parser recurses, and what it makes is walked and dropped by recursion too, so a file of a hundred thousand `!` would
//! end the process on its stack. Before a file is parsed, its tokens tell how deep that could go at most; what goes deeper
//! than any code is refused, and the rest has a stack that is large enough for it.

use std::path::Path;

use maint_core::failure::Failure;
use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

/// The stack of the thread that parses. Only what is used of it takes memory.
const STACK_BYTES: usize = 1 << 30;

/// As many tokens may lie inside of each other, or follow each other in one statement.
const MAX_DEPTH: usize = 40_000;

/// As many brackets may lie inside of each other.
const MAX_BRACKETS: usize = 1_500;

/// A larger file is no source.
const MAX_BYTES: u64 = 32 << 20;

/// Why a file could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unparsed {
    /// The line, from 1; 0 when it is about no line.
    pub line: usize,
    /// Why.
    pub why: String,
}

impl Unparsed {
    fn whole(why: impl Into<String>) -> Self {
        Unparsed { line: 0, why: why.into() }
    }
}

/// A parsed file with its text.
pub struct Parsed {
    /// The text.
    pub text: String,
    /// What it says.
    pub file: syn::File,
}

/// Runs `work` in a thread whose stack is large enough for whatever [`parse`] lets through, and for walking it.
///
/// # Errors
/// The system gives no such thread.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("parse".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| {
            Failure::usage(format!("cannot start a thread with a stack of {STACK_BYTES} bytes: {error}"))
                .hint("raise the limit of address space (ulimit -v)")
        })?;
        thread.join().map_err(|_| Failure::critical("the parser failed"))
    })
}

/// Reads and parses a file. Call it inside of [`on_large_stack`].
///
/// # Errors
/// It cannot be read, is no text, is no Rust, or lies deeper than can be parsed.
pub fn read(path: &Path) -> Result<Parsed, Unparsed> {
    let unreadable = |error: std::io::Error| Unparsed::whole(format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(Unparsed::whole("is too large to be a source"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        Unparsed { line, why: "is not UTF-8".to_owned() }
    })?;
    let file = parse(&text)?;
    Ok(Parsed { text, file })
}

/// Parses a text. Call it inside of [`on_large_stack`].
///
/// # Errors
/// It is no Rust, or lies deeper than can be parsed.
pub fn parse(text: &str) -> Result<syn::File, Unparsed> {
    // Spans of the files before are not asked for any more; their texts would stay in memory.
    proc_macro2::extra::invalidate_current_thread_spans();
    let tokens: TokenStream = code(text).parse().map_err(|error: proc_macro2::LexError| Unparsed {
        line: error.span().start().line,
        why: "is not Rust: it has something that is no token".to_owned(),
    })?;
    if !is_shallow(tokens.clone()) {
        return Err(Unparsed::whole("lies too deep to be parsed; exclude it if it is generated"));
    }
    syn::parse2(tokens)
        .map_err(|error| Unparsed { line: error.span().start().line, why: format!("is not Rust: {error}") })
}

/// The text without what may stand before the code. Lines stay as they are counted.
fn code(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_script = text.starts_with("#!") && !text.trim_start_matches("#!").trim_start().starts_with('[');
    if is_script { text.find('\n').and_then(|end| text.get(end..)).unwrap_or_default() } else { text }
}

/// One pair of brackets on the way down.
struct Level {
    tokens: token_stream::IntoIter,
    braces: bool,
    /// Tokens since the last `;` or `,`, or since a block ended.
    run: usize,
    /// `<` that are not closed yet; a `,` does not end them.
    angles: usize,
    /// The deepest of the brackets inside of the run.
    inner: usize,
    /// The deepest run so far.
    deepest: usize,
    after_block: bool,
    after_arrow: bool,
}

impl Level {
    fn new(stream: TokenStream, braces: bool) -> Self {
        let tokens = stream.into_iter();
        Level { tokens, braces, run: 0, angles: 0, inner: 0, deepest: 0, after_block: false, after_arrow: false }
    }

    /// A new run begins.
    fn cut(&mut self) {
        self.deepest = self.deepest.max(self.run + self.angles + self.inner);
        self.run = 0;
        self.inner = 0;
    }

    fn depth(mut self) -> usize {
        self.cut();
        self.deepest
    }

    fn token(&mut self, token: &TokenTree) {
        let (mut arrow, mut begins) = (false, false);
        match token {
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => {
                    self.cut();
                    self.angles = 0;
                }
                ',' => self.cut(),
                '<' => self.angles += 1,
                '>' if !self.after_arrow => self.angles = self.angles.saturating_sub(1),
                '-' | '=' => arrow = true,
                '#' => begins = true,
                _ => {}
            },
            TokenTree::Ident(ident) => begins = *ident != "else" && *ident != "as",
            TokenTree::Literal(_) => begins = true,
            TokenTree::Group(_) => {}
        }
        if self.after_block && begins {
            self.cut();
            self.angles = 0;
        }
        self.run += 1;
        self.after_block = false;
        self.after_arrow = arrow;
    }
}

/// Whether the tokens can be parsed on our stack. Every level of recursion takes a token, and where a statement or an item
/// of a list ends, it is at the level where that began; so the longest way through the brackets bounds the depth.
fn is_shallow(stream: TokenStream) -> bool {
    let mut above: Vec<Level> = Vec::new();
    let mut level = Level::new(stream, false);
    loop {
        if let Some(token) = level.tokens.next() {
            level.token(&token);
            if let TokenTree::Group(group) = token {
                let braces = group.delimiter() == Delimiter::Brace;
                above.push(std::mem::replace(&mut level, Level::new(group.stream(), braces)));
            }
        } else {
            let braces = level.braces;
            let depth = level.depth();
            let Some(outer) = above.pop() else { return depth <= MAX_DEPTH };
            level = outer;
            level.inner = level.inner.max(depth);
            level.after_block = braces;
        }
        if above.len() > MAX_BRACKETS || level.run > MAX_DEPTH {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses on the large stack and drops what was made there.
    fn outcome(text: &str) -> Result<(), Unparsed> {
        on_large_stack(|| parse(text).map(drop)).unwrap()
    }

    fn is_too_deep(text: &str) -> bool {
        matches!(outcome(text), Err(unparsed) if unparsed.why.contains("too deep"))
    }

    #[test]
    fn what_would_overflow_the_stack_is_refused() {
        let n = 50_000;
        for (open, middle, close) in [
            ("!", "x", ""),
            ("(", "1", ")"),
            ("{", "", "}"),
            ("[", "1", "]"),
            ("&", "x", ""),
            ("1+", "1", ""),
            ("|a|", "1", ""),
            ("if a {} else ", "{}", ""),
            ("if a {1} else {", "1", "}"),
            ("x::<A, ", "B", ">"),
            ("match a { _ => ", "1", "}"),
            ("return ", "1", ""),
            ("a as ", "b", ""),
            ("*", "x", ""),
            ("x = ", "1", ""),
            ("f(", "1", ")"),
        ] {
            let text = format!("fn f() {{ let x = {}{middle}{}; }}", open.repeat(n), close.repeat(n));
            assert!(is_too_deep(&text), "{open}");
        }
        for (open, middle, close) in
            [("Vec<", "u8", ">"), ("fn() -> ", "u8", ""), ("&", "u8", ""), ("A<u8, ", "u8", ">")]
        {
            let text = format!("type T = {}{middle}{};", open.repeat(n), close.repeat(n));
            assert!(is_too_deep(&text), "{open}");
        }
        assert!(is_too_deep(&format!("fn f() {{ x{} }}", ".a()".repeat(n))));
        assert!(is_too_deep(&format!("{}{}", "mod a {".repeat(n), "}".repeat(n))));
        assert!(is_too_deep(&format!("use {}a{};", "a::{".repeat(n), "}".repeat(n))));
    }

    #[test]
    fn what_is_just_let_through_does_not_overflow_the_stack() {
        for (open, middle, close, times) in [
            ("!", "x", "", 39_000),
            ("(", "1", ")", 1_400),
            ("{", "", "}", 1_400),
            ("1+", "1", "", 19_000),
            ("|a|", "1", "", 9_000),
            ("if a {} else ", "{}", "", 9_000),
            ("match a { _ => ", "1", "}", 1_400),
            ("x::<A, ", "B", ">", 5_000),
            ("if a {1} else {", "1", "}", 1_400),
            ("&", "x", "", 39_000),
            ("f(", "1", ")", 1_400),
            ("return ", "1", "", 39_000),
        ] {
            let text = format!("fn f() {{ let x = {}{middle}{}; }}", open.repeat(times), close.repeat(times));
            // Whether it is Rust is another question than whether we survive it.
            assert!(!is_too_deep(&text), "{open}");
        }
        assert!(!is_too_deep(&format!("type T = {}u8{};", "Vec<".repeat(12_000), ">".repeat(12_000))));
    }

    #[test]
    fn long_files_are_not_deep() {
        let functions = "fn f(a: u8) -> u8 { if a < 1 { 2 } else { g(a, 3) } }\n".repeat(10_000);
        assert_eq!(outcome(&functions), Ok(()));
        let numbers = format!("static N: &[u8] = &[{}];", "1, ".repeat(100_000));
        assert_eq!(outcome(&numbers), Ok(()));
        let statements = format!("fn f() {{ {} }}", "loop {} if a < b {} g(); x.y = 1;".repeat(5_000));
        assert_eq!(outcome(&statements), Ok(()));
    }

    #[test]
    fn what_is_no_rust_is_told_with_its_line() {
        assert_eq!(outcome("fn f() {}\n\nfn {}\n").unwrap_err().line, 3);
        assert_eq!(outcome("fn f() {}\n\n\"\n").unwrap_err().line, 3);
        assert!(outcome("fn f() {").is_err());
        assert!(outcome("<<<<<<< HEAD\n").is_err());
    }

    #[test]
    fn scripts_and_byte_order_marks_are_rust_too() {
        assert_eq!(outcome("#!/usr/bin/env cargo\nfn f() {}\n"), Ok(()));
        assert_eq!(outcome("\u{feff}#![allow(unused)]\nfn f() {}\n"), Ok(()));
        assert_eq!(outcome("#!/bin/sh\n\nfn {}\n").unwrap_err().line, 3);
        assert_eq!(outcome(""), Ok(()));
    }

    #[test]
    fn a_file_that_is_no_text_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.rs");
        std::fs::write(&path, b"fn f() {}\n// \xff\n").unwrap();
        let unparsed = on_large_stack(|| read(&path).map(|_| ()).unwrap_err()).unwrap();
        assert_eq!((unparsed.line, unparsed.why.as_str()), (2, "is not UTF-8"));
        let gone = on_large_stack(|| read(&dir.path().join("b.rs")).map(|_| ()).unwrap_err()).unwrap();
        assert!(gone.why.contains("cannot be read"), "{gone:?}");
    }
}
