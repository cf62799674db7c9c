//! Databases of PostgreSQL, found by the rules of libpq.

use std::collections::BTreeMap;
use std::path::Path;

use maint_core::failure::Failure;
use maint_core::pg;
use maint_core::secret::Secret;
use url::Host;

use super::{Address, Target, resolve};
use crate::engine::pgwire::Sql;
use crate::engine::talk::Speech;
use crate::script::Script;

impl Target {
    /// A script for a database.
    ///
    /// # Errors
    /// Its host has no address or is neither on this machine nor in `allowed`, or TLS is required.
    pub fn postgres(database: &pg::Target, script: Script, allowed: &[String]) -> Result<Self, Failure> {
        let environment: BTreeMap<String, String> = database
            .libpq_environment()
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let of = |name: &str| environment.get(name).cloned();
        if let Some(mode) = of("PGSSLMODE").filter(|mode| !matches!(mode.as_str(), "disable" | "allow" | "prefer")) {
            return Err(Failure::usage(format!("sslmode={mode}: the load is sent without TLS"))
                .hint("measure on the database's own machine, with sslmode=disable"));
        }
        let address = match database.host() {
            socket if socket.starts_with('/') => {
                Address::Unix(Path::new(socket).join(format!(".s.PGSQL.{}", database.port())))
            }
            host => {
                // An address that is given beside the name is where connections go.
                let place = of("PGHOSTADDR").unwrap_or_else(|| host.to_owned());
                let host = place.parse().map(|address| match address {
                    std::net::IpAddr::V4(address) => Host::Ipv4(address),
                    std::net::IpAddr::V6(address) => Host::Ipv6(address),
                });
                resolve(&host.unwrap_or(Host::Domain(place.as_str())), database.port(), allowed)?
            }
        };
        let sql = Sql {
            user: database.user().to_owned(),
            database: database.database().to_owned(),
            password: of("PGPASSWORD").map(Secret::from),
            options: of("PGOPTIONS"),
            script,
        };
        Ok(Target { name: database.to_string(), address, tls: None, speech: Speech::Postgres(sql) })
    }
}
