//! A private nginx: Debian's program, unprivileged, with a configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::account::{self, Account, run_as};
use crate::acme::server::{on_some_port, serve};
use crate::error::{Doing, Error, Result};
use crate::sandbox::Sandbox;
use crate::setup::program;
use crate::tool::clean;
use crate::{port, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server to be adjusted and started.
#[derive(Clone, Debug)]
pub struct Builder {
    workers: u32,
    sites: Vec<String>,
    http: String,
    plain: String,
}

impl Builder {
    /// So many worker processes; two when nothing is said.
    #[must_use]
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count;
        self
    }

    /// A server block for this name, with pairs of certificate and key: several when they differ in the kind of key. The
    /// paths are given to nginx as they are, so they may be links that somebody switches. The first block is what clients
    /// get that ask for another name, or none.
    #[must_use]
    pub fn site(self, name: &str, pairs: &[(&Path, &Path)]) -> Self {
        self.site_with(name, pairs, "")
    }

    /// As [`Builder::site`], with further directives in the block.
    #[must_use]
    pub fn site_with(mut self, name: &str, pairs: &[(&Path, &Path)], directives: &str) -> Self {
        let line = |(cert, key): &(&Path, &Path)| {
            format!("ssl_certificate {};\nssl_certificate_key {};\n", cert.display(), key.display())
        };
        let pairs = pairs.iter().map(line).collect::<Vec<_>>().concat();
        self.sites.push(format!("server_name {name};\n{pairs}{directives}\nreturn 200 \"{name}\\n\";\n"));
        self
    }

    /// The server without TLS, with directives of the `http` block and of its own.
    #[must_use]
    pub fn plain_with(mut self, http: &str, directives: &str) -> Self {
        http.clone_into(&mut self.http);
        directives.clone_into(&mut self.plain);
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Result<Nginx> {
        let server = program("nginx-light")?;
        let account = account::unprivileged()?;
        let sandbox = Sandbox::new(account, Signal::KILL)?;
        let mut nginx = Nginx { port: 0, http_port: 0, sandbox };
        on_some_port("nginx", || {
            nginx.port = port::free()?;
            nginx.http_port = port::free()?;
            self.run(&server, &nginx, account)
        })?;
        wait_until("nginx writes its pid file", PATIENCE, || nginx.master().is_some())?;
        Ok(nginx)
    }

    fn run(
        &self,
        server: &Path,
        nginx: &Nginx,
        account: Option<Account>,
    ) -> Result<std::result::Result<(), crate::acme::server::PortTaken>> {
        let config = nginx.sandbox.dir().join("nginx.conf");
        fs::write(&config, self.config(nginx)).doing(|| format!("write {}", config.display()))?;
        let mut command = Command::new(server);
        clean(&mut command);
        run_as(&mut command, account);
        command.args(["-e", "stderr", "-p"]).arg(nginx.sandbox.data()).arg("-c").arg(&config);
        serve(&nginx.sandbox, "nginx", &mut command, nginx.http_port)
    }

    fn config(&self, nginx: &Nginx) -> String {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let block = |site: &String| format!("server {{\nlisten 127.0.0.1:{} ssl;\n{site}}}\n", nginx.port);
        let sites = self.sites.iter().map(block).collect::<Vec<_>>().concat();
        format!(
            "daemon off;\nworker_processes {};\npid {};\nerror_log stderr info;\nevents {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\n{temporary}{}\n{sites}\
             server {{\nlisten 127.0.0.1:{};\n{}\n}}\n}}\n",
            self.workers,
            nginx.pid_file().display(),
            self.http,
            nginx.http_port,
            if self.plain.is_empty() { "return 200 \"plain\\n\";" } else { &self.plain },
        )
    }
}

/// A running nginx. Dropping it kills it and removes its directory; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    http_port: u16,
    sandbox: Sandbox,
}

impl Nginx {
    /// A server to be adjusted and started.
    pub fn builder() -> Builder {
        Builder { workers: 2, sites: Vec::new(), http: String::new(), plain: String::new() }
    }

    /// The port on 127.0.0.1 where all its sites speak TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port on 127.0.0.1 where it speaks HTTP without TLS.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The file with the process id of its master.
    pub fn pid_file(&self) -> PathBuf {
        self.sandbox.data().join("nginx.pid")
    }

    /// Asks it to read its configuration and certificates again, and does not wait: when it has, handshakes show.
    pub fn reload(&self) -> Result<()> {
        let master = self.master().ok_or_else(|| Error::NotRunning { server: "nginx".into() })?;
        kill_process(master, Signal::HUP).doing(|| "send HUP to nginx".into())
    }

    /// Stops master and workers with SIGTERM and waits until they are gone.
    pub fn stop(&self) -> Result<()> {
        self.sandbox.signal(Signal::TERM);
        wait_until("nginx stops on TERM", PATIENCE, || self.sandbox.processes().is_empty())
    }

    /// Freezes it: connections are still taken by the kernel, and nobody answers.
    pub fn freeze(&self) -> Result<()> {
        self.sandbox.freeze()
    }

    /// Wakes what [`Nginx::freeze`] froze.
    pub fn thaw(&self) {
        self.sandbox.signal(Signal::CONT);
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.sandbox.dir().join("nginx.log")).unwrap_or_default()
    }

    fn master(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}
