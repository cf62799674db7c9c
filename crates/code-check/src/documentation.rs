//! `documentation`: what is not documented, and what is documented and not true.

mod examples;
mod help;
mod items;
mod links;
mod reference;
mod shell;

use std::collections::BTreeMap;
use std::path::PathBuf;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::{DocumentationArgs, DocumentationPart, SECTION};
use crate::markdown::Page;
use crate::source::{Exclude, pages};
use crate::work::Work;
use crate::workspace::Workspace;

/// A larger page is no page.
const MAX_BYTES: u64 = 16 << 20;

/// The pages of the workspace, by path.
type Pages = BTreeMap<PathBuf, Page>;

/// Does the parts that are asked for.
///
/// # Errors
/// The settings do not hold, cargo cannot run, or we were asked to stop.
pub fn run(args: &DocumentationArgs, workspace: &Workspace, work: &mut Work<'_>) -> Result<(), Failure> {
    work.settings.flag(&SECTION, "bin_dir", args.bin_dir.as_ref().map(|path| path.display().to_string()))?;
    work.settings.flag(&SECTION, "example_timeout", args.example_timeout)?;
    let wanted = |part: DocumentationPart| args.only.is_empty() || args.only.contains(&part);
    let pages = read(&Exclude::load(&args.exclude, workspace, work)?, workspace, work);
    let bin_dir: Option<PathBuf> = work.settings.optional(&SECTION, "bin_dir")?;
    let bin_dir = bin_dir.unwrap_or_else(|| workspace.target.join("debug"));
    let bin_dir = std::path::absolute(&bin_dir).unwrap_or(bin_dir);
    if wanted(DocumentationPart::Links) {
        links::run(&pages, workspace, work);
    }
    if wanted(DocumentationPart::Reference) {
        reference::run(&pages, &bin_dir, workspace, work)?;
    }
    if args.run_examples {
        examples::run(&pages, &bin_dir, workspace, work)?;
    }
    if wanted(DocumentationPart::Items) {
        items::run(workspace, work)?;
    }
    Ok(())
}

fn read(exclude: &Exclude, workspace: &Workspace, work: &Work<'_>) -> Pages {
    let found = pages(workspace, exclude);
    let unread = |place: &str, why: String| {
        work.run.emit(&Record::new(Kind::Finding, place, Status::Unknown, why).field("kind", "unread"));
    };
    for problem in found.problems {
        unread("pages", problem);
    }
    let mut pages = BTreeMap::new();
    for path in found.files {
        let shown = workspace.shown(&path);
        match std::fs::metadata(&path)
            .and_then(|meta| if meta.len() > MAX_BYTES { Ok(None) } else { std::fs::read(&path).map(Some) })
        {
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => drop(pages.insert(path, Page::read(&text))),
                Err(_) => unread(&shown, "is not UTF-8".to_owned()),
            },
            Ok(None) => unread(&shown, "is too large to be a page".to_owned()),
            Err(error) => unread(&shown, format!("cannot be read: {error}")),
        }
    }
    pages
}

/// Something that is not true at a place of a page.
fn finding(kind: &str, shown: &str, line: usize, message: String) -> Record {
    Record::new(Kind::Finding, format!("{shown}:{line}"), Status::Warning, message)
        .field("kind", kind)
        .field("file", shown)
        .field("line", line)
}

/// What a part adds up to.
fn total(kind: &str, what: &str, checked: usize, findings: usize) -> Record {
    let (status, message) = match findings {
        0 => (Status::Ok, format!("{what}: all {checked} hold")),
        1 => (Status::Warning, format!("{what}: 1 of {checked} does not hold")),
        _ => (Status::Warning, format!("{what}: {findings} of {checked} do not hold")),
    };
    Record::new(Kind::Check, kind, status, message)
        .field("kind", kind)
        .field("checked", checked)
        .field("findings", findings)
}
