//! Names: distinguished names as RFC 5280, 7.1 compares them, and the kinds of subjectAltName.

use super::der::{BOOLEAN, Der, Malformed, OID, Parsed, SET, constructed, context, malformed};

const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A distinguished name. Two are equal when RFC 5280, 7.1 says so: whatever kind of string, without regard to case and
/// to how wide a space is.
#[derive(Debug, Clone, Default)]
pub(super) struct Name {
    /// Every relative name, in its comparable form.
    relative: Vec<Vec<u8>>,
    /// Values of the attribute emailAddress.
    pub(super) emails: Vec<String>,
    /// Values of the attribute commonName.
    pub(super) common: Vec<String>,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.relative == other.relative
    }
}

impl Name {
    /// Reads a name from the inside of its sequence.
    pub(super) fn read(content: &[u8]) -> Parsed<Self> {
        let mut name = Name::default();
        let mut der = Der::new(content);
        while !der.is_empty() {
            let set = der.expect(SET)?;
            name.push(set)?;
        }
        Ok(name)
    }

    /// This name, and below it a relative one, from the inside of its set.
    pub(super) fn with(&self, set: &[u8]) -> Parsed<Self> {
        let mut name = self.clone();
        name.push(set)?;
        Ok(name)
    }

    /// No parts at all.
    pub(super) fn is_empty(&self) -> bool {
        self.relative.is_empty()
    }

    /// Whether it is the other name or below it.
    pub(super) fn is_within(&self, other: &Name) -> bool {
        self.relative.starts_with(&other.relative)
    }

    /// What two equal names have in common, to look one up by.
    pub(super) fn key(&self) -> &[Vec<u8>] {
        &self.relative
    }

    /// How many parts there are, for the bound on work.
    pub(super) fn len(&self) -> usize {
        self.relative.len()
    }

    fn push(&mut self, set: &[u8]) -> Parsed<()> {
        let mut attributes = Vec::new();
        let mut der = Der::new(set);
        if der.is_empty() {
            return malformed("a relative name is empty");
        }
        while !der.is_empty() {
            let mut attribute = der.sequence()?;
            let kind = attribute.expect(OID)?;
            let value = attribute.item()?;
            attribute.end()?;
            let text = text(value.tag, value.content)?;
            let mut form = comparable(kind);
            if let Some(text) = &text {
                if kind == EMAIL_ADDRESS {
                    self.emails.push(text.clone());
                } else if kind == COMMON_NAME {
                    self.common.push(text.clone());
                }
                let folded: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                form.push(0);
                form.extend(comparable(folded.join(" ").as_bytes()));
            } else {
                form.push(1);
                form.extend(comparable(value.raw));
            }
            attributes.push(form);
        }
        attributes.sort();
        self.relative.push(attributes.concat());
        Ok(())
    }
}

/// Bytes after their length, so that what is joined cannot be read in two ways.
fn comparable(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u64).to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

/// The text of a value of DirectoryString or IA5String; `None` for what is no text.
fn text(tag: u8, content: &[u8]) -> Parsed<Option<String>> {
    let utf8 = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => malformed("a name's text is not in its encoding"),
    };
    match tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString.
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a => utf8(content),
        // TeletexString, in practice Latin-1.
        0x14 => Ok(Some(content.iter().map(|&byte| char::from(byte)).collect())),
        // BMPString.
        0x1e => {
            let units: Vec<u16> =
                content.chunks(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect();
            if !content.len().is_multiple_of(2) {
                return malformed("a name's text is not in its encoding");
            }
            String::from_utf16(&units).map(Some).map_err(|_| Malformed("a name's text is not in its encoding".into()))
        }
        BOOLEAN.. => Ok(None),
        _ => malformed("a name has a value without a type"),
    }
}

/// A name of a certificate, or of a place where lists are published.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GeneralName<'a> {
    /// rfc822Name.
    Email(&'a str),
    /// dNSName.
    Dns(&'a str),
    /// uniformResourceIdentifier.
    Uri(&'a str),
    /// directoryName.
    Directory(Name),
    /// iPAddress, or in a constraint an address and a mask.
    Ip(&'a [u8]),
    /// A kind that is not looked into, by its tag, with its content.
    Other(u8, &'a [u8]),
}

impl<'a> GeneralName<'a> {
    /// Reads one.
    pub(super) fn read(der: &mut Der<'a>) -> Parsed<Self> {
        const EMAIL: u8 = context(1);
        const DNS: u8 = context(2);
        const DIRECTORY: u8 = constructed(4);
        const URI: u8 = context(6);
        const IP: u8 = context(7);
        let item = der.item()?;
        Ok(match item.tag {
            EMAIL => GeneralName::Email(ascii(item.content)?),
            DNS => GeneralName::Dns(ascii(item.content)?),
            URI => GeneralName::Uri(ascii(item.content)?),
            DIRECTORY => {
                let mut inner = Der::new(item.content);
                let name = Name::read(inner.expect(super::der::SEQUENCE)?)?;
                inner.end()?;
                GeneralName::Directory(name)
            }
            IP => GeneralName::Ip(item.content),
            tag if tag & 0xc0 == 0x80 && tag & 0x1f <= 8 => GeneralName::Other(tag, item.content),
            _ => return malformed("a name is of no known kind"),
        })
    }

    /// Reads all of a sequence's inside; there must be one.
    pub(super) fn all(content: &'a [u8]) -> Parsed<Vec<Self>> {
        let (mut der, mut all) = (Der::new(content), Vec::new());
        while !der.is_empty() {
            all.push(GeneralName::read(&mut der)?);
        }
        if all.is_empty() { malformed("a list of names is empty") } else { Ok(all) }
    }

    /// The distinguished name, if it is one.
    pub(super) fn directory(&self) -> Option<&Name> {
        match self {
            GeneralName::Directory(name) => Some(name),
            _ => None,
        }
    }
}

/// An IA5String.
fn ascii(content: &[u8]) -> Parsed<&str> {
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => malformed("a name is not in ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inside of a name of one common name.
    fn named(tag: u8, text: &[u8]) -> Vec<u8> {
        let mut attribute = vec![0x06, 0x03, 0x55, 0x04, 0x03, tag, text.len() as u8];
        attribute.extend(text);
        let mut sequence = vec![0x30, attribute.len() as u8];
        sequence.extend(attribute);
        let mut set = vec![SET, sequence.len() as u8];
        set.extend(sequence);
        set
    }

    #[test]
    fn names_are_compared_without_case_space_and_kind_of_string() {
        let name = Name::read(&named(0x13, b"Good CA")).unwrap();
        for (tag, same) in [(0x0c, &b" good   ca "[..]), (0x13, b"GOOD CA"), (0x1e, b"\0G\0o\0o\0d\0 \0C\0A")] {
            assert_eq!(name, Name::read(&named(tag, same)).unwrap(), "{tag:x}");
        }
        for other in [&b"GoodCA"[..], b"Good CA 2", b""] {
            assert_ne!(name, Name::read(&named(0x13, other)).unwrap());
        }
        assert_eq!(name.common, ["Good CA"]);
    }

    #[test]
    fn a_name_is_within_itself_and_above_what_is_below_it() {
        let name = Name::read(&named(0x13, b"Good CA")).unwrap();
        let below = Name::read(&[named(0x13, b"Good CA"), named(0x13, b"x")].concat()).unwrap();
        assert!(below.is_within(&name) && name.is_within(&name) && !name.is_within(&below));
        assert!(name.is_within(&Name::default()));
    }

    #[test]
    fn text_in_no_encoding_is_refused() {
        assert!(Name::read(&named(0x0c, &[0xff, 0xfe])).is_err());
        assert!(Name::read(&named(0x1e, &[0x00])).is_err());
        assert!(GeneralName::all(&[context(2), 2, 0xc3, 0xa9]).is_err());
        assert!(GeneralName::all(&[]).is_err());
    }
}
