//! Leaves out what is compiled for tests only: items, statements and fields under `#[cfg(test)]` or `#[cfg(all(test, ..))]`.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The tokens without what only tests are compiled with, at any depth.
pub fn without_tests(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest: &[TokenTree] = &tokens;
    let mut kept = Vec::new();
    while let [first, more @ ..] = rest {
        let (attributes, item) = rest.split_at(attributes_len(rest));
        if attributes.iter().any(is_cfg_test) {
            rest = &item[item_len(item)..];
        } else if !attributes.is_empty() {
            kept.extend_from_slice(attributes);
            rest = item;
        } else {
            kept.push(match first {
                TokenTree::Group(group) => {
                    Group::new(group.delimiter(), without_tests(group.stream())).into()
                }
                other => other.clone(),
            });
            rest = more;
        }
    }
    kept.into_iter().collect()
}

/// The number of tokens of the attributes in front of an item.
fn attributes_len(tokens: &[TokenTree]) -> usize {
    let attributes = tokens.chunks_exact(2).take_while(|pair| {
        matches!(pair, [TokenTree::Punct(hash), TokenTree::Group(body)]
            if hash.as_char() == '#' && body.delimiter() == Delimiter::Bracket)
    });
    2 * attributes.count()
}

/// Whether this is the `[cfg(test)]` of an attribute.
fn is_cfg_test(token: &TokenTree) -> bool {
    let TokenTree::Group(attribute) = token else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// How an item ends.
#[derive(PartialEq)]
enum End {
    /// With its body in braces, or with `;`.
    Body,
    /// With `;`: an import, or the definition of a value.
    Semicolon,
    /// With its body, with `;` or with `,`: a field, a variant, an arm.
    Comma,
}

/// The number of tokens of the item, statement, field, variant or arm in front.
fn item_len(tokens: &[TokenTree]) -> usize {
    let end = end(tokens);
    let is_last = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => {
            mark.as_char() == ';' || mark.as_char() == ',' && end == End::Comma
        }
        TokenTree::Group(body) => body.delimiter() == Delimiter::Brace && end != End::Semicolon,
        _ => false,
    };
    tokens
        .iter()
        .position(is_last)
        .map_or(tokens.len(), |last| last + 1)
}

fn end(tokens: &[TokenTree]) -> End {
    for pair in tokens.windows(2) {
        let TokenTree::Ident(word) = &pair[0] else {
            continue;
        };
        match (word.to_string().as_str(), &pair[1]) {
            ("pub" | "unsafe" | "async" | "extern", _) => {}
            ("const", TokenTree::Ident(word))
                if ["fn", "unsafe", "async", "extern"]
                    .iter()
                    .any(|next| word == next) => {}
            ("use" | "const" | "static" | "type" | "let", _) => return End::Semicolon,
            ("fn" | "impl" | "trait" | "mod" | "struct" | "enum" | "union" | "macro_rules", _) => {
                return End::Body;
            }
            _ => return End::Comma,
        }
    }
    End::Comma
}
