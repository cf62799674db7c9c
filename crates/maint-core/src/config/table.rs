//! Tables whose names the user chooses: `[tool.sets.NAME]`.
//!
//! Their keys are the fields of a type, so there is no second list of them: the type is asked for its fields before it is
//! read, and a key that it does not have is named with the one that was probably meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::value::Error as ProbeError;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Section, Settings, nearest};
use crate::failure::Failure;

impl Settings {
    /// The tables `[SECTION.NAME.*]` of the file, by their last name; empty when there are none. `name` must be one of the
    /// section's [`tables`](Section::tables).
    ///
    /// # Errors
    /// Something there is no table, has a key that `T` does not have, lacks one that it needs, or a value that does not
    /// fit; the message names file, line and key.
    pub fn table<T: DeserializeOwned>(&self, section: &Section, name: &str) -> Result<BTreeMap<String, T>, Failure> {
        if !section.tables.contains(&name) {
            return Err(Failure::usage(format!("[{}] has no tables `{name}`", section.name)));
        }
        let Some(path) = self.file() else { return Ok(BTreeMap::new()) };
        let source = Text { path, text: &self.text };
        let root = source.parse()?;
        let Some(section_value) = root.get_ref().get(section.name) else { return Ok(BTreeMap::new()) };
        let within = source.table(section_value, section.name)?;
        source.tables(within, name, &format!("{}.{name}", section.name))
    }
}

/// A file of its own for such tables, for a tool that has many of them: `[NAME.*]` at its top, without the section's name.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// Reads a file that may have the tables `known` and nothing else.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or has something else at its top; the message names file, line and key.
    pub fn load(path: &Path, known: &[&str]) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        let source = Text { path, text: &text };
        for (key, _) in source.parse()?.get_ref() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let nearest = nearest(name, known.iter().copied());
                return Err(source.failure(Some(key.span()), &format!("unknown table `{name}`{nearest}")));
            }
        }
        Ok(Document { path: path.to_owned(), text })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tables `[NAME.*]`, as [`Settings::table`] reads them.
    ///
    /// # Errors
    /// As there.
    pub fn table<T: DeserializeOwned>(&self, name: &str) -> Result<BTreeMap<String, T>, Failure> {
        let source = Text { path: &self.path, text: &self.text };
        source.tables(source.parse()?.get_ref(), name, name)
    }
}

type Span = std::ops::Range<usize>;

/// A file's text, to say where in it something is.
struct Text<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'t> Text<'t> {
    fn parse(&self) -> Result<Spanned<DeTable<'t>>, Failure> {
        DeTable::parse(self.text).map_err(|error| self.failure(error.span(), error.message()))
    }

    /// The tables below `name`, by the name that the user chose; `full` is how the user would write `name`.
    fn tables<T: DeserializeOwned>(
        &self,
        within: &DeTable<'_>,
        name: &str,
        full: &str,
    ) -> Result<BTreeMap<String, T>, Failure> {
        let Some(value) = within.get(name) else { return Ok(BTreeMap::new()) };
        let mut tables = BTreeMap::new();
        for (key, value) in self.table(value, full)? {
            let full = format!("{full}.{}", key.get_ref());
            tables.insert(key.get_ref().to_string(), self.read(key.span(), value, &full)?);
        }
        Ok(tables)
    }

    fn failure(&self, span: Option<Span>, message: &str) -> Failure {
        let start = span.map_or(0, |span| span.start);
        let line = self.text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
        Failure::usage(format!("{}:{line}: {message}", self.path.display()))
    }

    fn table<'v, 'i>(&self, value: &'v Spanned<DeValue<'i>>, name: &str) -> Result<&'v DeTable<'i>, Failure> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.failure(Some(value.span()), &format!("`{name}` must be a table: write [{name}]"))),
        }
    }

    fn read<T: DeserializeOwned>(&self, header: Span, value: &Spanned<DeValue<'_>>, name: &str) -> Result<T, Failure> {
        let entries = self.table(value, name)?;
        let known = fields::<T>();
        for (key, _) in entries {
            let written = key.get_ref().as_ref();
            if !known.is_empty() && !known.contains(&written) {
                let nearest = nearest(written, known.iter().copied());
                return Err(self.failure(Some(key.span()), &format!("unknown key `{written}` in [{name}]{nearest}")));
            }
        }
        T::deserialize(value.clone().into_deserializer()).map_err(|error| {
            let at = error.span().unwrap_or_else(|| header.clone());
            let holds = |value: &Spanned<DeValue<'_>>| value.span().contains(&at.start);
            match entries.iter().find(|(_, value)| holds(value)) {
                Some((key, _)) => {
                    self.failure(Some(at), &format!("[{name}] {}: {}", key.get_ref(), error.message().trim_end()))
                }
                // What is missing has no place of its own.
                None => self.failure(Some(header.clone()), &format!("[{name}]: {}", error.message().trim_end())),
            }
        })
    }
}

/// The fields of a type that is read from a table; none for a type that takes any key.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // It always fails: the question was only what it asks for.
    let _ = T::deserialize(Probe(&mut found));
    found
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = ProbeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeError> {
        Err(ProbeError::custom("only asked"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ProbeError> {
        *self.0 = fields;
        Err(ProbeError::custom("only asked"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    static TOOL: Section = Section { name: "backup-tool", keys: &[], tables: &["sets", "others"] };

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Set {
        paths: Vec<String>,
        #[serde(default)]
        exclude: Vec<String>,
        #[serde(default)]
        deep: bool,
    }

    fn load(text: &str) -> Result<BTreeMap<String, Set>, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maint.toml");
        std::fs::write(&path, text).unwrap();
        let settings = Settings::from_parts(Some(path), &[&TOOL], |_| None)?;
        settings.table(&TOOL, "sets")
    }

    fn refusal(text: &str) -> String {
        load(text).unwrap_err().message
    }

    #[test]
    fn every_table_below_the_name_is_read_whichever_way_it_is_written() {
        let text = "[backup-tool.sets.etc]\npaths = ['/etc']\nexclude = ['*.swp']\n\n\
            [backup-tool.sets]\nweb = { paths = ['/srv/www'], deep = true }\n\
            'with space'.paths = []\n";
        let tables = load(text).unwrap();
        let expected = |paths: &[&str], exclude: &[&str], deep| Set {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect(),
            deep,
        };
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["etc", "web", "with space"]);
        assert_eq!(tables["etc"], expected(&["/etc"], &["*.swp"], false));
        assert_eq!(tables["web"], expected(&["/srv/www"], &[], true));
    }

    #[test]
    fn no_file_no_section_and_no_tables_are_all_nothing() {
        assert!(load("").unwrap().is_empty());
        assert!(load("[backup-tool]\n").unwrap().is_empty());
        assert!(load("[backup-tool.others.x]\npaths = 3\n").unwrap().is_empty(), "tables of another name");
        let settings = Settings::from_parts(None, &[&TOOL], |_| None).unwrap();
        assert!(settings.table::<Set>(&TOOL, "sets").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_key_is_named_with_line_and_nearest() {
        let message = refusal("[backup-tool.sets.etc]\npaths = ['/etc']\nexlude = []\n");
        assert!(
            message.ends_with("maint.toml:3: unknown key `exlude` in [backup-tool.sets.etc]; did you mean `exclude`?"),
            "{message}"
        );
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_line_and_key() {
        let message = refusal("[backup-tool.sets.etc]\n\npaths = '/etc'\n");
        assert!(message.contains("maint.toml:3: [backup-tool.sets.etc] paths: invalid type: string"), "{message}");
        let message = refusal("[backup-tool.sets.etc]\npaths = [\n  '/etc',\n  4,\n]\n");
        assert!(message.contains("maint.toml:4: [backup-tool.sets.etc] paths: invalid type: integer"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named_with_the_line_of_its_table() {
        let message = refusal("# c\n[backup-tool.sets.etc]\nexclude = []\n");
        assert!(message.contains("maint.toml:2: [backup-tool.sets.etc]: missing field `paths`"), "{message}");
    }

    #[test]
    fn what_is_no_table_is_told_how_to_be_one() {
        let message = refusal("[backup-tool]\nsets = 3\n");
        assert!(message.contains("maint.toml:2: `backup-tool.sets` must be a table"), "{message}");
        let message = refusal("[backup-tool.sets]\netc = ['/etc']\n");
        assert!(message.contains("maint.toml:2: `backup-tool.sets.etc` must be a table"), "{message}");
    }

    #[test]
    fn a_file_of_its_own_has_its_tables_at_the_top_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sets.toml");
        std::fs::write(&path, "[sets.etc]\npaths = ['/etc']\n").unwrap();
        let document = Document::load(&path, &["sets"]).unwrap();
        assert_eq!(document.table::<Set>("sets").unwrap()["etc"].paths, ["/etc"]);
        std::fs::write(&path, "# c\n[set.etc]\npaths = []\n").unwrap();
        let message = Document::load(&path, &["sets"]).unwrap_err().message;
        assert!(message.ends_with("sets.toml:2: unknown table `set`; did you mean `sets`?"), "{message}");
        std::fs::write(&path, "[sets.etc]\npath = []\n").unwrap();
        let message = Document::load(&path, &["sets"]).unwrap().table::<Set>("sets").unwrap_err().message;
        assert!(message.contains("sets.toml:2: unknown key `path` in [sets.etc]; did you mean `paths`?"), "{message}");
    }

    #[test]
    fn a_misspelt_name_of_tables_is_an_unknown_key_with_the_nearest() {
        let message = refusal("[backup-tool.set.etc]\npaths = []\n");
        assert!(message.contains("unknown key `set` in [backup-tool]; did you mean `sets`?"), "{message}");
    }
}
