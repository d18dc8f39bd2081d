//! `clinfo` through the plain ICD loader and through the shadow, on the same driver: the same lines, but for those that
//! docs/opencl.md names.
//!
//! Needs `clinfo`, an ICD loader and a driver.

mod common;

use common::native::{self, Folder};

/// What `clinfo` prints.
fn clinfo(arguments: &[&str], shadow: Option<&Folder>) -> String {
    let mut command = native::command("clinfo", shadow);
    // pocl computes the device's memory from what is free at the moment.
    let output = command
        .args(arguments)
        .env("POCL_MEMORY_LIMIT", "2")
        .output();
    let output = output.expect("clinfo runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("clinfo prints text")
}

/// Of a line of `clinfo --raw`: `[platform/device]`, name, value.
fn fields(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let line = match line.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .map_or(line, |(_, rest)| rest)
            .trim_start(),
        None => line,
    };
    line.split_once(char::is_whitespace).unwrap_or((line, ""))
}

fn may_differ(line: &str) -> bool {
    let (name, _) = fields(line);
    name.contains("_EXTENSIONS")
        // Of the loader itself.
        || name.starts_with("CL_ICDL_")
}

#[test]
fn clinfo_prints_the_same_lines() {
    let shadow = native::library_folder();
    let both = |arguments: &[&str]| (clinfo(arguments, None), clinfo(arguments, Some(&shadow)));

    let (plain, ours) = both(&["--list"]);
    assert_eq!(ours, plain);

    let (plain, ours) = both(&["--raw"]);
    let same = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !may_differ(line));
        lines.map(str::to_owned).collect()
    };
    assert!(same(&plain).len() > 100, "{plain}");
    assert_eq!(same(&ours), same(&plain));

    // Of the extensions, some: in the driver's order, and no others.
    let extensions = |text: &str| -> Vec<(String, Vec<String>)> {
        let lines = text.lines().map(fields);
        lines
            .filter(|(name, _)| name.contains("_EXTENSIONS"))
            .map(|(name, list)| {
                (
                    name.to_owned(),
                    list.split_whitespace().map(str::to_owned).collect(),
                )
            })
            .collect()
    };
    let (plain, ours) = (extensions(&plain), extensions(&ours));
    assert_eq!(plain.len(), ours.len());
    for ((name, all), (our_name, shown)) in plain.iter().zip(&ours) {
        assert_eq!(name, our_name);
        let mut left = all.iter();
        assert!(!shown.is_empty(), "{name}: nothing is shown");
        assert!(
            shown.iter().all(|one| left.any(|other| other == one)),
            "{name}: {shown:?} of {all:?}"
        );
    }

    // What NULL stands for; behind it come the loader's own lines.
    let (plain, ours) = both(&[]);
    let null_platform = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .skip_while(|line| !line.starts_with("NULL platform"));
        lines
            .take_while(|line| !line.starts_with("ICD loader"))
            .map(str::to_owned)
            .collect()
    };
    assert!(null_platform(&plain).len() > 5, "{plain}");
    assert_eq!(null_platform(&ours), null_platform(&plain));
    assert!(
        ours.contains("ICD loader Name") && ours.contains("xl-gpu"),
        "{ours}"
    );
}
