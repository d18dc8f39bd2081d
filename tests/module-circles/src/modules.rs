//! The modules of a target: `mod` declarations followed from its root file, by the rules of
//! <https://doc.rust-lang.org/reference/items/modules.html>.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::error::Error;
use crate::tests_out::without_tests;

/// A module and what is written in it, without its child modules and without what only tests are compiled with.
pub struct Module {
    /// From the root: `crate::a::b`.
    pub name: String,
    pub file: PathBuf,
    pub tokens: Vec<TokenTree>,
}

/// All modules of the target with this root file.
pub fn modules(root: &Path) -> Result<Vec<Module>, Error> {
    let mut found = Vec::new();
    read_file("crate".to_owned(), root, parent(root), &mut found)?;
    Ok(found)
}

/// Reads a module from its own file, whose children's files are in `children`.
fn read_file(
    name: String,
    file: &Path,
    children: PathBuf,
    found: &mut Vec<Module>,
) -> Result<(), Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })?;
    let tokens = text.parse().map_err(|source| Error::Tokens {
        path: file.to_owned(),
        source,
    })?;
    let paths_from = parent(file);
    read(
        name,
        file,
        &children,
        &paths_from,
        without_tests(tokens),
        found,
    )
}

/// Takes the `mod` declarations out of a module's tokens and follows them. `#[path]` counts from `paths_from`.
fn read(
    name: String,
    file: &Path,
    children: &Path,
    paths_from: &Path,
    tokens: TokenStream,
    found: &mut Vec<Module>,
) -> Result<(), Error> {
    let mut rest: &[TokenTree] = &tokens.into_iter().collect::<Vec<_>>();
    let mut kept = Vec::new();
    let mut path = None;
    while let [first, more @ ..] = rest {
        match rest {
            [
                TokenTree::Ident(keyword),
                TokenTree::Ident(child),
                body,
                after @ ..,
            ] if keyword == "mod" => {
                let (child, full) = (child.to_string(), format!("{name}::{child}"));
                match (body, path.take()) {
                    (TokenTree::Group(body), _) => {
                        let inside = children.join(child);
                        read(full, file, &inside, &inside, body.stream(), found)?;
                    }
                    (_, Some(path)) => {
                        let path = paths_from.join(path);
                        read_file(full, &path, parent(&path), found)?;
                    }
                    (_, None) => {
                        let (dir, flat) = (children.join(&child), children.join(child + ".rs"));
                        let file = if flat.exists() {
                            flat
                        } else {
                            dir.join("mod.rs")
                        };
                        read_file(full, &file, dir, found)?;
                    }
                }
                rest = after;
                continue;
            }
            [TokenTree::Punct(hash), TokenTree::Group(attribute), ..] if hash.as_char() == '#' => {
                path = path_attribute(attribute).or(path);
            }
            [TokenTree::Punct(end), ..] if end.as_char() == ';' => path = None,
            [TokenTree::Group(body), ..] if body.delimiter() == Delimiter::Brace => path = None,
            _ => {}
        }
        kept.push(first.clone());
        rest = more;
    }
    found.push(Module {
        name,
        file: file.to_owned(),
        tokens: kept,
    });
    Ok(())
}

/// The file that `#[path = "file"]` names.
fn path_attribute(attribute: &Group) -> Option<String> {
    match attribute
        .stream()
        .into_iter()
        .collect::<Vec<_>>()
        .as_slice()
    {
        [
            TokenTree::Ident(name),
            TokenTree::Punct(_),
            TokenTree::Literal(file),
        ] if name == "path" => Some(file.to_string().trim_matches('"').to_owned()),
        _ => None,
    }
}

fn parent(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
}
