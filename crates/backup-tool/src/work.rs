//! What every command has at hand.

use std::path::PathBuf;
use std::sync::Arc;

use maint_core::cancel::Cancel;
use maint_core::config::Settings;
use maint_core::failure::Failure;
use maint_core::pg::dsn::Target;
use maint_core::run::Run;
use tokio::runtime::Handle;

use crate::cli::{DataArgs, SECTION, ServerArgs};
use crate::storage::Storage;
use crate::storage::local::Local;
use crate::store::Store;
use crate::store::secrets::Credentials;

/// One run of one command. Commands block; what talks to a server goes through [`Work::block_on`].
pub struct Work<'a> {
    /// Where records go.
    pub run: &'a Run,
    /// The effective configuration.
    pub settings: Settings,
    /// Whether we were asked to stop.
    pub cancel: Cancel,
    /// The runtime of this process.
    pub runtime: Handle,
    /// What the run's summary is about; a command may sharpen it.
    pub subject: String,
}

impl Work<'_> {
    /// Runs a future to its end. Only for threads that may block, as all of a command's are.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The place of the repository.
    ///
    /// # Errors
    /// None is configured, or it is not there.
    pub fn storage(&self) -> Result<Arc<dyn Storage>, Failure> {
        let place: Option<String> = self.settings.optional(&SECTION, "repository")?;
        let place = place.ok_or_else(|| {
            Failure::usage("no repository is configured")
                .hint("set `repository` in [backup-tool] of maint.toml, or give --repository")
        })?;
        open_storage(&place)
    }

    /// The repository, opened.
    ///
    /// # Errors
    /// It is not there, is no repository, or the password is wrong.
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(self.storage()?, &self.credentials()?)?)
    }

    /// What opens the repository: the cached master keys, or the password.
    ///
    /// # Errors
    /// Neither is configured, or a file cannot be read safely.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        let password = self.settings.optional::<PathBuf>(&SECTION, "password_file")?;
        let keys = self.settings.optional::<PathBuf>(&SECTION, "key_file")?;
        Credentials::load(password.as_deref(), keys.as_deref())
    }

    /// The server, from flag, environment and file.
    ///
    /// # Errors
    /// The connection string does not hold.
    pub fn target(&self, server: &ServerArgs) -> Result<Target, Failure> {
        let configured = self.settings.optional::<String>(&SECTION, "dsn")?;
        let dsn = server.dsn.as_deref().or(configured.as_deref());
        Ok(Target::resolve(dsn, &|name| std::env::var(name).ok())?)
    }

    /// The data directory, from flag, environment and file.
    ///
    /// # Errors
    /// None is configured.
    pub fn pgdata(&self, data: &DataArgs) -> Result<PathBuf, Failure> {
        let configured = self.settings.optional::<PathBuf>(&SECTION, "pgdata")?;
        data.pgdata.clone().or(configured).ok_or_else(|| {
            Failure::usage("no data directory was named")
                .hint("give --pgdata DIR, or set PGDATA or `pgdata` in [backup-tool] of maint.toml")
        })
    }

    /// The command line with which the server calls this program, for `archive_command` and `restore_command`: quoted for
    /// the shell, with the `%` of paths doubled. `rest` is what comes after the configuration.
    ///
    /// # Errors
    /// There is no configuration file that the server's process could read, or a path is not UTF-8.
    pub fn own_command(&self, rest: &str) -> Result<String, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::critical(format!("cannot tell where this program is: {error}")))?;
        let config = self.settings.file().ok_or_else(|| {
            Failure::usage("the server can only call backup-tool with a configuration file, and there is none")
                .hint("put repository and password_file into a maint.toml, and give --config FILE")
        })?;
        let config = std::path::absolute(config)
            .map_err(|error| Failure::usage(format!("cannot tell where {} is: {error}", config.display())))?;
        let quoted = |path: &std::path::Path| {
            let text = path.to_str().ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))?;
            Ok::<String, Failure>(format!("'{}'", text.replace('\'', r"'\''").replace('%', "%%")))
        };
        Ok(format!("{} --config {} {rest}", quoted(&program)?, quoted(&config)?))
    }
}

/// Opens a place by its name.
///
/// # Errors
/// It is not there, or needs what this program was built without.
pub fn open_storage(place: &str) -> Result<Arc<dyn Storage>, Failure> {
    if place.starts_with("s3://") {
        #[cfg(feature = "s3")]
        return Ok(Arc::new(crate::storage::s3::S3::open(place)?));
        #[cfg(not(feature = "s3"))]
        return Err(Failure::usage(format!("cannot open {place}: this program was built without S3"))
            .hint("build it with `--features s3`"));
    }
    let local = Local::open(place.as_ref())?;
    Ok(Arc::new(local))
}
