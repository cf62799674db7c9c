//! The DNS server of an authority: pebble-challtestsrv.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use super::server::{on_some_port, serve};
use crate::account::{Account, run_as};
use crate::error::{Doing, Error, Result};
use crate::port;
use crate::sandbox::Sandbox;
use crate::setup::program;
use crate::tool::clean;

/// What a hook runs with: the server's address, `set` or `clear`, a name, and a value.
const HOOK: &str = "\
import json, sys, urllib.request
server, action, name, value = sys.argv[1:]
record = {'host': name.rstrip('.') + '.', 'value': value}
urllib.request.urlopen(server + '/' + action + '-txt', json.dumps(record).encode()).read()
";

/// Answers every question for an address with 127.0.0.1, and holds the TXT records it is given.
#[derive(Debug)]
pub struct Names {
    dns: u16,
    management: u16,
}

impl Names {
    pub(super) fn start(sandbox: &Sandbox, account: Option<Account>) -> Result<Self> {
        let server = program("pebble")?.with_file_name("pebble-challtestsrv");
        on_some_port("a DNS server", || {
            let names = Self { dns: port::free()?, management: port::free()? };
            let mut command = Command::new(&server);
            clean(&mut command);
            run_as(&mut command, account);
            command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", ""]);
            command.args(["-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{}", names.dns)]);
            command.args(["-management", &format!("127.0.0.1:{}", names.management)]);
            Ok(serve(sandbox, "names", &mut command, names.management)?.map(|()| names))
        })
    }

    /// The port that it answers on.
    pub fn dns_port(&self) -> u16 {
        self.dns
    }

    /// A command that sets a TXT record when `set NAME VALUE` follows, and takes it away for `clear NAME VALUE`.
    pub fn hook(&self) -> Vec<String> {
        let server = format!("http://127.0.0.1:{}", self.management);
        ["python3", "-c", HOOK, &server].map(str::to_owned).to_vec()
    }

    /// Lets a name lead nowhere: nothing listens at that address.
    pub fn mislead(&self, name: &str) -> Result<()> {
        self.post("/add-a", &serde_json::json!({"host": format!("{name}."), "addresses": ["127.254.254.254"]}))
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        let body = body.to_string();
        let request =
            format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut answer = String::new();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.management)).doing(|| "connect".into())?;
        stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer))
            .doing(|| format!("ask the DNS server for {path}"))?;
        if answer.starts_with("HTTP/1.0 200") {
            return Ok(());
        }
        Err(Error::Failed { what: format!("POST {path} to the DNS server"), why: answer })
    }
}
