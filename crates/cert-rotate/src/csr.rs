//! An issuer that is somebody else: a request is written, and its answer is awaited beside it.

use std::path::Path;

use maint_core::durable;
use maint_core::failure::Failure;

use crate::ca::constraints;
use crate::ca::request::{Asked, file};
use crate::certificate::Certificate;
use crate::issue::{Answer, Request};
use crate::work::Work;

/// Writes `NAME.csr`, unless it is there for the same key and names, and takes `NAME.pem` when it is for the request's key; an older one is somebody's last answer.
///
/// # Errors
/// The request cannot be made or written, or the answer cannot be read.
pub fn obtain(request: &Request<'_>, directory: &Path, _work: &Work<'_>) -> Result<Answer, Failure> {
    let name = request.name;
    let answer = directory.join(format!("{name}.pem"));
    match std::fs::read(&answer) {
        Ok(pem) => {
            let chain = Certificate::all_from_pem(&pem)
                .map_err(|error| Failure::critical(format!("{}: {error}", answer.display())))?;
            if chain.first().is_some_and(|leaf| request.key.is_of(leaf)) {
                return Ok(Answer::Issued(chain));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::critical(format!("cannot read {}: {error}", answer.display()))),
    }
    let path = directory.join(format!("{name}.csr"));
    let mut names = Vec::new();
    for name in &request.spec.names {
        names.push(constraints::name(name)?);
    }
    let wanted = Asked { public: request.key.public(), names };
    // A signature is different each time, and somebody may be about to sign the request that is there.
    if !file(&path).is_ok_and(|there| there == wanted) {
        write(&path, request)?;
    }
    Ok(Answer::Waiting(format!("{} waits to be signed; put the chain into {}", path.display(), answer.display())))
}

fn write(path: &Path, request: &Request<'_>) -> Result<(), Failure> {
    let failed = |error: rcgen::Error| Failure::critical(format!("{}: cannot make the request: {error}", request.name));
    let params = rcgen::CertificateParams::new(request.spec.names.clone()).map_err(failed)?;
    let made = params.serialize_request(request.key.pair()).map_err(failed)?;
    let text = made.pem().map_err(failed)?;
    durable::replace(path, text.as_bytes(), 0o644).map_err(|error| Failure::critical(error.to_string()))?;
    let again = file(path)?;
    if again.public == request.key.public() {
        return Ok(());
    }
    Err(Failure::critical(format!("{} does not have what was written", path.display())))
}
