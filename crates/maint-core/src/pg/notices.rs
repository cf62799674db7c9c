//! Notices and warnings of the server, handed to the session that caused them.
//!
//! The driver reads a notice and gives its text to `tracing`, under the target `sqlx::postgres::notice`, and nowhere
//! else. [`layer`] puts it back where it belongs. The event is raised while the statement's own future is polled, so a
//! task-local that holds for exactly that time names the session without any registry or span, however many sessions
//! share the process or the thread.
//!
//! Only severity and text survive. The text depends on version and language: show it, never decide by it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The target that the driver logs notices under. Exclude it from the log's own layer if they would show up twice.
pub const TARGET: &str = "sqlx::postgres::notice";

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `DEBUG1` to `DEBUG5`.
    Debug,
    /// `INFO` (as from `VERBOSE`) or `LOG`.
    Info,
    /// `NOTICE`.
    Notice,
    /// `WARNING`.
    Warning,
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How grave it is.
    pub severity: Severity,
    /// In the server's language.
    pub message: String,
}

tokio::task_local! {
    static SINK: Arc<Mutex<Vec<Notice>>>;
}

/// Runs `future` and returns the notices that arrived in it beside its output.
///
/// Needs [`layer`] in the program's subscriber; without it the list is empty. Captures nest: the innermost gets the notice.
pub async fn capture<F: Future>(future: F) -> (F::Output, Vec<Notice>) {
    let sink = Arc::new(Mutex::new(Vec::new()));
    let output = SINK.scope(Arc::clone(&sink), future).await;
    let notices = std::mem::take(&mut *sink.lock().unwrap_or_else(PoisonError::into_inner));
    (output, notices)
}

/// The layer that feeds [`capture`]. Add it once, to the program's subscriber.
///
/// It brings its own filter. Filter the other layers with `with_filter`, not globally: a global filter for warnings would
/// keep notices from ever being made.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    NoticeLayer.with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
}

struct NoticeLayer;

impl<S: Subscriber> Layer<S> for NoticeLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        // The driver's mapping: see `PgStream::recv`.
        let severity = match level {
            Level::ERROR | Level::WARN => Severity::Warning,
            Level::INFO => Severity::Notice,
            Level::DEBUG => Severity::Debug,
            Level::TRACE => Severity::Info,
        };
        let mut text = Text(String::new());
        event.record(&mut text);
        // Outside a capture nobody asked for it.
        let _ = SINK.try_with(|sink| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(Notice { severity, message: text.0 });
        });
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn subscriber() -> impl Subscriber {
        tracing_subscriber::registry()
            .with(layer())
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink).with_filter(LevelFilter::ERROR))
    }

    #[tokio::test]
    async fn each_capture_gets_its_own_notices_even_when_interleaved() {
        let _guard = tracing::subscriber::set_default(subscriber());
        let session = |name: &'static str| {
            capture(async move {
                for _ in 0..3 {
                    tracing::info!(target: TARGET, message = name);
                    tokio::task::yield_now().await;
                }
            })
        };
        let (((), a), ((), b)) = tokio::join!(session("a"), session("b"));
        assert_eq!(a, vec![Notice { severity: Severity::Notice, message: "a".to_owned() }; 3]);
        assert_eq!(b, vec![Notice { severity: Severity::Notice, message: "b".to_owned() }; 3]);
    }

    #[tokio::test]
    async fn severities_follow_the_drivers_levels_and_other_targets_are_left_alone() {
        let _guard = tracing::subscriber::set_default(subscriber());
        let ((), notices) = capture(async {
            tracing::warn!(target: TARGET, message = "w");
            tracing::trace!(target: TARGET, message = "i");
            tracing::debug!(target: TARGET, message = "d");
            tracing::warn!("not a notice");
        })
        .await;
        let severities: Vec<_> = notices.iter().map(|n| n.severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Info, Severity::Debug]);
    }
}
