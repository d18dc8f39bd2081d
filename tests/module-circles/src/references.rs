//! Which modules a module's paths lead to.
//!
//! A path counts if it starts with `crate`, `self`, `super` or a child of the module it stands in, and leads to the last module on its
//! way. `pub(in path)` is no use of what it names.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Ident, Spacing, Span, TokenTree};

use crate::circle::Reference;
use crate::modules::Module;

/// What `module` refers to among the modules with these names, itself left out.
pub fn references(module: &Module, names: &BTreeSet<String>) -> Vec<Reference> {
    let mut scan = Scan {
        module,
        names,
        found: Vec::new(),
    };
    scan.tokens(&module.tokens);
    scan.found
}

struct Scan<'a> {
    module: &'a Module,
    names: &'a BTreeSet<String>,
    found: Vec<Reference>,
}

impl Scan<'_> {
    fn tokens(&mut self, tokens: &[TokenTree]) {
        let mut in_use = false;
        for (index, token) in tokens.iter().enumerate() {
            let (before, after) = (&tokens[..index], &tokens[index + 1..]);
            match token {
                TokenTree::Punct(mark) if mark.as_char() == ';' => in_use = false,
                TokenTree::Ident(name) if name == "use" => in_use = true,
                TokenTree::Ident(name) if !ends_with_colons(before) => {
                    if let (Some(start), Some(rest)) = (self.start(name), after_colons(after)) {
                        self.follow(start, name.span(), rest, in_use);
                    }
                }
                // The branches of an import belong to the path in front of them.
                TokenTree::Group(group) if !ends_with_colons(before) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    if !matches!(inside.as_slice(), [TokenTree::Ident(word), ..] if word == "in") {
                        self.tokens(&inside);
                    }
                }
                _ => {}
            }
        }
    }

    /// The module that a path's first segment stands for.
    fn start(&self, name: &Ident) -> Option<String> {
        if name == "crate" {
            Some("crate".to_owned())
        } else {
            self.step(&self.module.name, name)
        }
    }

    /// The module that `name` stands for in a path after `from`.
    fn step(&self, from: &str, name: &Ident) -> Option<String> {
        if name == "self" {
            Some(from.to_owned())
        } else if name == "super" {
            from.rsplit_once("::").map(|(parent, _)| parent.to_owned())
        } else {
            Some(format!("{from}::{name}")).filter(|child| self.names.contains(child))
        }
    }

    /// Follows a path that has come to the module `at`, with what stands after the next `::`.
    fn follow(&mut self, mut at: String, span: Span, mut rest: &[TokenTree], in_use: bool) {
        while let [TokenTree::Ident(name), more @ ..] = rest {
            let after = after_colons(more);
            // The end of a path names a module in imports only; elsewhere it may be a function of the same name.
            match self.step(&at, name) {
                Some(next) if after.is_some() || in_use => at = next,
                _ => break,
            }
            let Some(after) = after else { break };
            rest = after;
        }
        match rest {
            [TokenTree::Group(branches), ..] if branches.delimiter() == Delimiter::Brace => {
                let inside: Vec<TokenTree> = branches.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
                for branch in inside.split(is_comma).filter(|branch| !branch.is_empty()) {
                    self.follow(at.clone(), branch[0].span(), branch, in_use);
                }
            }
            _ if at == self.module.name => {}
            _ => self.found.push(Reference {
                from: self.module.name.clone(),
                to: at,
                file: self.module.file.clone(),
                line: span.start().line,
            }),
        }
    }
}

/// What follows the `::` in front, unless it is the list of a function's type arguments.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), rest @ ..]
            if is_colons(first, second) =>
        {
            Some(rest).filter(
                |rest| !matches!(rest, [TokenTree::Punct(angle), ..] if angle.as_char() == '<'),
            )
        }
        _ => None,
    }
}

fn ends_with_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., TokenTree::Punct(first), TokenTree::Punct(second)] if is_colons(first, second))
}

fn is_colons(first: &proc_macro2::Punct, second: &proc_macro2::Punct) -> bool {
    first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':'
}
