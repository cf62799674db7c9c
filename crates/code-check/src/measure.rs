//! The measures of a source file, taken from its syntax.
//!
//! - The lines of a function are those from `fn` to its closing brace.
//! - Cyclomatic complexity (McCabe, "A Complexity Measure", 1976) is one and one more for every `if`, `while`, `for`,
//!   `loop`, `let ... else`, `&&`, `||`, guard, and arm of a `match` but the first. `?` counts nothing: it hides no way
//!   that a reader must follow.
//! - Cognitive complexity (G. Ann Campbell, "Cognitive Complexity", SonarSource, 2018) counts what breaks the flow, and
//!   more the deeper it lies; a `match` counts once, however many arms it has.
//! - Nesting is how many blocks of control flow and closures lie inside of each other.
//!
//! A closure belongs to the function around it, a function inside of a function stands alone. What stands in a macro is not
//! parsed; only the word `unsafe` is found there, and paths from `crate`.

mod visit;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::source::Source;
use crate::syntax::{self, Unparsed};

/// The measures of a file.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Which file.
    pub source: Source,
    /// Its lines, without tests.
    pub lines: usize,
    /// The lines of tests in it.
    pub test_lines: usize,
    /// Lines without tests that are neither empty nor a comment.
    pub code_lines: usize,
    /// Lines of tests that are neither empty nor a comment.
    pub test_code_lines: usize,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Its unsafe code.
    pub unsafes: Vec<Unsafe>,
    /// How many items it has that are `pub`, tests left out.
    pub public_items: usize,
    /// The paths of its own crate that it names outside of tests: from the crate's root, without `crate`.
    pub uses: BTreeSet<Vec<String>>,
    /// Where the modules are that it declares for tests only: files, or directories with everything in them.
    test_modules: Vec<PathBuf>,
}

#[cfg(test)]
impl Measured {
    pub(crate) fn for_tests(source: Source, lines: usize, test_lines: usize, functions: Vec<Function>) -> Self {
        Measured {
            source,
            lines,
            test_lines,
            code_lines: lines,
            test_code_lines: test_lines,
            functions,
            unsafes: Vec::new(),
            public_items: 0,
            uses: BTreeSet::new(),
            test_modules: Vec::new(),
        }
    }
}

/// The measures of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name with all that it is in: `crate::module::Type::method`.
    pub path: String,
    /// Where it begins.
    pub line: usize,
    /// How long it is.
    pub lines: usize,
    /// Ways through it.
    pub cyclomatic: usize,
    /// How hard it is to follow.
    pub cognitive: usize,
    /// Blocks inside of blocks.
    pub nesting: usize,
    /// It is test code.
    pub test: bool,
}

/// One place with unsafe code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsafe {
    /// Where.
    pub line: usize,
    /// `block`, `function`, `impl`, `trait`, or `macro` for the word in a macro.
    pub what: &'static str,
}

/// A file that could not be measured.
#[derive(Debug, Clone)]
pub struct Unmeasured {
    /// Which file.
    pub source: Source,
    /// Why.
    pub why: Unparsed,
}

/// Parses and measures files, until `stop` says so. Call it inside of [`syntax::on_large_stack`].
pub fn measure(sources: Vec<Source>, stop: impl Fn() -> bool) -> (Vec<Measured>, Vec<Unmeasured>) {
    let (mut measured, mut unmeasured) = (Vec::new(), Vec::new());
    for source in sources {
        if stop() {
            break;
        }
        match syntax::read(&source.path) {
            Ok(parsed) => measured.push(visit::file(source, &parsed)),
            Err(why) => unmeasured.push(Unmeasured { source, why }),
        }
    }
    mark_tests(&mut measured);
    (measured, unmeasured)
}

/// A module that another file declares for tests only is test code, with all below it.
fn mark_tests(files: &mut [Measured]) {
    let declared: BTreeSet<PathBuf> = files.iter().flat_map(|file| file.test_modules.clone()).collect();
    for file in files {
        if file.source.test || file.source.path.ancestors().any(|path| declared.contains(path)) {
            file.source.test = true;
            file.test_lines += std::mem::take(&mut file.lines);
            file.test_code_lines += std::mem::take(&mut file.code_lines);
            file.public_items = 0;
            file.uses.clear();
            for function in &mut file.functions {
                function.test = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
