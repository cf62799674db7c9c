//! A certificate's extensions, each at hand by its name.

use x509_parser::extensions::{
    AuthorityInfoAccess, AuthorityKeyIdentifier, CRLDistributionPoints, ExtendedKeyUsage, GeneralName, KeyUsage,
    NameConstraints, ParsedExtension, PolicyConstraints,
};
use x509_parser::prelude::X509Certificate;

use super::Role;
use crate::certificate::Certificate;
use crate::tlv::{self, SEQUENCE, Tlv};

/// An extension and whether it is critical.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marked<T> {
    pub(super) value: T,
    pub(super) critical: bool,
}

/// What the rules go by.
pub(super) struct Facts<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) parsed: &'a X509Certificate<'a>,
    pub(super) role: Role,
    /// Whether it is an authority, and the path length.
    pub(super) basic: Option<Marked<(bool, Option<u32>)>>,
    pub(super) key_usage: Option<Marked<&'a KeyUsage>>,
    pub(super) purposes: Option<Marked<&'a ExtendedKeyUsage<'a>>>,
    pub(super) san: Option<Marked<&'a [GeneralName<'a>]>>,
    pub(super) authority_key: Option<Marked<&'a AuthorityKeyIdentifier<'a>>>,
    pub(super) subject_key: Option<Marked<&'a [u8]>>,
    /// Identifiers of policies, as text.
    pub(super) policies: Option<Vec<String>>,
    pub(super) access: Option<Marked<&'a AuthorityInfoAccess<'a>>>,
    pub(super) points: Option<Marked<&'a CRLDistributionPoints<'a>>>,
    pub(super) constraints: Option<Marked<&'a NameConstraints<'a>>>,
    pub(super) policy_constraints: Option<Marked<&'a PolicyConstraints>>,
    /// Whether inhibitAnyPolicy, when there is one, is critical.
    pub(super) inhibit_any: Option<bool>,
    /// The identifiers of all extensions, as text, in their order.
    pub(super) oids: Vec<String>,
    /// Those that cannot be read.
    pub(super) unreadable: Vec<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(certificate: &'a Certificate, parsed: &'a X509Certificate<'a>, role: Role) -> Self {
        let mut facts = Facts {
            certificate,
            parsed,
            role,
            basic: None,
            key_usage: None,
            purposes: None,
            san: None,
            authority_key: None,
            subject_key: None,
            policies: None,
            access: None,
            points: None,
            constraints: None,
            policy_constraints: None,
            inhibit_any: None,
            oids: Vec::new(),
            unreadable: Vec::new(),
        };
        for extension in parsed.extensions() {
            let critical = extension.critical;
            let oid = extension.oid.to_id_string();
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(basic) => {
                    facts.basic = Some(Marked { value: (basic.ca, basic.path_len_constraint), critical });
                }
                ParsedExtension::KeyUsage(value) => facts.key_usage = Some(Marked { value, critical }),
                ParsedExtension::ExtendedKeyUsage(value) => facts.purposes = Some(Marked { value, critical }),
                ParsedExtension::SubjectAlternativeName(san) => {
                    facts.san = Some(Marked { value: &san.general_names, critical });
                }
                ParsedExtension::AuthorityKeyIdentifier(value) => {
                    facts.authority_key = Some(Marked { value, critical });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    facts.subject_key = Some(Marked { value: id.0, critical });
                }
                ParsedExtension::CertificatePolicies(policies) => {
                    facts.policies = Some(policies.iter().map(|policy| policy.policy_id.to_id_string()).collect());
                }
                ParsedExtension::AuthorityInfoAccess(value) => facts.access = Some(Marked { value, critical }),
                ParsedExtension::CRLDistributionPoints(value) => facts.points = Some(Marked { value, critical }),
                ParsedExtension::NameConstraints(value) => facts.constraints = Some(Marked { value, critical }),
                ParsedExtension::PolicyConstraints(value) => {
                    facts.policy_constraints = Some(Marked { value, critical });
                }
                ParsedExtension::InhibitAnyPolicy(_) => facts.inhibit_any = Some(critical),
                ParsedExtension::ParseError { .. } => facts.unreadable.push(oid.clone()),
                _ => {}
            }
            facts.oids.push(oid);
        }
        facts
    }

    pub(super) fn is_authority(&self) -> bool {
        self.role == Role::Authority
    }

    /// An authority that vouches for itself.
    pub(super) fn is_root(&self) -> bool {
        self.is_authority() && self.certificate.self_issued
    }

    /// Only for clients, as far as it says.
    pub(super) fn is_for_clients_only(&self) -> bool {
        self.purposes.is_some_and(|all| all.value.client_auth && !all.value.server_auth && !all.value.any)
    }

    pub(super) fn has(&self, oid: &str) -> bool {
        self.oids.iter().any(|other| other == oid)
    }

    /// The names in subjectAltName.
    pub(super) fn names(&self) -> &'a [GeneralName<'a>] {
        self.san.map_or(&[], |san| san.value)
    }

    /// The two times of validity as they are encoded.
    pub(super) fn times(&self) -> Vec<Tlv<'a>> {
        let inside = |whole: &'a [u8]| tlv::first(whole).map_or(&[][..], |(value, _)| value.content);
        let signed = inside(inside(self.certificate.der()));
        // Version, serial number, algorithm, issuer and then the validity; it is the third sequence.
        let validity = tlv::all(signed).filter(|value| value.tag == SEQUENCE).nth(2);
        validity.map_or_else(Vec::new, |validity| tlv::all(validity.content).collect())
    }
}
