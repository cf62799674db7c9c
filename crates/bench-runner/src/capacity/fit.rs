//! `capacity fit`: what measured points say of the load that goes.

use std::path::Path;

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::run::Run;
use maint_core::status::Status;

use crate::cli::CapacityFitArgs;
use crate::table;
use crate::usl::{self, Estimate, Fit};
use crate::work::Work;

/// Reads the points, fits them, and tells what comes of it.
///
/// # Errors
/// The points cannot be read, or nothing fits them.
pub(super) fn run(args: &CapacityFitArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    work.subject = args.file.display().to_string();
    let points = read(&args.file)?;
    let fit = usl::fit(&points).ok_or_else(|| {
        Failure::usage(format!("{} points: nothing can be fitted to them", points.len()))
            .hint("at least three different loads of 1 and more are needed, each with a throughput above 0")
    })?;
    let highest = points.iter().map(|(load, _)| *load).fold(0.0, f64::max);
    tell(&fit, highest, work.run);
    if let Some(target) = args.target {
        work.run.emit(&needed(&fit, target, highest));
    }
    Ok(())
}

/// Tells of a fit to points up to a load.
pub(super) fn tell(fit: &Fit, highest: f64, run: &Run) {
    let told = [
        ("gamma", "throughput at a load of one", fit.gamma),
        ("alpha", "contention: the part that waits its turn", fit.alpha),
        ("beta", "coherency: the cost of agreeing", fit.beta),
    ];
    for (name, what, estimate) in told {
        run.emit(&parameter(name, what, estimate));
    }
    run.emit(&peak(fit, highest));
    run.result("r_squared", fit.r_squared);
    run.result("points", fit.points);
}

fn parameter(name: &str, what: &str, estimate: Estimate) -> Record {
    let shown = match estimate.margin {
        Some(margin) => format!("{:.6} ± {margin:.6} (95 %)", estimate.value),
        None => format!("{:.6}, how exactly is not known", estimate.value),
    };
    Record::new(Kind::Metric, name, Status::Ok, format!("{shown}; {what}"))
        .field("value", estimate.value)
        .field("margin", estimate.margin)
}

fn peak(fit: &Fit, highest: f64) -> Record {
    let record = |message: String| {
        Record::new(Kind::Metric, "peak", Status::Ok, message)
            .field("load", fit.peak())
            .field("throughput", fit.peak().map(|load| fit.throughput(load)))
            .field("is_measured", fit.peak().is_some_and(|load| load <= highest))
    };
    match fit.peak() {
        Some(load) if load <= highest => {
            record(format!("at a load of {load:.1}: {:.1}; more load gives less from there on", fit.throughput(load)))
        }
        // A curve says little about where nobody has measured.
        Some(load) => record(format!(
            "not within the measured loads (up to {highest}); the curve has it at {load:.1}: {:.1}",
            fit.throughput(load)
        )),
        None => record(format!("none within the measured loads (up to {highest}): more load has always given more")),
    }
}

/// The least load that gives a throughput, by halving below the peak, where the curve rises.
fn needed(fit: &Fit, target: f64, highest: f64) -> Record {
    let record = |status, message: String, load: Option<f64>| {
        Record::new(Kind::Check, format!("throughput {target}"), status, message).field("load", load)
    };
    let top = fit.peak().unwrap_or(highest * 1000.0);
    if fit.throughput(top) < target {
        let most = fit.throughput(top);
        return record(Status::Critical, format!("cannot be reached: the highest is {most:.1}"), None);
    }
    let (mut low, mut high) = (0.0, top);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if fit.throughput(middle) < target { low = middle } else { high = middle }
    }
    if high > highest {
        let message = format!("at a load of {high:.1} by the curve, but nobody has measured beyond {highest}");
        return record(Status::Warning, message, Some(high));
    }
    record(Status::Ok, format!("at a load of {high:.1}"), Some(high))
}

/// The columns `load` and `throughput` of a file with a heading.
fn read(path: &Path) -> Result<Vec<(f64, f64)>, Failure> {
    let name = path.display().to_string();
    let text = table::text(path)?;
    let mut rows = table::rows(&text);
    let heading = rows.next().map(|(_, cells)| cells).unwrap_or_default();
    let column = |wanted: &str| {
        heading.iter().position(|title| title.eq_ignore_ascii_case(wanted)).ok_or_else(|| {
            Failure::usage(format!("{name} has no column {wanted}"))
                .hint("the first line names the columns: load,throughput")
        })
    };
    let (load, throughput) = (column("load")?, column("throughput")?);
    let mut points = Vec::new();
    for (line, cells) in rows {
        let number = |title: &str, column: usize| {
            table::number(&name, line, title, cells.get(column).copied().unwrap_or_default())
        };
        points.push((number("load", load)?, number("throughput", throughput)?));
    }
    Ok(points)
}
