//! What criterion leaves behind: a directory a benchmark, in it one for each set of results with `sample.json`, which has for each
//! sample how often the routine ran and how long that took in nanoseconds (criterion 0.5 to 0.8).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use maint_core::failure::Failure;
use serde::Deserialize;

/// Directories within directories: a group, a function, a value, and no more.
const DEEPEST: usize = 6;

#[derive(Debug, Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// One benchmark: nanoseconds of one run of the routine, sample by sample.
#[derive(Debug, Default)]
pub(super) struct Benchmark {
    pub(super) now: Vec<f64>,
    pub(super) before: Option<Vec<f64>>,
}

/// All benchmarks below a directory that have these results, by their paths.
///
/// # Errors
/// The directory or a file in it cannot be read.
pub(super) fn read(root: &Path, results: &str, baseline: &str) -> Result<BTreeMap<String, Benchmark>, Failure> {
    let mut found = BTreeMap::new();
    look(root, root, results, baseline, DEEPEST, &mut found)?;
    Ok(found)
}

fn look(
    root: &Path,
    directory: &Path,
    results: &str,
    baseline: &str,
    depth: usize,
    found: &mut BTreeMap<String, Benchmark>,
) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", directory.display()));
    if let Some(now) = sample(&directory.join(results).join("sample.json"))? {
        let before = sample(&directory.join(baseline).join("sample.json"))?;
        let name = directory.strip_prefix(root).unwrap_or(directory).display().to_string();
        found.insert(name, Benchmark { now, before });
    }
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_dir() && depth > 0 {
            look(root, &path, results, baseline, depth - 1, found)?;
        }
    }
    Ok(())
}

/// The samples of a file; `None` where there is none.
fn sample(path: &Path) -> Result<Option<Vec<f64>>, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let sample: Sample = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let is_whole = sample.iters.len() == sample.times.len() && !sample.iters.is_empty();
    let is_sane = sample.iters.iter().all(|count| *count >= 1.0) && sample.times.iter().all(|time| *time >= 0.0);
    if !(is_whole && is_sane) {
        return Err(wrong("counts and times do not fit together".to_owned()));
    }
    Ok(Some(sample.times.iter().zip(&sample.iters).map(|(time, count)| time / count).collect()))
}
