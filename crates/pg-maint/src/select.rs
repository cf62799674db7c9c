//! Choosing relations with `-t`, `-T`, `-n` and `-N`.
//!
//! A pattern is a name or has `*` and `?` in it, as a shell would match them; it stands for the table's name, or for
//! `schema.table` when it has a dot that is matched as one.

use maint_core::failure::Failure;
use wildmatch::WildMatch;

/// What to include and exclude. Nothing chosen means everything.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selection {
    /// Only these tables (NAME or SCHEMA.NAME, * and ? match; may be repeated)
    #[arg(short = 't', long = "table", value_name = "PATTERN")]
    pub tables: Vec<String>,
    /// Not these tables
    #[arg(short = 'T', long = "exclude-table", value_name = "PATTERN")]
    pub exclude_tables: Vec<String>,
    /// Only these schemas
    #[arg(short = 'n', long = "schema", value_name = "PATTERN")]
    pub schemas: Vec<String>,
    /// Not these schemas
    #[arg(short = 'N', long = "exclude-schema", value_name = "PATTERN")]
    pub exclude_schemas: Vec<String>,
}

impl Selection {
    /// Whether the table is chosen.
    pub fn includes(&self, schema: &str, table: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches_table(pattern, schema, table));
        let in_schema = |patterns: &[String]| patterns.iter().any(|pattern| WildMatch::new(pattern).matches(schema));
        (self.tables.is_empty() || named(&self.tables))
            && (self.schemas.is_empty() || in_schema(&self.schemas))
            && !named(&self.exclude_tables)
            && !in_schema(&self.exclude_schemas)
    }

    /// A pattern that matches nothing is a mistake that must not look like a finished job.
    ///
    /// # Errors
    /// Names the first such pattern.
    pub fn check(&self, tables: &[(&str, &str)], place: &str) -> Result<(), Failure> {
        for pattern in self.tables.iter().chain(&self.exclude_tables) {
            if !tables.iter().any(|(schema, table)| matches_table(pattern, schema, table)) {
                return Err(Failure::usage(format!("no table in {place} matches `{pattern}`")));
            }
        }
        for pattern in self.schemas.iter().chain(&self.exclude_schemas) {
            if !tables.iter().any(|(schema, _)| WildMatch::new(pattern).matches(schema)) {
                return Err(Failure::usage(format!("no schema with a table in {place} matches `{pattern}`")));
            }
        }
        Ok(())
    }
}

fn matches_table(pattern: &str, schema: &str, table: &str) -> bool {
    let matcher = WildMatch::new(pattern);
    matcher.matches(table) || matcher.matches(&format!("{schema}.{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(tables: &[&str], exclude: &[&str]) -> Selection {
        Selection {
            tables: tables.iter().map(|text| (*text).to_owned()).collect(),
            exclude_tables: exclude.iter().map(|text| (*text).to_owned()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn a_name_matches_with_and_without_its_schema() {
        assert!(select(&["orders"], &[]).includes("public", "orders"));
        assert!(select(&["public.orders"], &[]).includes("public", "orders"));
        assert!(select(&["We\"ird Näme.x"], &[]).includes("public", "We\"ird Näme.x"));
        assert!(!select(&["order"], &[]).includes("public", "orders"));
        assert!(!select(&["o*"], &["*.orders"]).includes("public", "orders"));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let tables = [("public", "orders")];
        let error = select(&["ordres"], &[]).check(&tables, "db").unwrap_err();
        assert!(error.message.contains("`ordres`"), "{error}");
    }
}
