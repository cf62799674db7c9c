//! Logs on stderr through `tracing`: warnings by default, more with `-v`, by module with `RUST_LOG`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use std::io::IsTerminal;

/// A layer that a tool adds to the log, e.g. to capture a server's notices.
pub type ExtraLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. Calling it twice keeps the first.
pub fn init(verbose: u8, quiet: bool, extra: Option<ExtraLayer>) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let filter = match std::env::var("RUST_LOG").ok().map(|text| text.parse::<Targets>()) {
        Some(Ok(targets)) => targets,
        // A server's notices are part of records, and drivers are chatty: both only when asked for.
        _ => Targets::new()
            .with_default(level)
            .with_target("sqlx", if verbose > 2 { level } else { LevelFilter::ERROR })
            .with_target("sqlx::postgres::notice", if verbose > 0 { level } else { LevelFilter::OFF }),
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal();
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .without_time()
        // It would report a full stderr with a macro that panics when stderr is full.
        .log_internal_errors(false)
        .with_filter(filter);
    let _ = tracing_subscriber::registry().with(extra).with(log).try_init();
}
