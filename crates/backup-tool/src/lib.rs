//! backup-tool: PostgreSQL clusters and file sets into an encrypted, deduplicated repository, and proof that they come
//! back.
//!
//! - [`storage`] is where objects lie (a directory, or S3); [`store`] the repository in it: two restic repositories (`pg`
//!   and `files`), sealed notes, and the archive of the write-ahead log ([`wal`]).
//! - [`cluster`] knows the files of a data directory: control file, pages, what to leave out, the manifest. [`server`]
//!   talks to the server while a backup is taken. [`files`] reads file sets.
//! - [`recovery`] decides (which backup, which timeline, is the moment reachable) and brings back.
//! - [`backup`] is what is known of a backup, [`lsn`] a position in the log.
//! - One file a command; [`commands`] hands the command line to them, with what they all need ([`work`]).

pub mod backup;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config_backup;
pub mod copy;
pub mod database_backup;
pub mod database_recovery;
pub mod expire;
pub mod files;
pub mod full_backup;
pub mod incremental_backup;
pub mod info;
pub mod init;
pub mod key;
pub mod list;
pub mod lsn;
pub mod monitor_backups;
pub mod pin;
pub mod pitr_backup;
pub mod pitr_recovery;
pub mod prune;
pub mod recovery;
pub mod repair;
pub mod server;
pub mod storage;
pub mod store;
pub mod table_recovery;
pub mod take;
pub mod test_restore;
pub mod trust;
pub mod validate_backups;
pub mod wal;
pub mod work;

use std::process::ExitCode;

/// The program's name, in records and messages.
pub const TOOL: &str = "backup-tool";

/// Runs the program with this process's arguments and environment.
pub fn main() -> ExitCode {
    match maint_core::cli::parse::<cli::Cli>() {
        Ok(cli) => commands::run(&cli),
        // A server would take the usual code for the end of the archive, and open a database that is not recovered.
        Err(_) if is_misused_wal_fetch() => wal::fetch::ABORT.into(),
        Err(code) => code,
    }
}

fn is_misused_wal_fetch() -> bool {
    std::env::args_os().any(|argument| argument == "wal-fetch")
        && <cli::Cli as clap::Parser>::try_parse().is_err_and(|error| error.use_stderr())
}
