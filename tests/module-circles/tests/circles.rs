//! What counts as a circle, on small crates written for it.

use std::fs;
use std::path::Path;

use xl_gpu_module_circles::circles;

/// The circles of a crate of these files, each as its modules and the lines `from -> to file:line`.
fn found(name: &str, files: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let short = |name: &str| name.replace("crate::", "");
    circles(&dir.join("lib.rs"))
        .unwrap()
        .into_iter()
        .map(|circle| {
            let line = |r: &xl_gpu_module_circles::Reference| {
                let file = r.file.strip_prefix(&dir).unwrap().display();
                format!("{} -> {} {file}:{}", short(&r.from), short(&r.to), r.line)
            };
            (
                short(&circle.modules.join(" ")),
                circle.references.iter().map(line).collect(),
            )
        })
        .collect()
}

/// The same for a crate of one file, only the modules.
fn modules(name: &str, text: &str) -> Vec<String> {
    found(name, &[("lib.rs", text)])
        .into_iter()
        .map(|(modules, _)| modules)
        .collect()
}

fn expect(circles: Vec<(String, Vec<String>)>, modules: &str, references: &[&str]) {
    assert_eq!(circles.len(), 1, "{circles:?}");
    assert_eq!(circles[0].0, modules);
    assert_eq!(circles[0].1, references);
}

#[test]
fn two_files_that_import_each_other() {
    let circles = found(
        "two",
        &[
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            (
                "a.rs",
                "use crate::b::B;\npub struct A(B);\nfn again(_: crate::b::B) {}\n",
            ),
            (
                "b.rs",
                "\nuse super::{c, a::A};\npub struct B(Box<A>, c::C);\n",
            ),
            ("c.rs", "pub struct C;\n"),
        ],
    );
    expect(circles, "a b", &["a -> b a.rs:1", "b -> a b.rs:2"]);
}

#[test]
fn three_through_a_re_export() {
    let circles = found(
        "three",
        &[
            ("lib.rs", "mod a;\nmod user;\n"),
            ("a/mod.rs", "mod child;\npub use child::Child;\n"),
            (
                "a/child.rs",
                "pub struct Child;\nfn f() { crate::user::f() }\n",
            ),
            ("user.rs", "use crate::a::Child;\npub fn f() {}\n"),
        ],
    );
    expect(
        circles,
        "a a::child user",
        &[
            "a -> a::child a/mod.rs:2",
            "a::child -> user a/child.rs:2",
            "user -> a user.rs:1",
        ],
    );
}

#[test]
fn a_declaration_is_no_reference() {
    let circles = found(
        "declarations",
        &[
            ("lib.rs", "pub mod a;\npub fn root() {}\n"),
            ("a.rs", "mod child;\npub struct A;\n"),
            (
                "a/child.rs",
                "use super::A;\npub(in crate::a) fn f(_: A) { crate::root() }\n",
            ),
        ],
    );
    assert!(circles.is_empty(), "{circles:?}");
}

#[test]
fn a_parent_that_uses_what_its_child_imports_from_it() {
    assert_eq!(
        modules("glob", "mod a { use super::*; }\nfn f() { a::f() }"),
        ["crate a"]
    );
    assert_eq!(
        modules("name", "mod a { fn f() { super::g() } }\nuse self::a::f;"),
        ["crate a"]
    );
    assert_eq!(
        modules(
            "branches",
            "use {std::fmt, a::{b::{self, B}}};\nmod a { pub mod b { use super::super::T; } }"
        ),
        ["crate a::b"]
    );
}

#[test]
fn paths_inside_macros() {
    assert_eq!(
        modules(
            "macros",
            "mod a { m!(x => crate::b::f()); }\nmod b { fn f() { vec![super::a::A] } }"
        ),
        ["a b"]
    );
    assert_eq!(
        modules(
            "dollar",
            "mod a { macro_rules! m { () => { $crate::b::f() } } }\nmod b { use crate::a::A; }"
        ),
        ["a b"]
    );
    assert_eq!(
        modules(
            "attribute",
            "mod a { #[arg(parse = crate::b::f)] struct A; }\nmod b { use crate::a::A; }"
        ),
        ["a b"]
    );
}

#[test]
fn tests_may_refer_to_anything() {
    let text = "
        mod a {
            #[cfg(test)]
            use crate::b::{B, C};
            #[cfg(test)]
            const fn f<A, B>() { crate::b::f() }
            #[path = \"none.rs\"]
            #[cfg(all(test, not(loom)))]
            mod tests;
            struct A { #[cfg(test)] b: crate::b::B, c: u8 }
            impl A { #[cfg(test)] const B: crate::b::B = crate::b::B { x: 1 }; }
        }
        mod b { use crate::a::A; }";
    assert!(modules("tests", text).is_empty());
    assert_eq!(
        modules("tests_and_more", &text.replace("c: u8", "c: crate::b::C")),
        ["a b"]
    );
}

#[test]
fn what_only_looks_like_a_module() {
    // A function and a method that are called like a module, another crate's module, a local name.
    let text = "
        mod a { pub mod parse { use super::A; }
            fn f() { x.parse::<u8>(); parse(1); std::parse::f(); std::{parse::f}; g(self::parse, ::parse::f) } }
        mod b { fn f() { super::a::parse(1) } }";
    assert!(modules("names", text).is_empty());
}

#[test]
fn files_are_found_where_rustc_finds_them() {
    let circles = found(
        "files",
        &[
            (
                "lib.rs",
                "#[path = \"elsewhere/x.rs\"]\nmod a;\nmod outer { mod inner; }\nuse std::fmt;\nmod b;\n",
            ),
            ("elsewhere/x.rs", "mod below;\n"),
            ("elsewhere/below.rs", "use crate::b::B;\n"),
            ("outer/inner.rs", "use crate::a::below::X;\n"),
            ("b/mod.rs", "mod deep;\n"),
            (
                "b/deep.rs",
                "mod deeper;\nuse super::super::outer::inner::I;\n",
            ),
            ("b/deep/deeper.rs", "use super::D;\n"),
        ],
    );
    assert!(circles.is_empty(), "{circles:?}");
    let circles = found(
        "files_in_a_circle",
        &[
            ("lib.rs", "#[path = \"elsewhere/x.rs\"]\nmod a;\nmod b;\n"),
            ("elsewhere/x.rs", "mod below;\n"),
            ("elsewhere/below.rs", "use crate::b::B;\n"),
            ("b/mod.rs", "use crate::a::below;\n"),
        ],
    );
    expect(
        circles,
        "a::below b",
        &[
            "a::below -> b elsewhere/below.rs:1",
            "b -> a::below b/mod.rs:1",
        ],
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(dir.join("missing.rs"), "mod nowhere;").unwrap();
    let error = circles(&dir.join("missing.rs")).unwrap_err().to_string();
    assert!(error.contains("nowhere/mod.rs"), "{error}");
}
