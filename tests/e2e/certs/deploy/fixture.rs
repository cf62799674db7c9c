//! A directory with a configuration, an authority that signs requests, and servers that read `live/`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use testbed::{Output, Postgres, Redis, RedisVersion, Signal, records, run, tool, wait_until};

/// The name that certificates here are for.
pub(crate) const NAME: &str = "a.example.test";

const OPENSSL: &str = "[req]\ndistinguished_name=dn\n[dn]\n[root]\nbasicConstraints=critical,CA:TRUE\n\
    keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n\
    [ca]\ndefault_ca=here\n[here]\ndatabase=index\nnew_certs_dir=.\ncertificate=root.pem\nprivate_key=root.key\n\
    default_md=sha256\nrand_serial=yes\nunique_subject=no\ncopy_extensions=copy\npolicy=any\nemail_in_dn=no\n\
    x509_extensions=leaf\n[any]\ncommonName=optional\norganizationName=optional\n\
    [leaf]\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n\
    [named]\nsubjectAltName=DNS:b.example.test\n";

/// One test's directory.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    extra: String,
    consumers: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Servers run as users of their own.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bench = Bench { dir, extra: String::new(), consumers: String::new() };
        for directory in ["ca", "requests", "state"] {
            fs::create_dir(bench.path(directory)).unwrap();
        }
        fs::write(bench.path("ca/openssl.cnf"), OPENSSL).unwrap();
        fs::write(bench.path("ca/index"), "").unwrap();
        bench.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "20000",
            "-subj",
            "/CN=test authority",
            "-extensions",
            "root",
            "-config",
            "openssl.cnf",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
        ]);
        bench.settings("verify_count = 3\nverify_timeout = \"20s\"\nkeep = 3\n");
        bench
    }

    /// With generation 1 live, without a consumer.
    pub(crate) fn with_one() -> Self {
        Self::with_one_of("")
    }

    /// As [`Bench::with_one`], with keys of the certificate's table.
    pub(crate) fn with_one_of(extra: &str) -> Self {
        let mut bench = Bench::new();
        extra.clone_into(&mut bench.extra);
        bench.configure();
        bench.request();
        bench.sign(&[]);
        let output = bench.rotate(&[]);
        assert_eq!(output.code, 0, "{output}");
        assert_eq!(bench.generation(), Some(1));
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn live(&self, file: &str) -> PathBuf {
        self.path("certs/live/web").join(file)
    }

    pub(crate) fn settings(&self, settings: &str) {
        let directory = self.path("certs");
        let text = format!("[cert-rotate]\ndirectory = \"{}\"\n{settings}", directory.display());
        fs::write(self.path("maint.toml"), text).unwrap();
    }

    /// Other keys of the certificate's table.
    pub(crate) fn extra(&mut self, extra: &str) {
        extra.clone_into(&mut self.extra);
        self.configure();
    }

    /// Other consumers.
    pub(crate) fn consumers(&mut self, consumers: &[String]) {
        self.consumers = consumers.concat();
        self.configure();
    }

    fn configure(&self) {
        let mut text = String::new();
        let (requests, root) = (self.path("requests"), self.path("ca/root.pem"));
        let _ = writeln!(text, "[issuers.somebody]\nkind = \"csr\"\ndirectory = \"{}\"", requests.display());
        let _ = writeln!(text, "roots = \"{}\"", root.display());
        let _ = writeln!(text, "[certs.web]\nnames = [\"{NAME}\", \"127.0.0.1\"]\nissuer = \"somebody\"");
        let _ = writeln!(text, "{}\n{}", self.extra, self.consumers);
        fs::write(self.path("certs.toml"), text).unwrap();
    }

    pub(crate) fn tool(&self, args: &[&str]) -> Command {
        let mut command = tool("cert-rotate", &self.path("state")).unwrap();
        command.arg("--config").arg(self.path("maint.toml")).arg("--certs").arg(self.path("certs.toml"));
        command.args(args);
        command
    }

    pub(crate) fn rotate(&self, args: &[&str]) -> Output {
        run(self.tool(&["rotate", "-o", "ndjson"]).args(args)).unwrap()
    }

    /// A run that only writes a request.
    pub(crate) fn request(&self) {
        let output = self.rotate(&["--force"]);
        assert_eq!(output.code, 1, "{output}");
        assert_eq!(step(&output)["status"], "deferred", "{output}");
    }

    /// Signs what was requested; `args` are those of `openssl ca`.
    pub(crate) fn sign(&self, args: &[&str]) {
        let request = self.path("requests/web.csr");
        let mut all = vec!["ca", "-batch", "-config", "openssl.cnf", "-notext", "-subj", "/CN=a", "-out", "leaf.pem"];
        if !args.contains(&"-enddate") && !args.contains(&"-days") {
            all.extend(["-days", "30"]);
        }
        all.extend(args);
        let request = request.display().to_string();
        all.extend(["-in", &request]);
        self.openssl(&all);
        fs::rename(self.path("ca/leaf.pem"), self.path("requests/web.pem")).unwrap();
    }

    /// A new certificate that waits to be taken.
    pub(crate) fn issue(&self, args: &[&str]) {
        self.request();
        self.sign(args);
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl").args(args).current_dir(self.path("ca")).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("ca/root.pem")).unwrap()
    }

    /// The number of what is live.
    pub(crate) fn generation(&self) -> Option<u64> {
        let target = fs::read_link(self.path("certs/live/web")).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    pub(crate) fn leaf(&self, generation: u64) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("certs/archive/web/{generation}/cert.pem"))).unwrap()
    }

    pub(crate) fn state(&self, generation: u64) -> String {
        let text = fs::read_to_string(self.path(&format!("certs/archive/web/{generation}/meta.json"))).unwrap();
        let meta: serde_json::Value = serde_json::from_str(&text).unwrap();
        meta["state"].as_str().unwrap().to_owned()
    }

    /// No line of any private key is in what was printed, nor in the journal.
    pub(crate) fn keeps_its_keys(&self, output: &Output) {
        let mut texts = vec![output.stdout.clone(), output.stderr.clone()];
        let kept = testbed::files(&self.path("state"));
        assert!(!kept.is_empty(), "there is no journal");
        texts.extend(kept.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()));
        let generations = fs::read_dir(self.path("certs/archive/web")).unwrap();
        for generation in generations {
            let key = fs::read_to_string(generation.unwrap().path().join("privkey.pem")).unwrap();
            for line in key.lines().filter(|line| !line.starts_with('-')) {
                assert!(texts.iter().all(|text| !text.contains(line)), "a key was told");
            }
        }
    }

    /// Key and certificate in `live/` are of each other, and nothing half done lies about.
    pub(crate) fn whole(&self) {
        assert!(is_pair(&self.live("")), "the key is not the certificate's");
        let entries: Vec<_> =
            fs::read_dir(self.path("certs/live")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(entries.len() <= 2, "{entries:?}");
    }
}

/// The one record that says how it went.
#[track_caller]
pub(crate) fn step(output: &Output) -> serde_json::Value {
    let all = records(&output.stdout).unwrap();
    let mut steps = all.into_iter().filter(|record| record["type"] == "maint.step.v1");
    let step = steps.next().unwrap_or_else(|| panic!("no step: {output}"));
    assert!(steps.next().is_none(), "{output}");
    step["data"].clone()
}

/// Whether `privkey.pem` is the key of `cert.pem`, both read from one directory, opened once. The private key of an
/// elliptic curve ends with its public point (RFC 5915, RFC 5958), which the certificate contains.
pub(crate) fn is_pair(directory: &Path) -> bool {
    use std::os::fd::AsRawFd as _;
    let opened = fs::File::open(directory).unwrap();
    let inside = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let certificate = CertificateDer::from_pem_file(inside.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(inside.join("privkey.pem")).unwrap();
    let point = &key.secret_der()[key.secret_der().len() - 65..];
    assert_eq!(point[0], 4, "no point");
    certificate.windows(65).any(|window| window == point)
}

/// A client that trusts the bench's authority alone.
#[derive(Clone)]
pub(crate) struct Client(Arc<rustls::ClientConfig>);

impl Client {
    pub(crate) fn of(bench: &Bench) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(bench.root()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Client(Arc::new(config))
    }

    /// A whole handshake, with the chain and the name checked; the leaf that was shown.
    pub(crate) fn handshake(&self, port: u16, postgres: bool) -> Result<CertificateDer<'static>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| text(&error))?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| text(&error))?;
        if postgres {
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).map_err(|error| text(&error))?;
            let mut answer = [0];
            stream.read_exact(&mut answer).map_err(|error| text(&error))?;
            assert_eq!(&answer, b"S");
        }
        let name = ServerName::try_from(NAME).unwrap();
        let mut session = rustls::ClientConnection::new(Arc::clone(&self.0), name).map_err(|error| text(&error))?;
        while session.is_handshaking() {
            session.complete_io(&mut stream).map_err(|error| text(&error))?;
        }
        Ok(session.peer_certificates().unwrap()[0].clone().into_owned())
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A private nginx with two workers. Dropping it ends master and workers.
pub(crate) struct Nginx {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    master: Child,
}

impl Nginx {
    pub(crate) fn start(certificate: &Path, key: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
            .concat();
        let text = format!(
            "daemon off;\nworker_processes 2;\npid {place}/pid;\nerror_log {place}/error.log;\n\
             events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temporary}\
             server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {};\nssl_certificate_key {};\nreturn 204;\n}}\n}}\n",
            certificate.display(),
            key.display(),
        );
        fs::write(dir.path().join("nginx.conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(dir.path().join("nginx.conf")).arg("-e").arg(dir.path().join("error.log"));
        let master = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { port, dir, master };
        let up = || TcpStream::connect(("127.0.0.1", port)).is_ok() && nginx.pid_file().exists();
        wait_until("nginx answers", Duration::from_secs(20), up).unwrap();
        nginx
    }

    /// Started on what is live.
    pub(crate) fn on(bench: &Bench) -> Self {
        Nginx::start(&bench.live("fullchain.pem"), &bench.live("privkey.pem"))
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.dir.path().join("pid")
    }

    /// As a consumer; `reload` is the table.
    pub(crate) fn consumer(&self, reload: &str) -> String {
        let port = self.port;
        format!(
            "[[certs.web.consumers]]\nname = \"nginx\"\nreload = {reload}\nverify = [\"127.0.0.1:{port};sni={NAME}\"]\n"
        )
    }

    pub(crate) fn by_pid_file(&self) -> String {
        self.consumer(&format!("{{ by = \"pid-file\", path = \"{}\" }}", self.pid_file().display()))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = i32::try_from(self.master.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
    }
}

/// PostgreSQL 15 with TLS.
pub(crate) fn postgres(certificate: &Path, key: &Path) -> Postgres {
    let builder = Postgres::builder(15).setting("ssl", "on");
    let builder = builder.setting("ssl_cert_file", &certificate.display().to_string());
    builder.setting("ssl_key_file", &key.display().to_string()).start().unwrap()
}

pub(crate) fn postgres_consumer(server: &Postgres) -> String {
    let (port, dsn) = (server.port(), server.dsn("postgres").replace('"', "\\\""));
    format!(
        "[[certs.web.consumers]]\nname = \"database\"\nreload = {{ by = \"postgresql\", dsn = \"{dsn}\" }}\n\
         verify = [\"127.0.0.1:{port};sni={NAME};starttls=postgres\"]\n"
    )
}

/// Redis 7.0 with TLS.
pub(crate) fn redis(certificate: &Path, key: &Path) -> Redis {
    let builder = Redis::builder(RedisVersion::V7_0).tls();
    let builder = builder.config("tls-cert-file", &certificate.display().to_string());
    builder.config("tls-key-file", &key.display().to_string()).start().unwrap()
}

pub(crate) fn redis_consumer(server: &Redis) -> String {
    let tls = server.tls().unwrap();
    format!(
        "[[certs.web.consumers]]\nname = \"cache\"\nreload = {{ by = \"redis\", url = \"{}\" }}\n\
         verify = [\"127.0.0.1:{};sni={NAME}\"]\n",
        tls.url(),
        tls.port
    )
}

/// The keys of a certificate's table for files that servers of the bed can read.
pub(crate) fn owned() -> &'static str {
    if rustix::process::geteuid().is_root() { "owner = \"postgres\"\n" } else { "" }
}
