//! The writers: one stream of records, five ways to write it on stdout.
//!
//! `ndjson` writes each record as it comes. `json`, `table`, `prometheus` and `nagios` need the whole run before they
//! can print (an array, column widths, one family per metric, one line), so they hold the records until the end.
//!
//! Details (one record a key, say, of which there may be millions) are for readers of events only: `ndjson` and `json`
//! write them, buffered, and the others, which would have to hold them all, leave them out.
//!
//! A reader that closes the pipe (`| head`) ends the output quietly; the work and the exit code are not touched by it.

use std::io::{self, IsTerminal, Write};

use crate::record::{Envelope, Record};
use crate::status::Severity;

mod nagios;
mod prometheus;
mod table;

/// What is gathered of details before it is written, in bytes.
const BUFFER: usize = 64 * 1024;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One CloudEvents event a line.
    Ndjson,
    /// The same events as one array.
    Json,
    /// Exposition text for node_exporter's textfile collector.
    Prometheus,
    /// One line with perfdata, for monitoring-plugins consumers.
    Nagios,
    /// A document of the command's own, by its form's name, which only that command's `-o` knows. Records are counted and
    /// journalled, and only the document is written.
    #[value(skip)]
    Document(&'static str),
}

/// Writes the records of one run.
pub struct Writer<W: Write = io::Stdout> {
    format: Format,
    columns: &'static [&'static str],
    tool: &'static str,
    colour: bool,
    held: Vec<Record>,
    written: usize,
    closed: bool,
    out: io::BufWriter<W>,
}

impl Writer<io::Stdout> {
    /// A writer on stdout. `columns` names the fields that the table shows between subject and message.
    pub fn stdout(format: Format, tool: &'static str, columns: &'static [&'static str]) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stdout().is_terminal();
        Writer { colour, ..Writer::new(io::stdout(), format, tool, columns) }
    }
}

impl<W: Write> Writer<W> {
    /// A writer on `out`, without colour.
    pub fn new(out: W, format: Format, tool: &'static str, columns: &'static [&'static str]) -> Self {
        Writer {
            format,
            columns,
            tool,
            colour: false,
            held: Vec::new(),
            written: 0,
            closed: false,
            out: io::BufWriter::with_capacity(BUFFER, out),
        }
    }

    /// Takes one record; `line` is its event as JSON text.
    ///
    /// # Errors
    /// Writing failed for another reason than a closed pipe.
    pub fn emit(&mut self, record: &Record, line: &str) -> io::Result<()> {
        if matches!(self.format, Format::Table | Format::Prometheus | Format::Nagios) {
            self.held.push(record.clone());
        }
        self.forward(line)
    }

    /// Takes one of many records that are details, as JSON text. It may stay in a buffer until the next that is none.
    ///
    /// # Errors
    /// As [`Writer::emit`].
    pub fn detail(&mut self, line: &str) -> io::Result<()> {
        self.event(line)
    }

    /// Whether the reader has closed the pipe, so that nothing written from now on reaches anybody.
    pub fn reader_is_gone(&self) -> bool {
        self.closed
    }

    /// Writes what the buffer holds.
    ///
    /// # Errors
    /// As [`Writer::emit`].
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.quiet(result)
    }

    /// Writes an event, JSON text on one line, where events are what is written.
    ///
    /// # Errors
    /// As [`Writer::emit`].
    pub fn forward(&mut self, line: &str) -> io::Result<()> {
        self.event(line)?;
        self.flush()
    }

    /// Writes a document, or a part of one, as it is.
    ///
    /// # Errors
    /// As [`Writer::emit`].
    pub fn document(&mut self, content: &[u8]) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.out.write_all(content);
        self.quiet(result)
    }

    fn event(&mut self, line: &str) -> io::Result<()> {
        match self.format {
            Format::Ndjson => self.write(format_args!("{line}\n")),
            Format::Json => {
                let lead = if self.written == 0 { "[\n" } else { ",\n" };
                self.written += 1;
                self.write(format_args!("{lead}{line}"))
            }
            Format::Table | Format::Prometheus | Format::Nagios | Format::Document(_) => Ok(()),
        }
    }

    /// Prints what was held. The last record held is the summary of the run.
    ///
    /// # Errors
    /// Writing failed for another reason than a closed pipe.
    pub fn finish(&mut self, envelope: &Envelope) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let result = match self.format {
            Format::Ndjson | Format::Document(_) => Ok(()),
            Format::Json => self.write(format_args!("{}", if self.written == 0 { "[]\n" } else { "\n]\n" })),
            Format::Table => {
                let text = table::render(&held, self.columns, self.colour);
                self.write(format_args!("{text}"))
            }
            Format::Prometheus => {
                let text = prometheus::render(&held, self.tool, &envelope.task);
                self.write(format_args!("{text}"))
            }
            Format::Nagios => {
                let text = nagios::render(&held, self.tool);
                self.write(format_args!("{text}\n"))
            }
        };
        result.and_then(|()| self.flush())
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let result = self.out.write_fmt(text);
        self.quiet(result)
    }

    /// A pipe that the reader closed is no error.
    fn quiet(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result if self.closed => {
                drop(result);
                Ok(())
            }
            result => result,
        }
    }
}

/// A numeric field's value for people, in the unit that its name ends with.
pub fn humanize(name: &str, value: f64) -> String {
    use crate::units::{format_bytes, format_ratio, format_seconds};
    if name.ends_with("_bytes") && value >= 0.0 {
        format_bytes(value as u64)
    } else if name.ends_with("_seconds") {
        format_seconds(value)
    } else if name.ends_with("_ratio") {
        format_ratio(value)
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;
    use crate::status::Status;

    fn written(format: Format, records: &[Record]) -> String {
        let envelope = Envelope::new("pg-maint", "vacuum-analyze");
        let mut writer = Writer::new(Vec::new(), format, "pg-maint", &["size_bytes"]);
        for record in records {
            let line = serde_json::to_string(&envelope.seal(record)).unwrap();
            writer.emit(record, &line).unwrap();
        }
        writer.finish(&envelope).unwrap();
        String::from_utf8(writer.out.into_inner().unwrap()).unwrap()
    }

    fn sample() -> Vec<Record> {
        vec![
            Record::new(Kind::Step, "public.a", Status::Ok, "vacuumed").field("size_bytes", 8192),
            Record::new(Kind::Step, "public.b", Status::Deferred, "locked by \"x\" | pid 7\nsince noon"),
            Record::new(Kind::Summary, "db", Status::Deferred, "1 of 2 done")
                .field("exit_code", 1)
                .field("duration_seconds", 1.5),
        ]
    }

    #[test]
    fn json_is_one_array_even_when_nothing_was_written() {
        let array: Vec<serde_json::Value> = serde_json::from_str(&written(Format::Json, &sample())).unwrap();
        assert_eq!(array.len(), 3);
        assert_eq!(written(Format::Json, &[]), "[]\n");
    }

    #[test]
    fn ndjson_is_one_event_a_line() {
        let text = written(Format::Ndjson, &sample());
        assert_eq!(text.lines().count(), 3);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn nagios_is_one_line_and_a_bar_in_a_message_cannot_start_perfdata() {
        let text = written(Format::Nagios, &sample());
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with("PG-MAINT WARNING - 1 of 2 done"), "{text}");
        assert_eq!(text.matches('|').count(), 1, "{text}");
    }

    #[test]
    fn prometheus_has_no_timestamps_and_no_series_twice() {
        let mut records = sample();
        records.push(records[0].clone());
        let text = written(Format::Prometheus, &records);
        let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let mut names: Vec<_> = series.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len(), "{text}");
        assert!(text.contains("pg_maint_vacuum_analyze_size_bytes{subject=\"public.a\"} 8192\n"), "{text}");
    }

    #[test]
    fn a_closed_pipe_is_quiet() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = Writer::new(Closed, Format::Ndjson, "pg-maint", &[]);
        let record = &sample()[0];
        writer.emit(record, "{}").unwrap();
        writer.emit(record, "{}").unwrap();
    }
}
