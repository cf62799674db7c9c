//! backup-tool, end to end: real servers, real repositories, and judges that are not ours.

use std::fs;
use std::path::Path;

use testbed::Site;

mod basic;
mod damage;
mod faults;
mod files;
mod pitr;
mod points;
mod proof;
mod recovery;
mod refusals;
mod retention;
#[cfg(feature = "s3")]
mod s3;
mod sources;
mod wal;

/// PostgreSQL's own programs find a restored directory whole: file by file, then, after recovery, index by index and page
/// by page. The directory is removed then.
#[track_caller]
fn verified(site: &Site, target: &Path) {
    let text = target.display().to_string();
    site.program_ok(site.server_program("pg_verifybackup"), &["-n", &text]).unwrap();
    let server = site.recover(target).unwrap();
    server.sql("CREATE EXTENSION IF NOT EXISTS amcheck").unwrap();
    let socket = server.socket().display().to_string();
    let args = ["-h", &socket, "-p", "5432", "-U", "postgres", "--heapallindexed", "--parent-check", "postgres"];
    site.program_ok(site.server_program("pg_amcheck"), &args).unwrap();
    let holes = server.sql("SELECT count(*) = coalesce(max(id), 0) FROM ledger").unwrap();
    assert_eq!(holes, "t", "rows of the ledger are missing");
    server.stop().unwrap();
    site.program_ok(site.server_program("pg_checksums"), &["-c", "-D", &text]).unwrap();
}

/// Restores a backup into the directory `name` of the site, and has it verified; nothing of it is left.
#[track_caller]
fn restored_whole(site: &Site, name: &str, backup: &str) {
    let target = site.dir().join(name);
    let text = target.display().to_string();
    site.ok(&["database-recovery", backup, "--immediate", "--target-dir", &text, "--yes"]).unwrap();
    verified(site, &target);
    fs::remove_dir_all(&target).unwrap();
}
