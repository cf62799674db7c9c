//! What an earlier run found: what is not in it is new.

use std::collections::BTreeSet;
use std::path::Path;

use maint_core::failure::Failure;
use serde_json::Value;

use crate::finding::Finding;
use crate::report::Report;

/// An earlier run's findings. Lock files have other paths on other machines, so only their names count.
#[derive(Debug)]
pub struct Baseline {
    known: BTreeSet<[String; 4]>,
}

impl Baseline {
    /// Reads the output of `security-audit -o ndjson`.
    ///
    /// # Errors
    /// It cannot be read, is no such output, or is one of a run that did not come to its end.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read the baseline {shown}: {error}")))?;
        let mut known = BTreeSet::new();
        let mut is_whole = false;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record: Value = serde_json::from_str(line)
                .map_err(|error| Failure::usage(format!("the baseline {shown}, line {}: {error}", index + 1)))?;
            let (kind, data) = (record.get("type").and_then(Value::as_str), record.get("data"));
            let task = data.and_then(|data| data.get("task")).and_then(Value::as_str);
            if task != Some("security-audit") {
                return Err(Failure::usage(format!("the baseline {shown}, line {}: it is of another task", index + 1))
                    .hint("`dep-audit security-audit -o ndjson >FILE` makes one"));
            }
            match (kind, data) {
                (Some("maint.finding.v1"), Some(data)) => {
                    let finding: Finding = serde_json::from_value(data.clone()).map_err(|error| {
                        Failure::usage(format!("the baseline {shown}, line {}: {error}", index + 1))
                    })?;
                    known.insert(key(&finding));
                }
                (Some("maint.summary.v1"), _) => is_whole = true,
                _ => {}
            }
        }
        if !is_whole {
            return Err(Failure::usage(format!("the baseline {shown} has no end: that run did not come to its own")));
        }
        Ok(Baseline { known })
    }

    /// Marks what it has.
    pub fn mark(&self, report: &mut Report) {
        for finding in &mut report.findings {
            finding.known = self.known.contains(&key(finding));
        }
    }
}

fn key(finding: &Finding) -> [String; 4] {
    let name = if finding.id.is_empty() { format!("{:?}", finding.kind) } else { finding.id.clone() };
    let file = finding.lockfile.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    [name, finding.package.clone(), finding.version.clone(), file]
}
