//! Taking over one certificate.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::fault::point;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use super::certbot::{FILES, Lineage, Link, ours};
use crate::live::{Generation, Live, Meta, State};
use crate::read;
use crate::work::Work;

/// What remains to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// So many generations are in our archive already, from a run before.
    copied: usize,
    /// Our number of what is to be live; `None` when everything was done before.
    switch_to: Option<u64>,
    /// How many of the links are certbot's still.
    links: usize,
}

/// Compares with what we have.
///
/// # Errors
/// We have another certificate of that name.
pub(super) fn plan(lineage: &Lineage, live: &Live) -> Result<Plan, Failure> {
    let name = &lineage.name;
    let links = lineage.links.iter().filter(|link| !link.is_ours).count();
    let numbers = live.numbers(name)?;
    let Some(current) = lineage.current else {
        if live.current(name)?.is_none() {
            let why = format!(
                "{name}: its links go to {}, which is not there; nothing was touched",
                live.link(name).display()
            );
            return Err(
                Failure::critical(why).hint("restore that directory, or point the links back into certbot's archive")
            );
        }
        return Ok(Plan { copied: lineage.generations.len(), switch_to: None, links });
    };
    let taken = || {
        Failure::critical(format!(
            "{name}: there is a certificate of that name in {}; nothing was touched",
            live.root().display()
        ))
        .hint("move it away, or set another CERT_DIRECTORY")
    };
    // What a killed run has copied is the beginning of what there is to copy.
    if numbers.len() > lineage.generations.len() {
        return Err(taken());
    }
    for (number, old) in numbers.iter().zip(&lineage.generations) {
        let same =
            live.generation(name, *number)?.chain == old.chain && live.key(name, *number)?.public() == old.key.public();
        if !same {
            return Err(taken());
        }
    }
    let place = lineage.generations.iter().position(|old| old.number == current);
    let place = place.ok_or_else(|| Failure::critical(format!("{name}: generation {current} is gone")))?;
    let last = numbers.last().copied().unwrap_or(0);
    let switch_to = numbers.get(place).copied().unwrap_or(last + (place + 1 - numbers.len().min(place)) as u64);
    Ok(Plan { copied: numbers.len(), switch_to: Some(switch_to), links })
}

/// What a dry run says.
pub(super) fn planned(lineage: &Lineage, plan: &Plan, live: &Live) -> Record {
    let (status, kind) =
        if plan.switch_to.is_some() { (Status::Planned, Kind::Plan) } else { (Status::Ok, Kind::Step) };
    about(Record::new(kind, &lineage.name, status, words(lineage, plan)), lineage, live)
        .field("generation", plan.switch_to)
}

fn words(lineage: &Lineage, plan: &Plan) -> String {
    let copies = lineage.generations.len() - plan.copied;
    match plan.switch_to {
        None => "nothing to do: it was taken over already".to_owned(),
        Some(number) => format!("{copies} generations to copy, {number} to be live, {} links to switch", plan.links),
    }
}

/// How it can be undone, command by command.
fn undo(lineage: &Lineage) -> Vec<String> {
    let current = lineage.current;
    let command = |(file, link): (&&str, &Link)| {
        let target = match current {
            Some(number) if link.is_ours => format!("../../archive/{}/{file}{number}.pem", lineage.name),
            _ => link.target.display().to_string(),
        };
        format!("ln -sfn {target} {}", link.path.display())
    };
    FILES.iter().zip(&lineage.links).map(command).collect()
}

fn about(record: Record, lineage: &Lineage, live: &Live) -> Record {
    let numbers: Vec<u64> = lineage.generations.iter().map(|old| old.number).collect();
    let record = record
        .field("certbot_generations", numbers)
        .field("certbot_generation", lineage.current)
        .field("live", live.link(&lineage.name));
    if lineage.current.is_some() { record.field("undo", undo(lineage)) } else { record }
}

/// Copies, switches, and looks.
///
/// # Errors
/// Something cannot be written. What was done so far stands and is no harm; the next run goes on.
pub(super) fn carry_out(lineage: &Lineage, plan: &Plan, live: &Live, work: &Work<'_>) -> Result<Record, Failure> {
    let name = &lineage.name;
    let Some(switch_to) = plan.switch_to else {
        return Ok(about(Record::new(Kind::Step, name, Status::Ok, words(lineage, plan)), lineage, live));
    };
    let server = lineage.renewal.as_ref().and_then(|renewal| renewal.get("server")).map(str::to_owned);
    let mut previous = live.numbers(name)?.last().copied();
    for old in lineage.generations.iter().skip(plan.copied) {
        let meta = Meta { state: State::Live, account: server.clone(), previous, ..Meta::staged("certbot", work.now) };
        previous = Some(live.write(name, &old.chain, &old.key, &meta, &old.access)?.number);
    }
    if live.current_number(name)? != Some(switch_to) {
        live.switch(name, switch_to)?;
    }
    for (file, link) in FILES.iter().zip(&lineage.links).filter(|(_, link)| !link.is_ours) {
        relink(&link.path, &ours(live, name, file))?;
        point("import-link");
    }
    let now = live.generation(name, switch_to)?;
    let record = match seen(lineage, &now) {
        Ok(()) => {
            let message = format!(
                "taken over: {} generations, {switch_to} is live; certbot must not renew it any more: move its \
                 renewal/{name}.conf away",
                lineage.generations.len()
            );
            Record::new(Kind::Step, name, Status::Ok, message)
        }
        Err(why) => Record::new(Kind::Step, name, Status::Ineffective, format!("taken over, but {why}")),
    };
    let leaf = now.leaf();
    Ok(about(record, lineage, live)
        .field("generation", switch_to)
        .field("fingerprint", leaf.map(crate::certificate::Certificate::fingerprint))
        .field("not_after", leaf.map(|leaf| leaf.not_after)))
}

/// Replaces a link by another, so that there is always one.
fn relink(path: &Path, target: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::critical(format!("cannot point {} to {}: {error}", path.display(), target.display()))
            .hint("run this again when the reason is gone: it goes on where it stopped")
    };
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    let beside = parent.join(name);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    symlink(target, &beside).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

/// Reads through certbot's paths, as servers do.
fn seen(lineage: &Lineage, now: &Generation) -> Result<(), String> {
    let path = |file: &str| FILES.iter().position(|one| *one == file).and_then(|at| lineage.links.get(at));
    let read = |file: &str| {
        let link = path(file).ok_or("there is no link")?;
        read::file(&link.path, None).map_err(|error| error.to_string())
    };
    if read("fullchain")?.certificates != now.chain {
        return Err("its fullchain.pem shows another chain".to_owned());
    }
    let keys = read("privkey")?.keys;
    match (keys.first(), now.leaf()) {
        (Some(key), Some(leaf)) if key.is_of(leaf) => Ok(()),
        _ => Err("its privkey.pem shows another key".to_owned()),
    }
}
