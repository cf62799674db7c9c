//! Our account with an authority: its key, where it is kept, and what can be done with it.
//!
//! `accounts/ISSUER.json` holds the only copy of the account's key, for each directory that the issuer ever had, so that
//! trying the authority's staging directory does not cost the account of the real one.

use std::collections::BTreeMap;

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use maint_core::failure::Failure;
use maint_core::lock::RunLock;
use maint_core::{durable, secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::client::{Client, patient};
use super::state::make_directory;

/// An account on disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    credentials: AccountCredentials,
    contact: Vec<String>,
}

type File = BTreeMap<String, Kept>;

impl Client<'_> {
    fn account_path(&self) -> std::path::PathBuf {
        self.accounts.join(format!("{}.json", self.issuer))
    }

    fn read_accounts(&self) -> Result<File, Failure> {
        let path = self.account_path();
        match std::fs::read(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                serde_json::from_slice(&text).map_err(|error| {
                    Failure::critical(format!("the account in {} does not hold: {error}", path.display()))
                        .hint("restore it, or remove it to register a new account")
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::new()),
            Err(error) => Err(Failure::critical(format!("cannot read the account in {}: {error}", path.display()))),
        }
    }

    /// Keeps an account, or forgets it.
    fn keep(&self, kept: Option<Kept>) -> Result<(), Failure> {
        let mut all = self.read_accounts()?;
        match kept {
            Some(kept) => all.insert(self.spec.directory.clone(), kept),
            None => all.remove(&self.spec.directory),
        };
        let path = self.account_path();
        make_directory(&path)?;
        let text = serde_json::to_vec_pretty(&all)
            .map(Zeroizing::new)
            .map_err(|error| Failure::critical(format!("cannot encode {}: {error}", path.display())))?;
        durable::replace(&path, &text, 0o600).map_err(|error| Failure::critical(error.to_string()))
    }

    /// One change of the account at a time.
    pub(crate) fn lock_account(&self) -> Result<RunLock, Failure> {
        make_directory(&self.account_path())?;
        RunLock::acquire(&self.accounts, self.issuer).map_err(|error| Failure::not_now(error.to_string()))
    }

    /// The account of the key that is there; `None` when there is none.
    pub(crate) async fn known_account(&self) -> Result<Option<Account>, Failure> {
        let Some(kept) = self.read_accounts()?.remove(&self.spec.directory) else { return Ok(None) };
        // The library takes whatever comes for the directory; what is none is refused here.
        self.directory().await?;
        let opened = Account::builder_with_http(self.http()).from_credentials(kept.credentials).await;
        opened.map(Some).map_err(|error| self.refused("open the account", error))
    }

    /// The account: the one that is there, or a new one.
    pub(crate) async fn open_account(&self) -> Result<Account, Failure> {
        if let Some(account) = self.known_account().await? {
            return self.with_current_contact(account).await;
        }
        let _lock = self.lock_account()?;
        self.register().await
    }

    /// Tells the authority when the contact in the configuration is not the one that it was told.
    async fn with_current_contact(&self, account: Account) -> Result<Account, Failure> {
        let Some(mut kept) = self.read_accounts()?.remove(&self.spec.directory) else { return Ok(account) };
        if kept.contact != self.spec.contact {
            self.tell_contact(&account).await?;
            kept.contact.clone_from(&self.spec.contact);
            self.keep(Some(kept))?;
        }
        Ok(account)
    }

    async fn tell_contact(&self, account: &Account) -> Result<(), Failure> {
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        patient(async || account.update_contacts(&contact).await)
            .await
            .map_err(|error| self.refused("change the account's contact", error))
    }

    fn contact(&self) -> Vec<String> {
        self.spec.contact.iter().map(|address| format!("mailto:{address}")).collect()
    }

    async fn register(&self) -> Result<Account, Failure> {
        let directory = self.directory().await?;
        let external = self.external_account()?;
        if directory.meta.external_account_required && external.is_none() {
            return Err(Failure::usage(format!("{}: the authority wants an external account", self.issuer))
                .hint("set eab_key_id and eab_hmac_file of the issuer to what the authority gave you"));
        }
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let created = patient(async || {
            let builder = Account::builder_with_http(self.http());
            builder.create(&new, self.spec.directory.clone(), external.as_ref()).await
        });
        let (account, credentials) = created.await.map_err(|error| self.refused("register an account", error))?;
        self.keep(Some(Kept { credentials, contact: self.spec.contact.clone() }))?;
        let terms = directory.meta.terms_of_service.unwrap_or_else(|| "none".to_owned());
        tracing::info!("{}: registered {}; terms of service agreed to: {terms}", self.issuer, account.id());
        Ok(account)
    }

    fn external_account(&self) -> Result<Option<ExternalAccountKey>, Failure> {
        match (&self.spec.eab_key_id, &self.spec.eab_hmac_file) {
            (None, None) => Ok(None),
            (Some(id), Some(path)) => {
                let text = secret::from_file(path).map_err(|error| Failure::usage(error.to_string()))?;
                let key = base64url(text.expose()).ok_or_else(|| {
                    Failure::usage(format!("{} holds no base64url", path.display())).hint("correct eab_hmac_file")
                })?;
                Ok(Some(ExternalAccountKey::new(id.clone(), &key)))
            }
            _ => Err(Failure::usage(format!(
                "[issuers.{}]: eab_key_id and eab_hmac_file belong together; one is missing",
                self.issuer
            ))),
        }
    }

    /// What the authority says of the account, as JSON; `None` when it does not say.
    pub(crate) async fn account_status(&self, account: &Account) -> Result<Option<String>, Failure> {
        let said = self.fetch(account, account.id()).await?;
        let body: serde_json::Value = serde_json::from_slice(&said.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        Ok(if said.status < 400 { text("status") } else { text("detail").or_else(|| text("type")) })
    }

    /// Gives the account a new key, keeps it, and shows that it is the one the authority knows.
    pub(crate) async fn rollover(&self) -> Result<Account, Failure> {
        let mut account = self.require_account().await?;
        let changed = patient(async || account.update_key().await).await;
        let credentials = changed.map_err(|error| self.refused("change the account's key", error))?;
        self.keep(Some(Kept { credentials, contact: self.spec.contact.clone() }))?;
        let account = self.require_account().await?;
        self.tell_contact(&account).await?;
        Ok(account)
    }

    /// Closes the account for ever, looks that it is closed, and forgets its key.
    pub(crate) async fn deactivate(&self) -> Result<(), Failure> {
        let account = self.require_account().await?;
        // The library does not look at the answer, so the account itself is asked afterwards.
        for _ in 0..60 {
            let closing = patient(async || account.clone().deactivate().await).await;
            closing.map_err(|error| self.refused("close the account", error))?;
            if self.wire.said().status < 400 {
                break;
            }
        }
        let status = self.account_status(&account).await?;
        if status.as_deref() == Some("valid") {
            return Err(Failure::critical(format!("{}: the account {} is still open", self.issuer, account.id())));
        }
        self.keep(None)
    }

    pub(crate) async fn require_account(&self) -> Result<Account, Failure> {
        self.known_account().await?.ok_or_else(|| {
            Failure::usage(format!("{}: there is no account with {}", self.issuer, self.spec.directory))
                .hint(format!("register one: cert-rotate account register {}", self.issuer))
        })
    }
}

/// Decodes base64 of either alphabet (RFC 4648, 4 and 5), with or without padding: authorities hand out both.
fn base64url(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut held) = (0_u32, 0);
    for c in text.trim().trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    // Six bits alone are no byte.
    (held < 6 && !bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_both_alphabets_is_read() {
        assert_eq!(base64url("Zm9vYmE=").unwrap().as_slice(), b"fooba");
        assert_eq!(base64url("Zm9vYmE\n").unwrap().as_slice(), b"fooba");
        assert_eq!(base64url("-_-_").unwrap(), base64url("+/+/").unwrap());
        for text in ["", "A", "Zm9vY", "Zm 9v"] {
            assert!(base64url(text).is_none(), "{text}");
        }
    }
}
