//! Configuration with provenance: one optional `maint.toml`, then the environment, then flags.
//!
//! A tool declares its keys in one table ([`Section`]): name, default, environment variables, help, and how a value is
//! checked. From that table come the unknown-key errors, `config show`, and the defaults; there is no second place to
//! forget. Values are kept as the text the user wrote, with where it came from, and parsed when asked for: a bad value is
//! found at start-up and named with its file and line.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use crate::failure::Failure;

mod table;

pub use table::Document;

/// The programs whose sections may stand in one `maint.toml`. A section of another tool is not this tool's to judge; a
/// section of no tool is a spelling error.
pub const TOOLS: [&str; 14] = [
    "maint",
    "pg-maint",
    "redis-maint",
    "cert-rotate",
    "dep-audit",
    "backup-tool",
    "bench-runner",
    "service-ctl",
    "health-check",
    "alert-desk",
    "log-scan",
    "access-review",
    "audit-log",
    "code-check",
];

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name, in snake case.
    pub name: &'static str,
    /// What holds when nobody says otherwise; empty means not set.
    pub default: &'static str,
    /// Environment variables that set it; the first that is set wins.
    pub env: &'static [&'static str],
    /// Whether a value is fit for the key: `checked::<T>`.
    pub check: fn(&str) -> Result<(), String>,
    /// One line for people.
    pub help: &'static str,
}

/// A key, for tables of many.
pub const fn key(
    name: &'static str,
    default: &'static str,
    env: &'static [&'static str],
    check: fn(&str) -> Result<(), String>,
    help: &'static str,
) -> Key {
    Key { name, default, env, check, help }
}

/// A table of `maint.toml`.
#[derive(Debug)]
pub struct Section {
    /// The table's name: the tool's.
    pub name: &'static str,
    /// The keys it knows.
    pub keys: &'static [Key],
    /// Tables below it whose names the user chooses (`[tool.sets.NAME]`); the tool reads them itself, with
    /// [`Settings::table`].
    pub tables: &'static [&'static str],
}

/// The keys that every tool shares.
pub const COMMON: Section = Section {
    name: "maint",
    tables: &[],
    keys: &[
        Key {
            name: "window",
            default: "",
            env: &["MAINT_WINDOW"],
            check: checked::<crate::window::Window>,
            help: "start changes only inside this maintenance window, e.g. 'Sat..Sun 01:00-05:00 Europe/Madrid'",
        },
        Key {
            name: "max_duration",
            default: "",
            env: &["MAINT_MAX_DURATION"],
            check: checked::<crate::units::HumanDuration>,
            help: "start no new step after this long, e.g. 30m",
        },
    ],
};

/// The check of a key whose values parse as `T`.
///
/// # Errors
/// The text is not a `T`.
pub fn checked<T: FromStr>(text: &str) -> Result<(), String>
where
    T::Err: fmt::Display,
{
    T::from_str(text).map(|_| ()).map_err(|error| error.to_string())
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// A line of a file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Env(&'static str),
    /// A command line flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
            Source::Env(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One effective value.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The text as written.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// The effective configuration of one run.
#[derive(Debug)]
pub struct Settings {
    sections: Vec<&'static Section>,
    values: BTreeMap<(&'static str, &'static str), Setting>,
    file: Option<PathBuf>,
    /// The file's content; what is asked for later must not come from another version of it.
    text: String,
}

impl Settings {
    /// Reads the file (the one named, or the one found by searching) and the environment.
    ///
    /// # Errors
    /// The file cannot be read, may be written by others, is not TOML, has an unknown key or a value that does not fit.
    pub fn load(explicit: Option<&Path>, sections: &[&'static Section]) -> Result<Self, Failure> {
        let file = match explicit {
            Some(path) => Some(path.to_owned()),
            None => find("maint.toml")?,
        };
        Settings::from_parts(file, sections, |name| std::env::var(name).ok())
    }

    fn from_parts(
        file: Option<PathBuf>,
        sections: &[&'static Section],
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let mut settings = Settings { sections: sections.to_vec(), values: BTreeMap::new(), file, text: String::new() };
        for section in sections {
            for key in section.keys {
                let setting = Setting { value: key.default.to_owned(), source: Source::Default };
                settings.values.insert((section.name, key.name), setting);
            }
        }
        if let Some(path) = settings.file.clone() {
            settings.read_file(&path)?;
        }
        for section in sections {
            for key in section.keys {
                let found = key.env.iter().find_map(|name| Some((*name, env(name).filter(|text| !text.is_empty())?)));
                if let Some((name, value)) = found {
                    settings.put(section, key, value, Source::Env(name))?;
                }
            }
        }
        Ok(settings)
    }

    /// The file that was read.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Lets a flag override a key. `None` leaves it as it is.
    ///
    /// # Errors
    /// The value does not fit.
    pub fn flag(&mut self, section: &Section, name: &str, value: Option<impl fmt::Display>) -> Result<(), Failure> {
        let Some(value) = value else { return Ok(()) };
        let known = self.sections.iter().find(|known| known.name == section.name).copied();
        let found = known.and_then(|section| Some((section, section.keys.iter().find(|key| key.name == name)?)));
        match found {
            Some((section, key)) => {
                self.put(section, key, value.to_string(), Source::Flag(format!("--{}", name.replace('_', "-"))))
            }
            None => Err(Failure::usage(format!("[{}] has no key `{name}`", section.name))),
        }
    }

    /// The value of a key that has one.
    ///
    /// # Errors
    /// The key is not set, or does not parse.
    pub fn get<T: FromStr>(&self, section: &Section, name: &str) -> Result<T, Failure>
    where
        T::Err: fmt::Display,
    {
        let missing = || Failure::usage(format!("[{}] {name} is not set", section.name));
        self.optional(section, name)?.ok_or_else(missing)
    }

    /// The value of a key that may be unset.
    ///
    /// # Errors
    /// The value does not parse.
    pub fn optional<T: FromStr>(&self, section: &Section, name: &str) -> Result<Option<T>, Failure>
    where
        T::Err: fmt::Display,
    {
        let setting = self.values.iter().find(|((s, k), _)| *s == section.name && *k == name).map(|(_, v)| v);
        match setting {
            Some(setting) if !setting.value.is_empty() => match setting.value.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(misfit(&setting.source, section.name, name, &error.to_string())),
            },
            _ => Ok(None),
        }
    }

    /// Every key with its effective value, in the order of the sections, for `config show`.
    pub fn show(&self) -> Vec<(&'static Section, &'static Key, &Setting)> {
        let mut all = Vec::new();
        for section in &self.sections {
            for key in section.keys {
                if let Some(setting) = self.values.get(&(section.name, key.name)) {
                    all.push((*section, key, setting));
                }
            }
        }
        all
    }

    fn put(
        &mut self,
        section: &'static Section,
        key: &'static Key,
        value: String,
        source: Source,
    ) -> Result<(), Failure> {
        if !value.is_empty() {
            (key.check)(&value).map_err(|error| misfit(&source, section.name, key.name, &error))?;
        }
        self.values.insert((section.name, key.name), Setting { value, source });
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read configuration {shown}: {error}")))?;
        let line_of = |offset: usize| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
        let table = DeTable::parse(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            Failure::usage(format!("{shown}:{line}: {}", error.message()))
        })?;
        for (name, value) in table.get_ref() {
            let (line, name) = (line_of(name.span().start), name.get_ref().as_ref());
            if !TOOLS.contains(&name) {
                let nearest = nearest(name, TOOLS.iter().copied());
                return Err(Failure::usage(format!("{shown}:{line}: unknown section [{name}]{nearest}")));
            }
            let Some(section) = self.sections.iter().find(|section| section.name == name).copied() else { continue };
            let DeValue::Table(entries) = value.get_ref() else {
                return Err(Failure::usage(format!("{shown}:{line}: `{name}` must be a table: write [{name}]")));
            };
            for (key_name, value) in entries {
                let (line, key_name) = (line_of(key_name.span().start), key_name.get_ref().as_ref());
                if section.tables.contains(&key_name) {
                    continue;
                }
                let Some(key) = section.keys.iter().find(|key| key.name == key_name) else {
                    let nearest = nearest(
                        key_name,
                        section.keys.iter().map(|key| key.name).chain(section.tables.iter().copied()),
                    );
                    return Err(Failure::usage(format!(
                        "{shown}:{line}: unknown key `{key_name}` in [{name}]{nearest}"
                    )));
                };
                let source = Source::File(path.to_owned(), line);
                let Some(value) = scalar(value.get_ref()) else {
                    return Err(misfit(&source, name, key_name, "expected a string, number or boolean"));
                };
                self.put(section, key, value, source)?;
            }
        }
        drop(table);
        self.text = text;
        Ok(())
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
            items.map(|items| items.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn misfit(source: &Source, section: &str, key: &str, why: &str) -> Failure {
    match source {
        Source::Flag(flag) => Failure::usage(format!("{flag}: {why}")),
        source => Failure::usage(format!("{source}: [{section}] {key}: {why}")),
    }
}

/// `; did you mean ...?`, when something known is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let best = known.map(|other| (strsim::damerau_levenshtein(name, other), other)).min();
    match best {
        Some((distance, other)) if distance <= name.len().max(3) / 2 => format!("; did you mean `{other}`?"),
        _ => String::new(),
    }
}

/// The file of that name in the working directory or one above it, or in `/etc/maint`: where `maint.toml` is looked for.
///
/// # Errors
/// Somebody else could have written the file that was found.
pub fn find(name: &str) -> Result<Option<PathBuf>, Failure> {
    search(&std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")), name)
}

/// `name` in the directory or one above it, then the system's. A file that somebody else could have written may
/// name commands to run, so it is refused, not skipped: skipping it would silently run with other settings.
fn search(start: &Path, name: &str) -> Result<Option<PathBuf>, Failure> {
    let candidates = start.ancestors().chain([Path::new("/etc/maint")]).map(|dir| dir.join(name));
    for path in candidates {
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        let me = rustix::process::geteuid().as_raw();
        let shown = path.display();
        if meta.uid() != me && meta.uid() != 0 {
            let owner = meta.uid();
            return Err(Failure::usage(format!("refusing {shown}: it belongs to uid {owner}, neither you nor root"))
                .hint("name it on the command line, or change its owner"));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(Failure::usage(format!(
                "refusing {shown}: others may write it (mode {:o})",
                meta.mode() & 0o777
            ))
            .hint(format!("chmod go-w {shown}")));
        }
        return Ok(Some(path));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::units::HumanDuration;

    static TOOL: Section = Section {
        name: "pg-maint",
        tables: &[],
        keys: &[
            Key {
                name: "lock_timeout",
                default: "2s",
                env: &["PG_MAINT_LOCK_TIMEOUT"],
                check: checked::<HumanDuration>,
                help: "how long to wait for a lock",
            },
            Key { name: "jobs", default: "1", env: &[], check: checked::<u16>, help: "how many at once" },
        ],
    };

    fn load(text: &str, env: &[(&str, &str)]) -> Result<Settings, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maint.toml");
        std::fs::write(&path, text).unwrap();
        let env: Vec<(String, String)> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::from_parts(Some(path), &[&COMMON, &TOOL], |name| {
            env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let mut settings = load("[pg-maint]\nlock_timeout = '3s'\njobs = 4\n", &[]).unwrap();
        assert_eq!(settings.get::<HumanDuration>(&TOOL, "lock_timeout").unwrap().0.as_secs(), 3);
        assert_eq!(settings.get::<u16>(&TOOL, "jobs").unwrap(), 4);
        settings = load("[pg-maint]\nlock_timeout = '3s'\n", &[("PG_MAINT_LOCK_TIMEOUT", "4s")]).unwrap();
        assert_eq!(settings.get::<HumanDuration>(&TOOL, "lock_timeout").unwrap().0.as_secs(), 4);
        settings.flag(&TOOL, "lock_timeout", Some("5s")).unwrap();
        assert_eq!(settings.get::<HumanDuration>(&TOOL, "lock_timeout").unwrap().0.as_secs(), 5);
        let shown = settings.show();
        let (_, _, setting) = shown.iter().find(|(_, key, _)| key.name == "lock_timeout").unwrap();
        assert_eq!(setting.source.to_string(), "flag --lock-timeout");
    }

    #[test]
    fn an_unknown_key_is_named_with_line_and_nearest() {
        let error = load("# c\n[pg-maint]\nlock_timout = '3s'\n", &[]).unwrap_err();
        assert!(error.message.contains("maint.toml:3: unknown key `lock_timout` in [pg-maint]"), "{error}");
        assert!(error.message.contains("did you mean `lock_timeout`?"), "{error}");
        let error = load("[pg-mant]\n", &[]).unwrap_err();
        assert!(error.message.contains("did you mean `pg-maint`?"), "{error}");
    }

    #[test]
    fn a_bad_value_is_named_with_line() {
        let error = load("[pg-maint]\n\njobs = 'many'\n", &[]).unwrap_err();
        assert!(error.message.contains("maint.toml:3: [pg-maint] jobs"), "{error}");
        let error = load("[pg-maint]\nlock_timeout = \n", &[]).unwrap_err();
        assert!(error.message.contains("maint.toml:2:"), "{error}");
    }

    #[test]
    fn the_section_of_another_tool_is_left_to_it() {
        load("[redis-maint]\nwhatever = 1\n", &[]).unwrap();
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("maint.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let error = search(&dir.path().join("a/b"), "maint.toml").unwrap_err();
        assert!(error.message.contains("maint.toml"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(search(&dir.path().join("a/b"), "maint.toml").unwrap(), Some(path));
    }
}
