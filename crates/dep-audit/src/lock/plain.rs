//! The quick way through a lock file that cargo wrote: one key a line, in the form that it has written since 1.53.
//!
//! Anything else (an older form, a merge conflict, somebody's own layout, a value with an escape) is left to the library,
//! which reads all of TOML and says what is wrong. So this part never judges a file: it reads it, or it says "not mine".

use std::collections::HashMap;

use rustsec::cargo_lock::{Dependency, Package, SourceId};
use semver::Version;

use super::Locked;

/// The packages of a text, in its order; `None` when it is not in the form that is read here.
pub(super) fn packages(text: &str) -> Option<Vec<Locked>> {
    let blocks = blocks(text)?;
    let mut sources = Sources::default();
    let mut packages = Vec::with_capacity(blocks.len());
    let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        places.entry(block.name).or_default().push(index);
        packages.push(Locked {
            package: Package {
                name: block.name.parse().ok()?,
                version: Version::parse(block.version).ok()?,
                source: match block.source {
                    Some(source) => Some(sources.of(source)?),
                    None => None,
                },
                checksum: block.checksum.map(str::parse).transpose().ok()?,
                dependencies: Vec::new(),
                replace: None,
            },
            line: block.line,
        });
    }
    for (index, block) in blocks.iter().enumerate() {
        let mut needed = Vec::with_capacity(block.dependencies.len());
        for dependency in &block.dependencies {
            needed.push(resolve(dependency, &places, &packages, &mut sources)?);
        }
        packages.get_mut(index)?.package.dependencies = needed;
    }
    Some(packages)
}

/// One `[[package]]`, as it stands there.
#[derive(Default)]
struct Block<'a> {
    line: usize,
    name: &'a str,
    version: &'a str,
    source: Option<&'a str>,
    checksum: Option<&'a str>,
    dependencies: Vec<&'a str>,
}

fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut is_explicit = false;
    let mut in_list = false;
    for (index, line) in text.lines().enumerate() {
        if in_list {
            if line == "]" {
                in_list = false;
            } else {
                found.last_mut()?.dependencies.push(string(line.strip_prefix(' ')?.strip_suffix(',')?)?);
            }
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[package]]" {
            found.push(Block { line: index + 1, ..Block::default() });
            continue;
        }
        let (key, value) = line.split_once(" = ")?;
        match (found.last_mut(), key) {
            // Forms 3 and 4 say so; the ones before them have other rules.
            (None, "version") if matches!(value, "3" | "4") && !is_explicit => is_explicit = true,
            (Some(block), "name") if block.name.is_empty() => block.name = string(value)?,
            (Some(block), "version") if block.version.is_empty() => block.version = string(value)?,
            (Some(block), "source") if block.source.is_none() => block.source = Some(string(value)?),
            (Some(block), "checksum") if block.checksum.is_none() => block.checksum = Some(string(value)?),
            (Some(block), "dependencies") if block.dependencies.is_empty() && value == "[" => in_list = true,
            _ => return None,
        }
    }
    let is_whole = is_explicit && !in_list && found.iter().all(|block| !block.name.is_empty());
    is_whole.then_some(found)
}

/// A string in quotes without any escape.
fn string(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.bytes().any(|byte| byte == b'"' || byte == b'\\' || byte < 0x20 || byte == 0x7f)).then_some(inner)
}

/// A dependency is written as shortly as it is still clear: `name`, `name version`, `name version (source)`.
fn resolve<'a>(
    text: &'a str,
    places: &HashMap<&str, Vec<usize>>,
    packages: &[Locked],
    sources: &mut Sources<'a>,
) -> Option<Dependency> {
    let mut parts = text.split(' ');
    let name = parts.next()?;
    let version = parts.next().map(Version::parse).transpose().ok()?;
    if let Some(source) = parts.next() {
        let source = source.strip_prefix('(')?.strip_suffix(')')?;
        let named = Dependency { name: name.parse().ok()?, version: version?, source: Some(sources.of(source)?) };
        return parts.next().is_none().then_some(named);
    }
    let mut named = places.get(name)?.iter().filter_map(|&index| packages.get(index)).map(|locked| &locked.package);
    let package = named.find(|package| version.as_ref().is_none_or(|version| *version == package.version))?;
    Some(Dependency::from(package))
}

/// Sources by their text: nearly all packages of a file share one.
#[derive(Default)]
struct Sources<'a>(Vec<(&'a str, SourceId)>);

impl<'a> Sources<'a> {
    fn of(&mut self, text: &'a str) -> Option<SourceId> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| *known == text) {
            return Some(known.clone());
        }
        let source = SourceId::from_url(text).ok()?;
        self.0.push((text, source.clone()));
        Some(source)
    }
}
