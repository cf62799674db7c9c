//! The settings with which a restored cluster recovers, in the file where a server keeps what was set by command: it is read
//! last, so it wins whatever the cluster's own configuration says.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use maint_core::durable;
use maint_core::failure::Failure;
use rustix::fs::{Gid, Uid};

use crate::backup::RequiredSettings;
use crate::work::Work;

/// The file in which a server keeps settings that were made by command.
const AUTO_CONF: &str = "postgresql.auto.conf";
/// A cluster's own configuration, which some distributions keep elsewhere.
const CONF: &str = "postgresql.conf";
/// Who may log in.
const HBA: &str = "pg_hba.conf";
/// Settings of a recovery: those of an earlier one must not survive in a restored directory.
const RECOVERY_SETTINGS: [&str; 13] = [
    "restore_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_xid",
    "recovery_target_name",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    "recovery_end_command",
    "recovery_min_apply_delay",
    "archive_cleanup_command",
    "promote_trigger_file",
];

/// A setting for a restored cluster: its name, and its value as the server is to see it.
pub type Setting = (&'static str, String);

/// The settings with which a server recovers: where it gets its log, to which point, and whether it may archive.
///
/// # Errors
/// There is no configuration that the server's own calls of this program could read.
pub fn recovery_settings(work: &Work<'_>, target: Vec<Setting>, archives: bool) -> Result<Vec<Setting>, Failure> {
    let mut settings = vec![("restore_command", work.own_command("wal-fetch %f %p")?)];
    settings.extend(target);
    if !archives {
        settings.push(("archive_mode", "off".to_owned()));
    }
    Ok(settings)
}

/// A setting as a line of a configuration file.
pub fn line((name, value): &Setting) -> String {
    format!("{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// Writes the settings of a recovery, and the file that tells the server to recover.
pub(super) fn configure(data: &Path, settings: &[Setting]) -> Result<(), Failure> {
    let auto = data.join(AUTO_CONF);
    let before = match fs::read(&auto) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", auto.display()))),
    };
    write_like(data, &auto, &edited(&before, settings))?;
    // A directory that was a standby's must not begin as one: it would wait for a primary for ever.
    let standby = data.join("standby.signal");
    match fs::remove_file(&standby) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Failure::critical(format!("cannot remove {}: {error}", standby.display())));
        }
        _ => {}
    }
    write_like(data, &data.join("recovery.signal"), b"")?;
    // A server demands that nobody else can enter, and a backup of one that was lax about it must start as well.
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))
        .map_err(|error| Failure::critical(format!("cannot set the mode of {}: {error}", data.display())))
}

/// Where a distribution keeps the configuration outside of the data directory, a backup of that directory has none, and
/// `pg_ctl start` would not start a copy elsewhere. Writes the least that it needs; says what was written.
pub(super) fn complete(data: &Path, required: &RequiredSettings) -> Result<Vec<String>, Failure> {
    let settings: [Setting; 5] = [
        ("max_connections", required.max_connections.to_string()),
        ("max_worker_processes", required.max_worker_processes.to_string()),
        ("max_wal_senders", required.max_wal_senders.to_string()),
        ("max_prepared_transactions", required.max_prepared_transactions.to_string()),
        ("max_locks_per_transaction", required.max_locks_per_transaction.to_string()),
    ];
    let least: String = settings.iter().map(|setting| line(setting) + "\n").collect();
    let files = [
        (CONF, least.as_str(), "has only what replay demands: use the cluster's own before it goes into service"),
        (HBA, "local all all peer\n", "lets in only users of this host, under their own names"),
        ("pg_ident.conf", "", "is empty"),
    ];
    let mut notes = Vec::new();
    for (name, text, meaning) in files {
        let path = data.join(name);
        if fs::symlink_metadata(&path).is_err() {
            write_like(data, &path, text.as_bytes())?;
            notes.push(format!("{}: the backup has none; the one that was written {meaning}", path.display()));
        }
    }
    Ok(notes)
}

/// Writes a file durably, of the directory's owner.
pub(super) fn write_like(like: &Path, path: &Path, content: &[u8]) -> Result<(), Failure> {
    durable::replace(path, content, 0o600).map_err(|error| Failure::critical(error.to_string()))?;
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(like).map_err(|error| Failure::critical(error.to_string()))?;
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        rustix::fs::chown(path, Some(uid), Some(gid))
            .map_err(|error| Failure::critical(format!("cannot give {} to its owner: {error}", path.display())))?;
    }
    Ok(())
}

/// The settings file without what an earlier recovery left, and with what this one needs. The last line of a name counts.
/// The rest stays byte for byte: a server writes the file in the encoding of whoever set something.
fn edited(before: &[u8], settings: &[Setting]) -> Vec<u8> {
    let stale = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line).to_lowercase();
        let name = line.trim_start().split(['=', ' ', '\t']).next().unwrap_or_default();
        RECOVERY_SETTINGS.contains(&name) || settings.iter().any(|(known, _)| *known == name)
    };
    let mut text = Vec::new();
    let lines = before.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for kept in lines.filter(|line| !stale(line)) {
        text.extend_from_slice(kept);
        text.push(b'\n');
    }
    for setting in settings {
        text.extend_from_slice(line(setting).as_bytes());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::sample;

    #[test]
    fn settings_of_an_earlier_recovery_do_not_survive() {
        let before = "# by hand\nport = '5433'\nRECOVERY_target_name = 'old'\nrestore_command='x'\narchive_mode = on\n";
        let settings = [("restore_command", r"'a' \ b".to_owned()), ("archive_mode", "off".to_owned())];
        let after = String::from_utf8(edited(before.as_bytes(), &settings)).unwrap();
        assert_eq!(after, "# by hand\nport = '5433'\nrestore_command = '''a'' \\\\ b'\narchive_mode = 'off'\n");
    }

    #[test]
    fn what_is_not_utf_8_and_a_last_line_without_an_end_stay() {
        let after = edited(b"cluster_name = 'Espa\xf1a'", &[("archive_mode", "off".to_owned())]);
        assert_eq!(after, b"cluster_name = 'Espa\xf1a'\narchive_mode = 'off'\n");
    }

    #[test]
    fn a_configured_directory_recovers_and_is_no_standby() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("standby.signal"), "").unwrap();
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
        configure(data.path(), &[("recovery_target", "immediate".to_owned())]).unwrap();
        assert!(data.path().join("recovery.signal").exists() && !data.path().join("standby.signal").exists());
        let auto = fs::read_to_string(data.path().join(AUTO_CONF)).unwrap();
        assert_eq!(auto, "recovery_target = 'immediate'\n");
        assert_eq!(fs::metadata(data.path()).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_cluster_without_configuration_gets_the_least_and_one_with_it_keeps_its_own() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(HBA), "mine").unwrap();
        let notes = complete(data.path(), &sample().required).unwrap();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(fs::read_to_string(data.path().join(HBA)).unwrap(), "mine");
        let conf = fs::read_to_string(data.path().join(CONF)).unwrap();
        assert!(conf.contains("max_connections = '100'\n"), "{conf}");
        assert!(complete(data.path(), &sample().required).unwrap().is_empty());
    }
}
