//! A file has one noun and at most 400 lines; a function fits on a screen.

use syn::{
    Block, ImplItemFn, ItemFn, Signature, TraitItemFn,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use super::Finding;
use crate::workspace::File;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// What is written by hand and read by people.
const KINDS: &[&str] = &["rs", "proto", "sh", "py"];

/// Measures the file and each of its functions.
pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(kind) = KINDS.iter().find(|kind| file.is(kind)) else { return findings };
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(Finding::new(&file.path, format!("{lines} lines, more than {FILE_LINES_MAX}: split it by noun")));
    }
    if *kind == "rs" {
        match syn::parse_file(&file.text) {
            Ok(tree) => {
                let mut functions = Functions { path: &file.path, findings: &mut findings };
                functions.visit_file(&tree);
            }
            Err(error) => findings.push(Finding::new(&file.path, format!("is not Rust: {error}"))),
        }
    }
    findings
}

struct Functions<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let last = block.span().end().line;
        let lines = last.saturating_sub(first).saturating_add(1);
        if lines > FUNCTION_LINES_MAX {
            self.findings.push(Finding::new(
                format!("{}:{first}", self.path),
                format!("fn {} has {lines} lines, more than {FUNCTION_LINES_MAX}", signature.ident),
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: String) -> File {
        File { path: "a.rs".to_owned(), text }
    }

    fn function(lines: usize) -> String {
        // The signature's line and that of the closing brace count.
        format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_of_seventy_lines_passes_and_one_more_is_found() {
        assert_eq!(check(&rust(function(70))), vec![]);
        let findings = check(&rust(function(71)));
        assert_eq!(findings, vec![Finding::new("a.rs:1", "fn long has 71 lines, more than 70")]);
    }

    #[test]
    fn functions_inside_modules_and_implementations_are_measured() {
        let text = format!("mod tests {{ struct A; impl A {{\n{}\n}} }}", function(80));
        assert_eq!(check(&rust(text)).len(), 1);
    }

    #[test]
    fn a_file_of_400_lines_passes_and_one_more_is_found() {
        assert_eq!(check(&rust("// a\n".repeat(400))), vec![]);
        assert_eq!(check(&rust("// a\n".repeat(401))).len(), 1);
        let prose = File { path: "a.md".to_owned(), text: "a\n".repeat(500) };
        assert_eq!(check(&prose), vec![]);
    }

    #[test]
    fn what_does_not_parse_is_found() {
        assert_eq!(check(&rust("fn (".to_owned())).len(), 1);
    }
}
