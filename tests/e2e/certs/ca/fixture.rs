//! A directory with authorities, and openssl beside it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use testbed::{Output, files, records, run, tool};

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// Nothing but a file with a passphrase.
    pub(crate) fn empty() -> Self {
        let bench = Bench { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.path("state")).unwrap();
        bench.private("pass", &format!("{PASSPHRASE}\n"));
        bench.write("maint.toml", &format!("[cert-rotate]\ndirectory = \"{}\"\n", bench.path("certs").display()));
        bench.write("certs.toml", "");
        bench
    }

    /// A root whose key is encrypted, and an authority `services` for `example.test` below it.
    pub(crate) fn new() -> Self {
        let bench = Bench::empty();
        bench.ok(&["init", "ca", "--passphrase-file", "pass"]);
        bench.intermediate("services", "root");
        bench
    }

    pub(crate) fn intermediate(&self, name: &str, issuer: &str) {
        let pass = ["--issuer-passphrase-file", "pass", "--unencrypted"];
        self.ok(&[&["intermediate", "ca", name, "--issuer", issuer, "--permit", "example.test"][..], &pass].concat());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn private(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    pub(crate) fn tool(&self, args: &[&str]) -> Command {
        let mut command = tool("cert-rotate", &self.path("state")).unwrap();
        command.current_dir(self.dir.path()).args(["--config", "maint.toml", "--certs", "certs.toml", "-o", "ndjson"]);
        command.args(args);
        command
    }

    /// `cert-rotate ca ARGS`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.tool(&[&["ca"], args].concat())
    }

    pub(crate) fn ca(&self, args: &[&str]) -> Output {
        run(&mut self.command(args)).unwrap()
    }

    /// One that must do it; what it told last before its summary.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> Value {
        let output = self.ca(args);
        assert_eq!(output.code, 0, "{args:?}: {output}");
        let all = data(&output);
        all[all.len() - 2].clone()
    }

    /// One that must refuse; everything that it said.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.ca(args);
        assert_eq!(output.code, 3, "{args:?}: {output}");
        output.stderr
    }

    /// A key and a request by openssl.
    pub(crate) fn request(&self, file: &str, names: &str) {
        let (key, request, names) = (format!("{file}.key"), format!("{file}.csr"), format!("subjectAltName={names}"));
        let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let rest = ["-subj", "/CN=somebody", "-addext", &names, "-keyout", &key, "-out", &request];
        self.openssl(&[&["req", "-new"], &kind[..], &rest].concat());
    }

    /// A leaf by `services`; its serial number.
    pub(crate) fn leaf(&self, file: &str, names: &str) -> String {
        self.request(file, names);
        let told = self.ok(&["sign", "ca", "services", &format!("{file}.csr")]);
        told["serial"].as_str().unwrap().to_owned()
    }

    /// One that must do it; what it printed, on both streams.
    #[track_caller]
    pub(crate) fn openssl(&self, args: &[&str]) -> String {
        let (ok, text) = self.openssl_says(args);
        assert!(ok, "openssl {args:?}: {text}");
        text
    }

    pub(crate) fn openssl_says(&self, args: &[&str]) -> (bool, String) {
        let output = run(Command::new("openssl").args(args).current_dir(self.dir.path())).unwrap();
        (output.code == 0, format!("{}{}", output.stdout, output.stderr))
    }

    /// `openssl verify` of a chain file's leaf, as strictly as it can, with the authority's list.
    pub(crate) fn verify(&self, file: &str, purpose: &str) -> (bool, String) {
        let list = ["-crl_check", "-CRLfile", "ca/authorities/services/crl.pem"];
        let chain = ["-CAfile", "ca/trust.pem", "-untrusted", file, "-purpose", purpose, file];
        self.openssl_says(&[&["verify", "-x509_strict"], &list[..], &chain].concat())
    }

    /// The ledger's lines.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("ca/ledger")).unwrap_or_default();
        let finished = text.rfind('\n').map_or("", |end| &text[..end]);
        finished.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Of what was issued to services: the serial numbers.
    pub(crate) fn leaves(&self) -> Vec<String> {
        let of_leaf = |line: &&Value| line["kind"] == "leaf";
        let serial = |line: &Value| line["serial"].as_str().unwrap().to_owned();
        self.ledger().iter().filter(of_leaf).map(serial).collect()
    }

    /// Every certificate in every file below the directory is in the ledger; how many there are.
    #[track_caller]
    pub(crate) fn none_is_unknown(&self) -> usize {
        let mut count = 0;
        let text = fs::read_to_string(self.path("ca/ledger")).unwrap_or_default();
        let ledger: String = text.split("\\n").collect();
        let is_other = |path: &&PathBuf| !path.is_symlink() && path.file_name().unwrap() != "ledger";
        for path in files(self.dir.path()).iter().filter(is_other) {
            for certificate in certificates(path) {
                count += 1;
                let known = known(&ledger, &certificate);
                assert!(known, "{} has a certificate that is not in the ledger", path.display());
            }
        }
        count
    }

    /// No private key, and no passphrase, was told or journalled.
    #[track_caller]
    pub(crate) fn keeps_its_secrets(&self, output: &Output) {
        let mut told = format!("{}{}", output.stdout, output.stderr);
        for path in files(&self.path("state")) {
            told.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
        }
        assert!(!told.contains(PASSPHRASE), "the passphrase was told");
        let mut count = 0;
        for path in files(self.dir.path()).into_iter().filter(|path| !path.is_symlink()) {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            if !text.contains("PRIVATE KEY-----") {
                continue;
            }
            count += 1;
            for line in text.lines().filter(|line| !line.starts_with('-') && line.len() > 16) {
                assert!(!told.contains(line), "{} was told", path.display());
            }
        }
        assert!(count > 0, "there are no keys");
    }
}

/// The `data` of every record.
pub(crate) fn data(output: &Output) -> Vec<Value> {
    records(&output.stdout).unwrap().iter().map(|record| record["data"].clone()).collect()
}

/// The codes of all findings.
pub(crate) fn codes(output: &Output) -> BTreeSet<String> {
    data(output).iter().filter_map(|data| data["code"].as_str().map(str::to_owned)).collect()
}

pub(crate) fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let bytes = fs::read(path).unwrap();
    CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect()
}

/// The ledger has the certificates themselves, as PEM with its lines joined.
fn known(ledger: &str, certificate: &CertificateDer<'_>) -> bool {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in certificate.chunks_exact(3) {
        let bits = u32::from(part[0]) << 16 | u32::from(part[1]) << 8 | u32::from(part[2]);
        text.extend([18, 12, 6, 0].map(|shift| char::from(LETTERS[(bits >> shift & 63) as usize])));
    }
    ledger.contains(&text)
}
