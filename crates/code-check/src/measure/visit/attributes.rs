//! Attributes that say whose code it is, and where.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Expr};

/// `#[test]` of any framework, `#[bench]`, or `#[cfg(...)]` with `test` and without `not`.
pub(super) fn is_for_tests(attr: &Attribute) -> bool {
    let last = attr.path().segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    if last == "test" || last == "bench" {
        return true;
    }
    let syn::Meta::List(list) = &attr.meta else { return false };
    let words = words(list.tokens.clone());
    last == "cfg" && words.iter().any(|word| word == "test") && !words.iter().any(|word| word == "not")
}

fn words(tokens: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    let mut streams = vec![tokens];
    while let Some(stream) = streams.pop() {
        for token in stream {
            match token {
                TokenTree::Ident(ident) => words.push(ident.to_string()),
                TokenTree::Group(group) => streams.push(group.stream()),
                _ => {}
            }
        }
    }
    words
}

/// The path of `#[path = "..."]`.
pub(super) fn path_of(attr: &Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attr.meta else { return None };
    match &pair.value {
        Expr::Lit(literal) if attr.path().is_ident("path") => match &literal.lit {
            syn::Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
