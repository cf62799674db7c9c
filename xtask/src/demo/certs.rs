//! The demo's Wednesday: an authority that speaks ACME, an nginx, and a certificate that is due before the demo is over.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use maint_core::cli::CommonArgs;
use maint_core::failure::Failure;
use maint_core::run::Run;
use maint_core::status::Exit;
use testbed::{Nginx, Pebble};

use super::{Routine, say};
use crate::routine::Cycle;

/// How long certificates are valid. Those of ten days or less are due at half of it.
const LIFETIME: Duration = Duration::from_secs(24);

/// Before there is a server, as on a new host: the certificate that it will start with.
const FIRST: &str = "[weekly]

[monthly.1]
title = \"A first certificate\"

[[monthly.1.step]]
command = [\"cert-rotate\", \"rotate\", \"shop\"]
timeout = \"1m\"
";

/// Of Wednesday, what there are programs for; then what an operator's timer would do.
const WEDNESDAY: &str = "[weekly.wednesday]
title = \"Security updates\"

[[weekly.wednesday.step]]
command = [\"cert-rotate\", \"check-renewal\"]
timeout = \"1m\"

[monthly.15]
title = \"Renewal\"

[[monthly.15.step]]
command = [\"cert-rotate\", \"letsencrypt-renewal\"]
timeout = \"2m\"
";

/// Has the first certificate issued, lets it become due, and has it renewed.
pub(super) async fn wednesday(
    demo: &Routine<'_>,
    base: &str,
    common: &CommonArgs,
    run: &Run,
) -> Result<Option<Exit>, Failure> {
    let failed = |error: testbed::Error| Failure::critical(format!("the demo's server: {error}"));
    say(common, "starting an ACME authority; the shop's first certificate is issued");
    let authority = Pebble::builder().lifetime(LIFETIME).start().map_err(failed)?;
    let root = authority.root(0).map_err(failed)?;
    let directory = demo.dir.join("certs");
    // Servers read the key as users of their own.
    let owner = std::fs::metadata(demo.server.data_dir())
        .map_err(|error| Failure::critical(format!("cannot tell whose the servers are: {error}")))?
        .uid();
    let text = format!(
        "{base}\n[cert-rotate]\ndirectory = \"{}\"\n\n\
         [cert-rotate.issuers.authority]\nkind = \"acme\"\ndirectory = \"{}\"\nca_file = \"{}\"\nroots = \"{}\"\n\
         challenge = {{ type = \"http-01\", listen = \"127.0.0.1:{}\" }}\n\n\
         [cert-rotate.certs.shop]\nnames = [\"shop.example.test\"]\nissuer = \"authority\"\nowner = \"{owner}\"\n",
        directory.display(),
        authority.directory(),
        authority.ca().display(),
        root.display(),
        authority.http_port(),
    );
    let config = demo.write("maint.toml", &text)?;
    let first = demo.write("first.toml", FIRST)?;
    let exit = demo.run(Cycle::Month, "1", Some(first.into()), Path::new(&config), common, run).await?;
    if exit.is_some() {
        return Ok(exit);
    }
    let issued = std::time::Instant::now();

    let file = |name: &str| directory.join("live/shop").join(name);
    let nginx = Nginx::builder()
        .site("shop.example.test", &[(&file("fullchain.pem"), &file("privkey.pem"))])
        .start()
        .map_err(failed)?;
    let text = format!(
        "{text}\n[[cert-rotate.certs.shop.consumers]]\nname = \"nginx\"\n\
         reload = {{ by = \"pid-file\", path = \"{}\" }}\nverify = [\"127.0.0.1:{};sni=shop.example.test\"]\n",
        nginx.pid_file().display(),
        nginx.port(),
    );
    let config = demo.write("maint.toml", &text)?;
    let routines = demo.write("wednesday.toml", WEDNESDAY)?;
    say(common, "nginx serves it; it is valid for a few seconds only, so it is due soon");
    // Neither before it is due nor when it has ended.
    tokio::time::sleep((LIFETIME / 2 + Duration::from_secs(1)).saturating_sub(issued.elapsed())).await;
    for (cycle, day) in [(Cycle::Week, "wednesday"), (Cycle::Month, "15")] {
        let exit = demo.run(cycle, day, Some(routines.clone().into()), Path::new(&config), common, run).await?;
        if exit.is_some() {
            return Ok(exit);
        }
    }
    Ok(None)
}
