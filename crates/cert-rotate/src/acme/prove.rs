//! Proving the names of an order to the authority, and hearing what it thinks of it.

use std::collections::BTreeSet;

use instant_acme::{AuthorizationStatus, ChallengeStatus, Order, OrderStatus};
use maint_core::failure::Failure;

use super::challenge::{self, Proof, checked_token};
use super::client::{explain, patient};
use super::finding;
use super::order::{Ordering, POLL, Setback};

impl Ordering<'_, '_> {
    /// Shows what the authority wants to see, until it has seen it.
    pub(super) async fn prove(&self, order: &mut Order, names: &BTreeSet<String>) -> Result<(), Setback> {
        let proofs = self.proofs(order, names).await?;
        let spec = &self.client.spec.challenge;
        let shown = challenge::show(spec, &proofs, &self.work.cancel).await?;
        let proven = async {
            tokio::time::sleep(shown.wait()).await;
            let seen = challenge::look_as_others_do(spec, &proofs).await;
            let refused = |setback: Setback| {
                let mut failure = setback.failure;
                for seen in &seen {
                    failure.message = format!("{}; {seen}", failure.message);
                }
                Setback { failure, ..setback }
            };
            self.announce(order, &proofs).await.map_err(refused)?;
            self.until_ready(order).await.map_err(refused)
        };
        let proven = tokio::select! {
            proven = proven => proven,
            exit = self.work.cancel.cancelled() => {
                Err(Failure::new(exit, format!("{}: interrupted while names were being proven", self.request.name)).into())
            }
        };
        for left in shown.take_down().await {
            finding(self.work, self.request.name, "challenge-left", left);
        }
        proven
    }

    /// What has to be shown for the authorizations that are not valid yet.
    async fn proofs(&self, order: &mut Order, names: &BTreeSet<String>) -> Result<Vec<Proof>, Failure> {
        let proofs = patient(async || {
            let mut proofs = Vec::new();
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                if authorization.status == AuthorizationStatus::Pending {
                    let name = authorization.identifier().to_string();
                    let offered: Vec<String> =
                        authorization.challenges.iter().map(|one| format!("{:?}", one.r#type)).collect();
                    let challenge = authorization.challenge(self.client.spec.challenge.kind());
                    proofs.push((name, offered, challenge.map(|one| (one.token.clone(), one.key_authorization()))));
                }
            }
            Ok(proofs)
        });
        let proofs = proofs.await.map_err(|error| self.client.refused("read the order's authorizations", error))?;
        let issuer = self.client.issuer;
        let mut checked = Vec::new();
        for (name, offered, challenge) in proofs {
            if !names.contains(&name) {
                return Err(Failure::critical(format!("{issuer}: the authority wants a proof for {name}, too")));
            }
            let Some((token, key_authorization)) = challenge else {
                let kind = self.client.spec.challenge.kind();
                return Err(Failure::usage(format!(
                    "{issuer}: {name} cannot be proven by {kind:?}; the authority offers {}",
                    offered.join(", ")
                ))
                .hint("choose another `challenge` for the issuer; names with `*.` need dns-01"));
            };
            checked.push(Proof {
                name: name.strip_prefix("*.").unwrap_or(&name).to_owned(),
                token: checked_token(&token)?,
                key_authorization: key_authorization.as_str().to_owned(),
                dns_value: key_authorization.dns_value(),
            });
        }
        Ok(checked)
    }

    /// Tells the authority that it may look.
    async fn announce(&self, order: &mut Order, proofs: &[Proof]) -> Result<(), Setback> {
        let tokens: BTreeSet<&str> = proofs.iter().map(|proof| proof.token.as_str()).collect();
        let mut told = BTreeSet::new();
        let kind = self.client.spec.challenge.kind();
        let announced = patient(async || {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
                if tokens.contains(challenge.token.as_str()) && !told.contains(&challenge.token) {
                    challenge.set_ready().await?;
                    told.insert(challenge.token.clone());
                }
            }
            Ok(())
        });
        announced.await.map_err(|error| self.burned("have the names checked", error))
    }

    async fn until_ready(&self, order: &mut Order) -> Result<(), Setback> {
        match patient(async || order.poll_ready(&POLL).await).await {
            Ok(OrderStatus::Invalid) => {}
            Ok(_) => return Ok(()),
            Err(error) if order.state().status != OrderStatus::Invalid => {
                return Err(self.burned("have the names checked", error));
            }
            Err(_) => {}
        }
        let failure = Failure::critical(format!(
            "{}: the authority does not accept the proof of {}",
            self.client.issuer,
            self.complaints(order).await
        ));
        Err(Setback { failure, burned: true })
    }

    /// What the authority says of each name that it refused.
    async fn complaints(&self, order: &mut Order) -> String {
        let mut said = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            // What could not be learned is missing in the message, no more.
            let _ = patient(async || authorization.refresh().await.map(drop)).await;
            let name = authorization.identifier().to_string();
            let errors = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
            said.extend(errors.map(|problem| format!("{name}: {}", explain(problem))));
            let invalid = authorization.challenges.iter().any(|one| one.status == ChallengeStatus::Invalid);
            if invalid && said.is_empty() {
                said.push(format!("{name}, and does not say why"));
            }
        }
        if said.is_empty() { "the names, and does not say why".to_owned() } else { said.join("; ") }
    }
}
