//! Every entry point with bad arguments, through the plain ICD loader and through the shadow, on the same driver: the
//! shadow answers with the specification's code or with the driver's own, and never crashes.
//!
//! `programs/bad_calls.c` has the calls. Needs a C compiler, OpenCL's headers, an ICD loader and a driver.

mod common;

use std::collections::BTreeMap;

use common::native::{self, Folder, Program};

/// One case: what the specification wants, and what came; `None` for a crash.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    wanted: i32,
    code: Option<i32>,
}

/// Runs all cases; the program is started again behind each one that crashes it.
fn outcomes(
    program: &Program,
    library: Option<&Folder>,
    arguments: &[&str],
) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut next = 0;
    loop {
        let mut command = native::command(program.path(), library);
        let output = command
            .arg(next.to_string())
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut last = None;
        for line in text.lines().filter(|line| *line != "end") {
            let columns: Vec<&str> = line.split('\t').collect();
            let [number, name, wanted, code] = columns[..] else {
                panic!("{line:?}")
            };
            let outcome = Outcome {
                wanted: wanted.parse().unwrap(),
                code: code.parse().ok(),
            };
            last = Some((number.parse::<u32>().unwrap(), outcome.code));
            assert_eq!(
                outcomes.insert(name.to_owned(), outcome),
                None,
                "{name}: two cases"
            );
        }
        if text.ends_with("end\n") {
            return outcomes;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        match last {
            Some((number, None)) => next = number + 1,
            _ => panic!("stopped between cases: {errors}"),
        }
    }
}

#[test]
fn bad_calls_get_the_codes_that_a_plain_loader_gives() {
    let program = native::compile("bad_calls.c");
    let plain = outcomes(&program, None, &[]);
    let shadow = outcomes(&program, Some(&native::library_folder()), &["wild"]);
    assert!(plain.len() > 500, "{} cases", plain.len());
    let mut wrong = Vec::new();
    for (name, outcome) in &shadow {
        let of_driver = plain.get(name).and_then(|outcome| outcome.code);
        let Some(code) = outcome.code else {
            wrong.push(format!("{name}: crashed"));
            continue;
        };
        if code != outcome.wanted && Some(code) != of_driver {
            wrong.push(format!(
                "{name}: {code}; the specification wants {}, a plain loader gives {of_driver:?}",
                outcome.wanted
            ));
        }
    }
    let missing = plain.keys().filter(|name| !shadow.contains_key(*name));
    wrong.extend(missing.map(|name| format!("{name}: not reached")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
