//! Extended attributes as the engine keeps them. Its type for one has no public name, so they are made from what they look
//! like in JSON: names, and values in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustic_core::repofile::Metadata;

/// Puts attributes into the metadata of an entry.
///
/// # Errors
/// The engine does not take them.
pub fn put(meta: &mut Metadata, attributes: &[(String, Vec<u8>)]) -> Result<(), serde_json::Error> {
    if attributes.is_empty() {
        return Ok(());
    }
    let json = |(name, value): &(String, Vec<u8>)| serde_json::json!({"name": name, "value": STANDARD.encode(value)});
    let all: Vec<serde_json::Value> = attributes.iter().map(json).collect();
    let made: Metadata = serde_json::from_value(serde_json::json!({"extended_attributes": all}))?;
    meta.extended_attributes = made.extended_attributes;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_stay_as_they_are() {
        let mut meta = Metadata::default();
        put(&mut meta, &[("user.note".to_owned(), vec![0, 255, 7])]).unwrap();
        let kept = &meta.extended_attributes[0];
        assert_eq!((kept.name.as_str(), kept.value.as_deref()), ("user.note", Some(&[0, 255, 7][..])));
    }
}
