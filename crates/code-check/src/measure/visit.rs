//! The walk over a file's syntax.

mod attributes;
mod paths;

use std::collections::BTreeSet;
use std::path::PathBuf;

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, Safety, Signature, Type, Visibility};

use attributes::{is_for_tests, path_of};

use super::{Function, Measured, Unsafe};
use crate::source::Source;
use crate::syntax::Parsed;

/// Measures one file.
pub(super) fn file(source: Source, parsed: &Parsed) -> Measured {
    let test = parsed.file.attrs.iter().any(is_for_tests);
    let mut walk = Walk::new(source, test);
    walk.visit_file(&parsed.file);
    let Walk { mut source, test_ranges, functions, unsafes, public_items, uses, test_modules, .. } = walk;
    source.test |= test;
    let in_tests = |line: usize| test_ranges.iter().any(|(first, last)| (*first..=*last).contains(&line));
    let (mut lines, mut test_lines, mut code_lines, mut test_code_lines) = (0, 0, 0, 0);
    for (index, text) in parsed.text.lines().enumerate() {
        let text = text.trim();
        let is_code = usize::from(!text.is_empty() && !text.starts_with("//"));
        if in_tests(index + 1) {
            test_lines += 1;
            test_code_lines += is_code;
        } else {
            lines += 1;
            code_lines += is_code;
        }
    }
    Measured {
        source,
        lines,
        test_lines,
        code_lines,
        test_code_lines,
        functions,
        unsafes,
        public_items,
        uses,
        test_modules,
    }
}

struct Walk {
    source: Source,
    /// Modules inside of the file, types and functions that we are in.
    names: Vec<String>,
    /// The modules among them: `self::` begins here.
    modules: Vec<String>,
    test: bool,
    /// The functions that we are in, each with how deep we are in it.
    open: Vec<(Function, usize)>,
    functions: Vec<Function>,
    unsafes: Vec<Unsafe>,
    public_items: usize,
    uses: BTreeSet<Vec<String>>,
    test_modules: Vec<PathBuf>,
    test_ranges: Vec<(usize, usize)>,
}

impl Walk {
    fn new(source: Source, test: bool) -> Self {
        Walk {
            source,
            names: Vec::new(),
            modules: Vec::new(),
            test,
            open: Vec::new(),
            functions: Vec::new(),
            unsafes: Vec::new(),
            public_items: 0,
            uses: BTreeSet::new(),
            test_modules: Vec::new(),
            test_ranges: Vec::new(),
        }
    }

    fn named(&mut self, name: String, inside: impl FnOnce(&mut Self)) {
        self.names.push(name);
        inside(self);
        self.names.pop();
    }

    fn public(&mut self, vis: &Visibility) {
        if matches!(vis, Visibility::Public(_)) && !self.test {
            self.public_items += 1;
        }
    }

    fn unsafe_at(&mut self, what: &'static str, span: Span) {
        self.unsafes.push(Unsafe { line: span.start().line, what });
    }

    /// Takes the measures of a function with a body; `inside` walks it.
    fn function(&mut self, attrs: &[Attribute], sig: &Signature, body: &Block, inside: impl FnOnce(&mut Self)) {
        if let Safety::Unsafe(token) = &sig.safety {
            self.unsafe_at("function", token.span);
        }
        let line = sig.fn_token.span.start().line;
        let end = body.brace_token.span.close().end().line;
        let was_test = self.test;
        let begins_tests = !was_test && attrs.iter().any(is_for_tests);
        self.test |= begins_tests;
        if begins_tests {
            self.test_ranges.push((line, end));
        }
        self.names.push(sig.ident.to_string());
        let start = [self.source.krate.replace('-', "_")];
        let place = start.iter().chain(&self.source.root).chain(&self.source.module).chain(&self.names);
        let path = place.map(String::as_str).collect::<Vec<_>>().join("::");
        let lines = end.saturating_sub(line) + 1;
        let function = Function { path, line, lines, cyclomatic: 1, cognitive: 0, nesting: 0, test: self.test };
        self.open.push((function, 0));
        inside(self);
        if let Some((function, _)) = self.open.pop() {
            self.functions.push(function);
        }
        self.names.pop();
        self.test = was_test;
    }

    /// A way more; `cognitive` says whether it also counts there by itself, `deep` whether more so the deeper it lies.
    fn way(&mut self, ways: usize, cognitive: bool, deep: bool) {
        if let Some((function, depth)) = self.open.last_mut() {
            function.cyclomatic += ways;
            function.cognitive += usize::from(cognitive) + if deep { *depth } else { 0 };
        }
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self)) {
        if let Some((function, depth)) = self.open.last_mut() {
            *depth += 1;
            function.nesting = function.nesting.max(*depth);
        }
        inside(self);
        if let Some((_, depth)) = self.open.last_mut() {
            *depth = depth.saturating_sub(1);
        }
    }

    fn branch(&mut self, node: &syn::ExprIf, chained: bool) {
        self.way(1, true, !chained);
        self.visit_expr(&node.cond);
        self.deeper(|walk| walk.visit_block(&node.then_branch));
        match node.else_branch.as_ref().map(|(_, other)| &**other) {
            Some(Expr::If(next)) => self.branch(next, true),
            Some(other) => {
                self.way(0, true, false);
                self.deeper(|walk| walk.visit_expr(other));
            }
            None => {}
        }
    }

    /// Where the module of that name is that this file declares.
    fn declared(&self, name: &str, attrs: &[Attribute]) -> Vec<PathBuf> {
        let Some(directory) = self.source.path.parent() else { return Vec::new() };
        if let Some(path) = attrs.iter().find_map(path_of) {
            return vec![directory.join(path)];
        }
        let stem = self.source.path.file_stem().unwrap_or_default();
        let has_own = self.source.module.last().is_some_and(|last| stem == last.as_str());
        let mut below = if has_own { directory.join(stem) } else { directory.to_owned() };
        below.extend(&self.modules);
        vec![below.join(format!("{name}.rs")), below.join(name)]
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        self.public(&node.vis);
        let name = node.ident.to_string();
        let begins_tests = !self.test && node.attrs.iter().any(is_for_tests);
        let Some((braces, _)) = &node.content else {
            if begins_tests || self.test {
                let places = self.declared(&name, &node.attrs);
                self.test_modules.extend(places);
            }
            return;
        };
        let was_test = self.test;
        if begins_tests {
            let first = node.attrs.first().map_or(node.mod_token.span, |attr| attr.pound_token.spans[0]);
            self.test_ranges.push((first.start().line, braces.span.close().end().line));
        }
        self.test |= begins_tests;
        self.modules.push(name.clone());
        self.named(name, |walk| visit::visit_item_mod(walk, node));
        self.modules.pop();
        self.test = was_test;
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        if let Some(token) = &node.unsafety {
            self.unsafe_at("impl", token.span);
        }
        let was_test = self.test;
        self.test |= node.attrs.iter().any(is_for_tests);
        self.named(type_name(&node.self_ty), |walk| visit::visit_item_impl(walk, node));
        self.test = was_test;
    }

    fn visit_item_trait(&mut self, node: &'ast syn::ItemTrait) {
        self.public(&node.vis);
        if let Some(token) = &node.unsafety {
            self.unsafe_at("trait", token.span);
        }
        self.named(node.ident.to_string(), |walk| visit::visit_item_trait(walk, node));
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.public(&node.vis);
        self.function(&node.attrs, &node.sig, &node.block, |walk| visit::visit_item_fn(walk, node));
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.public(&node.vis);
        self.function(&node.attrs, &node.sig, &node.block, |walk| visit::visit_impl_item_fn(walk, node));
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        let Some(body) = &node.default else {
            if let Safety::Unsafe(token) = &node.sig.safety {
                self.unsafe_at("function", token.span);
            }
            return visit::visit_trait_item_fn(self, node);
        };
        self.function(&node.attrs, &node.sig, body, |walk| visit::visit_trait_item_fn(walk, node));
    }

    fn visit_item_struct(&mut self, node: &'ast syn::ItemStruct) {
        self.public(&node.vis);
        visit::visit_item_struct(self, node);
    }

    fn visit_item_enum(&mut self, node: &'ast syn::ItemEnum) {
        self.public(&node.vis);
        visit::visit_item_enum(self, node);
    }

    fn visit_item_union(&mut self, node: &'ast syn::ItemUnion) {
        self.public(&node.vis);
        visit::visit_item_union(self, node);
    }

    fn visit_item_type(&mut self, node: &'ast syn::ItemType) {
        self.public(&node.vis);
        visit::visit_item_type(self, node);
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        self.public(&node.vis);
        visit::visit_item_const(self, node);
    }

    fn visit_item_static(&mut self, node: &'ast syn::ItemStatic) {
        self.public(&node.vis);
        visit::visit_item_static(self, node);
    }

    fn visit_item_use(&mut self, node: &'ast syn::ItemUse) {
        self.use_tree(&node.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, node: &'ast syn::Path) {
        let path: Vec<String> = node.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // `self` alone is a value.
        if path.len() > 1 {
            self.uses(&path);
        }
        visit::visit_path(self, node);
    }

    fn visit_macro(&mut self, node: &'ast syn::Macro) {
        self.tokens(node.tokens.clone());
        visit::visit_macro(self, node);
    }

    fn visit_expr_if(&mut self, node: &'ast syn::ExprIf) {
        self.branch(node, false);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        self.way(node.arms.len().saturating_sub(1), true, true);
        self.visit_expr(&node.expr);
        self.deeper(|walk| node.arms.iter().for_each(|arm| walk.visit_arm(arm)));
    }

    fn visit_pat_guard(&mut self, node: &'ast syn::PatGuard) {
        self.way(1, false, false);
        visit::visit_pat_guard(self, node);
    }

    fn visit_expr_while(&mut self, node: &'ast syn::ExprWhile) {
        self.way(1, true, true);
        self.visit_expr(&node.cond);
        self.deeper(|walk| walk.visit_block(&node.body));
    }

    fn visit_expr_for_loop(&mut self, node: &'ast syn::ExprForLoop) {
        self.way(1, true, true);
        self.visit_expr(&node.expr);
        self.deeper(|walk| walk.visit_block(&node.body));
    }

    fn visit_expr_loop(&mut self, node: &'ast syn::ExprLoop) {
        self.way(1, true, true);
        self.deeper(|walk| walk.visit_block(&node.body));
    }

    fn visit_expr_closure(&mut self, node: &'ast syn::ExprClosure) {
        self.deeper(|walk| visit::visit_expr_closure(walk, node));
    }

    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        if let Some(kind) = connective(&node.op) {
            // A row of the same connective is read as one.
            let goes_on = matches!(&*node.left, Expr::Binary(left) if connective(&left.op) == Some(kind));
            self.way(1, !goes_on, false);
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_break(&mut self, node: &'ast syn::ExprBreak) {
        self.way(0, node.label.is_some(), false);
        visit::visit_expr_break(self, node);
    }

    fn visit_expr_continue(&mut self, node: &'ast syn::ExprContinue) {
        self.way(0, node.label.is_some(), false);
    }

    fn visit_expr_unsafe(&mut self, node: &'ast syn::ExprUnsafe) {
        self.unsafe_at("block", node.unsafe_token.span);
        visit::visit_expr_unsafe(self, node);
    }

    fn visit_local_init(&mut self, node: &'ast syn::LocalInit) {
        if node.diverge.is_some() {
            self.way(1, true, true);
        }
        visit::visit_local_init(self, node);
    }
}

fn connective(op: &BinOp) -> Option<bool> {
    match op {
        BinOp::And(_) => Some(true),
        BinOp::Or(_) => Some(false),
        _ => None,
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default(),
        Type::Reference(reference) => type_name(&reference.elem),
        _ => "_".to_owned(),
    }
}
