//! certbot's directory, as it writes it (`certbot/_internal/storage.py`):
//!
//! ```text
//! live/NAME/{cert,chain,fullchain,privkey}.pem -> ../../archive/NAME/{cert,chain,fullchain,privkey}N.pem
//! archive/NAME/...                             one set of four files a generation, N counted from 1
//! renewal/NAME.conf                            how it is renewed
//! ```

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use maint_core::failure::Failure;

use super::renewal::{self, Renewal};
use crate::certificate::Certificate;
use crate::config::is_plain;
use crate::key::PrivateKey;
use crate::live::{Access, Live, Owner};
use crate::read;

/// The four files of a generation.
pub(super) const FILES: [&str; 4] = ["cert", "chain", "fullchain", "privkey"];

/// One certificate of certbot's, with its generations.
#[derive(Debug)]
pub(super) struct Lineage {
    /// Its name, for us too.
    pub(super) name: String,
    /// Oldest first; never empty.
    pub(super) generations: Vec<Old>,
    /// What the links say, in the order of [`FILES`].
    pub(super) links: Vec<Link>,
    /// The number of what is live, by those links that are certbot's still; `None` when all are ours.
    pub(super) current: Option<u64>,
    /// How it was renewed.
    pub(super) renewal: Option<Renewal>,
}

/// A generation of certbot's.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) number: u64,
    pub(super) chain: Vec<Certificate>,
    pub(super) key: PrivateKey,
    /// Mode and owner of its key's file.
    pub(super) access: Access,
}

/// One of certbot's links in `live/NAME`.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    /// Where it points, as it is written in it.
    pub(super) target: PathBuf,
    /// It goes through our `live/NAME` already.
    pub(super) is_ours: bool,
}

fn broken(name: &str, why: impl std::fmt::Display) -> Failure {
    Failure::critical(format!("{name}: {why}; nothing was touched"))
        .hint("repair it with certbot, or move its live/NAME away, and run this again")
}

/// Reads the whole directory.
///
/// # Errors
/// It is none of certbot's, or a certificate in it does not hold; its name is told.
pub(super) fn inspect(directory: &Path, live: &Live) -> Result<Vec<Lineage>, Failure> {
    let lives = directory.join("live");
    let names = names(&lives).map_err(|error| {
        Failure::usage(format!("{} is no directory of certbot's: {}: {error}", directory.display(), lives.display()))
    })?;
    let mut lineages = Vec::new();
    for name in names {
        // Beside the directories there is a README.
        if !lives.join(&name).is_dir() {
            continue;
        }
        let name = name.into_string().map_err(|name| broken(&name.to_string_lossy(), "its name is no text"))?;
        if !is_plain(&name) {
            return Err(broken(&name, "its name cannot be used here (letters, digits, `.`, `-` and `_`)"));
        }
        lineages.push(lineage(directory, live, name)?);
    }
    if lineages.is_empty() {
        return Err(Failure::usage(format!("there is no certificate in {}", lives.display())));
    }
    Ok(lineages)
}

fn names(directory: &Path) -> std::io::Result<BTreeSet<std::ffi::OsString>> {
    std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

fn lineage(directory: &Path, live: &Live, name: String) -> Result<Lineage, Failure> {
    let archive = directory.join("archive").join(&name);
    let mut links = Vec::new();
    let mut numbers = BTreeSet::new();
    for file in FILES {
        let link = link(directory, live, &name, file)?;
        if !link.is_ours {
            numbers.insert(number_of(&link.target, file).ok_or_else(|| {
                broken(
                    &name,
                    format!("{} points to {}, not into its archive", link.path.display(), link.target.display()),
                )
            })?);
        }
        links.push(link);
    }
    let current = match numbers.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => None,
        [one] => Some(*one),
        several => {
            return Err(broken(&name, format!("its links point to different generations ({several:?})")));
        }
    };
    let generations = generations(&archive, &name)?;
    if let Some(current) = current
        && !generations.iter().any(|old| old.number == current)
    {
        return Err(broken(&name, format!("its links point to generation {current}, which is not in its archive")));
    }
    if generations.is_empty() {
        return Err(broken(&name, format!("there is no generation in {}", archive.display())));
    }
    let conf = directory.join("renewal").join(format!("{name}.conf"));
    let renewal = match std::fs::read_to_string(&conf) {
        Ok(text) => Some(renewal::parse(&text)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(broken(&name, format!("cannot read {}: {error}", conf.display()))),
    };
    Ok(Lineage { name, generations, links, current, renewal })
}

fn link(directory: &Path, live: &Live, name: &str, file: &str) -> Result<Link, Failure> {
    let path = directory.join("live").join(name).join(format!("{file}.pem"));
    let target = std::fs::read_link(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => broken(name, format!("there is no {}", path.display())),
        ErrorKind::InvalidInput => broken(name, format!("{} is a file, and certbot has a link there", path.display())),
        _ => broken(name, format!("cannot read the link {}: {error}", path.display())),
    })?;
    if target == ours(live, name, file) {
        return Ok(Link { path, target, is_ours: true });
    }
    let archive = directory.join("archive").join(name);
    let inside = path.parent().map(|parent| parent.join(&target)).and_then(|whole| whole.canonicalize().ok());
    let inside = inside.and_then(|whole| Some((whole.parent()?.to_owned(), whole.file_name()? == target.file_name()?)));
    match (inside, archive.canonicalize()) {
        (Some((parent, true)), Ok(archive)) if parent == archive => Ok(Link { path, target, is_ours: false }),
        _ => {
            let why = format!("{} points to {}, not to a file in its archive", path.display(), target.display());
            Err(broken(name, why))
        }
    }
}

/// Where a link of certbot's points once it is taken over.
pub(super) fn ours(live: &Live, name: &str, file: &str) -> PathBuf {
    live.link(name).join(format!("{file}.pem"))
}

/// `12` of `cert12.pem`.
fn number_of(path: &Path, file: &str) -> Option<u64> {
    let digits = path.file_name().and_then(OsStr::to_str)?.strip_prefix(file)?.strip_suffix(".pem")?;
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn generations(archive: &Path, name: &str) -> Result<Vec<Old>, Failure> {
    let found = names(archive).map_err(|error| broken(name, format!("cannot read {}: {error}", archive.display())))?;
    let numbers: BTreeSet<u64> =
        found.iter().flat_map(|entry| FILES.iter().filter_map(move |file| number_of(Path::new(entry), file))).collect();
    numbers.into_iter().map(|number| old(archive, name, number)).collect()
}

fn old(archive: &Path, name: &str, number: u64) -> Result<Old, Failure> {
    let path = |file: &str| archive.join(format!("{file}{number}.pem"));
    let read = |file: &str| {
        let read = read::file(&path(file), None).map_err(|error| broken(name, error))?;
        match read.problems.first() {
            Some(problem) => Err(broken(name, format!("{}: {problem}", path(file).display()))),
            None => Ok(read),
        }
    };
    let (cert, above, chain) = (read("cert")?, read("chain")?, read("fullchain")?.certificates);
    let mut keys = read("privkey")?.keys;
    let (Some(key), []) = (keys.pop(), keys.as_slice()) else {
        return Err(broken(name, format!("{} holds not one private key", path("privkey").display())));
    };
    let [leaf] = cert.certificates.as_slice() else {
        return Err(broken(name, format!("{} holds not one certificate", path("cert").display())));
    };
    if chain.first() != Some(leaf) || chain.get(1..) != Some(above.certificates.as_slice()) {
        return Err(broken(
            name,
            format!("{} is not cert and chain of generation {number}", path("fullchain").display()),
        ));
    }
    if !key.is_of(leaf) {
        return Err(broken(name, format!("the private key of generation {number} is not that of its certificate")));
    }
    Ok(Old { number, chain, key, access: access(&path("privkey"), name)? })
}

/// Of a key, so that whoever reads it now can go on; but never for everybody.
fn access(path: &Path, name: &str) -> Result<Access, Failure> {
    let meta = std::fs::metadata(path).map_err(|error| broken(name, format!("{}: {error}", path.display())))?;
    let owner = Owner { user: Some(meta.uid()), group: Some(meta.gid()) };
    Ok(Access { key_mode: meta.mode() & 0o640 | 0o400, owner })
}
