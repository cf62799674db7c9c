//! Which paths of its own crate a file names.

use proc_macro2::{TokenStream, TokenTree};
use syn::UseTree;

use super::Walk;

impl Walk {
    /// Notes a path of this crate. What is named is found among the crate's modules later.
    pub(super) fn uses(&mut self, path: &[String]) {
        if self.test {
            return;
        }
        let mut place: Vec<String> = self.source.module.iter().chain(&self.modules).cloned().collect();
        let mut rest = path.iter();
        match path.first().map(String::as_str) {
            Some("crate") => {
                place.clear();
                rest.next();
            }
            Some("self") => {
                rest.next();
            }
            Some("super") => {}
            _ => return,
        }
        for name in rest {
            if name == "super" {
                place.pop();
            } else {
                place.push(name.clone());
            }
        }
        self.uses.insert(place);
    }

    pub(super) fn use_tree(&mut self, tree: &UseTree, before: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.uses(before);
                before.pop();
            }
            UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                self.uses(before);
                before.pop();
            }
            UseTree::Glob(_) => self.uses(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(tree, before)),
        }
    }

    /// What can be told of a macro's tokens.
    pub(super) fn tokens(&mut self, tokens: TokenStream) {
        let mut streams = vec![tokens];
        while let Some(stream) = streams.pop() {
            let mut path: Vec<String> = Vec::new();
            let mut colons = 0;
            for token in stream {
                match token {
                    TokenTree::Ident(ident) => {
                        let name = ident.to_string();
                        if name == "unsafe" {
                            self.unsafe_at("macro", ident.span());
                        }
                        if colons == 2 && !path.is_empty() {
                            path.push(name);
                        } else {
                            self.uses(&std::mem::replace(&mut path, vec![name]));
                        }
                        colons = 0;
                    }
                    TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                    other => {
                        self.uses(&std::mem::take(&mut path));
                        colons = 0;
                        if let TokenTree::Group(group) = other {
                            streams.push(group.stream());
                        }
                    }
                }
            }
            self.uses(&path);
        }
    }
}
