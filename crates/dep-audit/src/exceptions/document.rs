//! The file of exceptions as somebody wrote it: changes leave comments and order alone.

use std::path::Path;

use jiff::civil::Date;
use maint_core::durable;
use maint_core::failure::Failure;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{Approval, Exception, ExceptionKind, Exceptions};

/// A file that is being changed.
#[derive(Debug)]
pub struct Document {
    inner: DocumentMut,
}

impl Document {
    /// Opens a file, or begins one where there is none.
    ///
    /// # Errors
    /// It cannot be read or does not hold.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        Exceptions::parse(path, &text)?;
        let inner = text.parse().map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Ok(Document { inner })
    }

    fn tables(&mut self) -> Result<&mut ArrayOfTables, Failure> {
        let item = self.inner.entry("exception").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        item.as_array_of_tables_mut()
            .ok_or_else(|| Failure::usage("the exceptions stand in one line: write each as a table [[exception]]"))
    }

    /// Adds one at the end.
    ///
    /// # Errors
    /// The file has another form.
    pub fn add(&mut self, one: &Exception) -> Result<(), Failure> {
        let mut table = table(one);
        // In a file of comments alone they all stand after everything; what is added is what they are about.
        let above = self.inner.trailing().as_str().unwrap_or_default().to_owned();
        if self.inner.is_empty() && !above.trim().is_empty() {
            table.decor_mut().set_prefix(above.trim_end().to_owned() + "\n");
            self.inner.set_trailing("");
        }
        self.tables()?.push(table);
        Ok(())
    }

    /// Gives the one at `index` another last day, and another reason where there is one.
    ///
    /// # Errors
    /// The file has another form.
    pub fn renew(&mut self, index: usize, until: Date, reason: Option<&str>) -> Result<(), Failure> {
        if let Some(table) = self.tables()?.get_mut(index) {
            table.insert("until", value(until.to_string()));
            if let Some(reason) = reason {
                table.remove("justification");
                table.insert("reason", value(reason));
            }
            if table.contains_key("status") {
                table.insert("status", value("approved"));
            }
        }
        Ok(())
    }

    /// Marks the one at `index` as not in force any more.
    ///
    /// # Errors
    /// The file has another form.
    pub fn revoke(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(table) = self.tables()?.get_mut(index) {
            table.insert("status", value("revoked"));
        }
        Ok(())
    }

    /// Takes out those at the indices.
    ///
    /// # Errors
    /// The file has another form.
    pub fn remove(&mut self, indices: &[usize]) -> Result<(), Failure> {
        let tables = self.tables()?;
        let mut indices = indices.to_vec();
        indices.sort_unstable();
        for &index in indices.iter().rev() {
            if index < tables.len() {
                tables.remove(index);
            }
        }
        Ok(())
    }

    /// Reads it as everybody else will read it.
    ///
    /// # Errors
    /// It does not hold.
    pub fn check(&self, path: &Path) -> Result<Exceptions, Failure> {
        Exceptions::parse(path, &self.inner.to_string())
    }

    /// Writes it, after it was read as everybody else will read it.
    ///
    /// # Errors
    /// It does not hold, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<Exceptions, Failure> {
        let read = self.check(path)?;
        durable::replace(path, self.inner.to_string().as_bytes(), 0o644)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        Ok(read)
    }
}

fn table(one: &Exception) -> Table {
    let mut table = Table::new();
    let mut put = |name: &str, text: &str| {
        if !text.is_empty() {
            table.insert(name, value(text));
        }
    };
    put("id", &one.id);
    match one.kind {
        ExceptionKind::Vulnerability => {}
        ExceptionKind::Maintenance => put("kind", "maintenance"),
        ExceptionKind::License => put("kind", "license"),
    }
    put("crate", &one.package);
    put("version", &one.version.as_ref().map(ToString::to_string).unwrap_or_default());
    put("lockfile", &one.lockfile.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
    put("reason", &one.reason);
    put("owner", &one.owner);
    put("until", &one.until.to_string());
    put("mitigation", one.mitigation.as_deref().unwrap_or_default());
    put("approved_by", one.approved_by.as_deref().unwrap_or_default());
    for (name, day) in [("approval_date", one.approval_date), ("review_date", one.review_date)] {
        put(name, &day.map(|day| day.to_string()).unwrap_or_default());
    }
    match one.status {
        Approval::Approved => {}
        Approval::Pending => put("status", "pending"),
        Approval::Revoked => put("status", "revoked"),
    }
    table
}
