//! An advisory as its authors write it: TOML in Markdown.

use jiff::civil::Date;
use rustsec::advisory::Informational;

use super::DbError;
use crate::advisory::{Advisory, AdvisoryKind, Collection, Severity};

/// Reads one advisory; `None` for one that was withdrawn. `path` is what messages call it.
pub(super) fn read(path: &str, text: &str, collection: Collection) -> Result<Option<Advisory>, DbError> {
    let bad = |why: String| DbError::Advisory { path: path.to_owned(), why };
    let read: rustsec::Advisory = text.parse().map_err(|error: rustsec::Error| bad(error.to_string()))?;
    if read.withdrawn() {
        return Ok(None);
    }
    let meta = &read.metadata;
    let kind = match &meta.informational {
        None => AdvisoryKind::Vulnerability,
        Some(Informational::Unsound) => AdvisoryKind::Unsound,
        Some(Informational::Unmaintained) => AdvisoryKind::Unmaintained,
        Some(_) => AdvisoryKind::Notice,
    };
    let severity = read.severity().map_or(Severity::Unknown, Severity::from);
    let date: Date = meta.date.as_str().parse().map_err(|error| bad(format!("date: {error}")))?;
    let ranges = rustsec::osv::ranges_for_advisory(&read.versions);
    Ok(Some(Advisory {
        id: meta.id.as_str().to_owned(),
        package: meta.package.to_string(),
        collection,
        kind,
        aliases: meta.aliases.iter().map(|alias| alias.as_str().to_owned()).collect(),
        title: meta.title.clone(),
        date,
        url: meta.url.as_ref().map(ToString::to_string),
        severity,
        patched: read.versions.patched().to_vec(),
        ranges: ranges.into_iter().map(|range| (range.introduced, range.fixed)).collect(),
    }))
}
