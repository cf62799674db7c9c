//! `why`: through what a crate comes in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use maint_core::failure::Failure;
use maint_core::record::{Kind, Record};
use maint_core::status::Status;

use crate::cli::WhyArgs;
use crate::graph::Tiers;
use crate::inputs::nearest;
use crate::lock::Lock;
use crate::work::Work;

/// Name and version.
type Package = (String, String);

/// Shows, for each locked version of a crate, the shortest way to it from each package of the workspace, and how far it is
/// used.
///
/// # Errors
/// There is no lock file, or the crate is not in it.
pub fn run(args: &WhyArgs, work: &mut Work<'_>) -> Result<(), Failure> {
    let lock = Lock::load(&nearest()?).map_err(|error| Failure::usage(error.to_string()))?;
    let (name, version) = match args.package.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (args.package.as_str(), None),
    };
    args.package.clone_into(&mut work.subject);
    let wanted: Vec<Package> = lock
        .packages
        .iter()
        .map(|locked| (locked.package.name.to_string(), locked.package.version.to_string()))
        .filter(|(own, has)| own == name && version.is_none_or(|version| version == has))
        .collect();
    if wanted.is_empty() {
        let names = lock.packages.iter().map(|locked| locked.package.name.as_str());
        let near = maint_core::config::nearest(name, names);
        return Err(Failure::usage(format!("{} is not in {}{near}", args.package, lock.path.display())));
    }
    // Without cargo's word on it the ways are still there.
    let tiers = Tiers::of(&lock.path.with_file_name("Cargo.toml"));
    let above = dependants(&lock);
    for package in wanted {
        let ways = ways(&package, &above, &lock);
        let (tier, members) = match &tiers {
            Ok(tiers) => {
                let (tier, members) = tiers.tell(&package.0, &package.1);
                (Some(tier), members)
            }
            Err(_) => (None, Vec::new()),
        };
        let shown: Vec<String> = ways.iter().map(|way| way.join(" > ")).collect();
        let message = match shown.first() {
            None => "nothing in the lock file needs it".to_owned(),
            Some(first) if shown.len() == 1 => first.clone(),
            Some(first) => format!("{first}, and {} other ways", shown.len() - 1),
        };
        work.run.emit(
            &Record::new(Kind::Check, format!("{}@{}", package.0, package.1), Status::Ok, message)
                .field("tier", tier)
                .field("members", members)
                .field("ways", shown),
        );
    }
    Ok(())
}

/// Who needs each package.
fn dependants(lock: &Lock) -> BTreeMap<Package, BTreeSet<Package>> {
    let mut above: BTreeMap<Package, BTreeSet<Package>> = BTreeMap::new();
    for locked in &lock.packages {
        let own = (locked.package.name.to_string(), locked.package.version.to_string());
        for needed in &locked.package.dependencies {
            above.entry((needed.name.to_string(), needed.version.to_string())).or_default().insert(own.clone());
        }
    }
    above
}

/// The shortest way from each of the workspace's own packages that nothing else needs.
fn ways(package: &Package, above: &BTreeMap<Package, BTreeSet<Package>>, lock: &Lock) -> Vec<Vec<String>> {
    let mut way_from: BTreeMap<Package, Vec<String>> = BTreeMap::new();
    way_from.insert(package.clone(), vec![package.0.clone()]);
    let mut open = VecDeque::from([package.clone()]);
    while let Some(below) = open.pop_front() {
        let way = way_from.get(&below).cloned().unwrap_or_default();
        for dependant in above.get(&below).into_iter().flatten() {
            if !way_from.contains_key(dependant) {
                let longer = std::iter::once(dependant.0.clone()).chain(way.iter().cloned()).collect();
                way_from.insert(dependant.clone(), longer);
                open.push_back(dependant.clone());
            }
        }
    }
    lock.packages
        .iter()
        .filter(|locked| locked.package.source.is_none())
        .map(|locked| (locked.package.name.to_string(), locked.package.version.to_string()))
        .filter(|own| own != package)
        .filter_map(|own| way_from.get(&own).cloned())
        .collect()
}
