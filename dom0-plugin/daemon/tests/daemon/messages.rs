//! Every error that an administrator may read stands in `docs/troubleshooting.md`, with what to do about it.

use std::path::Path;

/// Crates of dom0 whose errors end up in `xl`'s output, in the log or in XenStore.
const CRATES: [&str; 5] = ["daemon", "helper", "protocol", "spool", "stream"];

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Texts in `#[error("…")]`, as they stand there.
fn messages(source: &str) -> Vec<String> {
    let attributes = source.split("#[error(").skip(1);
    let text = |attribute: &str| {
        let text = attribute.trim_start().strip_prefix('"')?;
        let end = text
            .match_indices('"')
            .find(|(at, _)| !text[..*at].ends_with('\\'))?;
        // A string that goes on on the next line.
        Some(text[..end.0].replace("\\\n", " "))
    };
    attributes.filter_map(text).collect()
}

/// In one line, without the marks of code.
fn words(text: &str) -> String {
    let text = text.replace('`', "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The longest part of a message that is always the same.
fn constant(message: &str) -> String {
    let parts = message
        .split('{')
        .enumerate()
        .map(|(number, part)| match number {
            0 => part,
            _ => part.split_once('}').map_or("", |(_, rest)| rest),
        });
    let longest = parts.max_by_key(|part| part.trim().len()).unwrap_or("");
    let ends = |c: char| c.is_whitespace() || matches!(c, ':' | ';' | ',' | '(' | ')' | '`');
    words(longest.trim_matches(ends))
}

#[test]
fn every_error_is_explained() {
    let page = words(include_str!("../../../../docs/troubleshooting.md"));
    let dom0 = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for name in CRATES {
        sources(&dom0.join(name).join("src"), &mut found);
    }
    let all: Vec<String> = found.iter().flat_map(|source| messages(source)).collect();
    assert!(all.len() > 120, "{} are found", all.len());
    let missing: Vec<&String> = all
        .iter()
        .filter(|message| {
            let constant = constant(message);
            constant.len() > 3 && !page.contains(&constant)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "put these under Messages in docs/troubleshooting.md: {missing:#?}"
    );
}

#[test]
fn a_message_is_found_in_its_source() {
    let source =
        "#[error(\"a {0} is\\\n   not {\\\"x\\\"} there: {e}\")] A, #[error(transparent)] B";
    let found = messages(source);
    assert_eq!(found.len(), 1);
    assert_eq!(constant("{path}, line {line}: {message}"), "line");
    assert_eq!(
        constant("no space for {bytes} more bytes of spool in {place}: {error}"),
        "more bytes of spool in"
    );
}
