//! What the command line prints with `--json` is what `docs/xl-gpu.schema.json` describes. The test is stricter than
//! the schema: a member that is not described is an error.

use crate::doctor::{examine, with_device};
use crate::host::eventually;
use crate::program::{Program, objects};
use serde_json::{Value, json};
use std::os::fd::AsFd;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../docs/xl-gpu.schema.json")).unwrap()
}

/// As much of JSON Schema as that file uses; what `value` does not keep to.
fn problems(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.strip_prefix('#').unwrap());
        return problems(root, target.expect("it is defined"), value, at, found);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |one: &Value| {
            let mut found = Vec::new();
            problems(root, one, value, at, &mut found);
            found
        };
        let tried: Vec<Vec<String>> = any.iter().map(fits).collect();
        if !tried.iter().any(Vec::is_empty) {
            // The other one is null.
            found.extend(tried.into_iter().next().unwrap());
        }
        return;
    }
    let wanted = match &schema["type"] {
        Value::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    if !wanted.iter().any(|t| is(t.as_str().unwrap(), value)) {
        return found.push(format!("{at}: {value} is no {wanted:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        let at = format!("{at}[{number}]");
        problems(root, &schema["items"], item, &at, found);
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match properties.get(name) {
            Some(schema) => problems(root, schema, member, &at, found),
            None => found.push(format!("{at} is not described")),
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}.{name} is missing"));
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the schema has a type {other}"),
    }
}

fn assert_described(definition: &str, value: &Value) {
    let schema = schema();
    let mut found = Vec::new();
    let of = &schema["$defs"][definition];
    assert!(of.is_object(), "{definition}");
    problems(&schema, of, value, definition, &mut found);
    assert!(found.is_empty(), "{found:#?} in {value:#}");
}

#[test]
fn the_schema_describes_what_is_printed() {
    let (host, _toolstack) = with_device();
    let _program = Program::start(&host.programs, 1, objects(2, 3));
    host.expect_sessions(1);
    assert_described("Diagnosis", &examine(&host));
    let report = host
        .ask(json!({"op": "migrate-loopback", "domid": 0}))
        .unwrap();
    assert_described("Report", &report);
    host.request("detach").unwrap();
    let status = host.ask(json!({"op": "status"})).unwrap();
    assert_eq!(status["domains"][0]["images"][0]["purpose"], "held");
    assert_eq!(status["domains"][0]["report"]["ok"], true);
    assert_described("Status", &status);
    let history = host.ask(json!({"op": "history", "domain": null})).unwrap();
    assert_eq!(history["migrations"].as_array().unwrap().len(), 1);
    assert_described("History", &history);
}

#[test]
fn a_migration_under_way_and_its_failure_are_described() {
    let (host, toolstack) = with_device();
    let _program = Program::start(&host.programs, 1, objects(2, 3));
    host.expect_sessions(1);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let drained =
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
    let (mut talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    let status = host.ask(json!({"op": "status"})).unwrap();
    assert!(status["domains"][0]["progress"].is_object(), "{status:#}");
    assert_described("Status", &status);
    let ram = json!({"op": "ram", "passes": [{"bytes": 5, "seconds": 0.5}], "scan": {"pages": 2, "unchanged": 1, "seconds": 0.1, "threads": 1},
                     "bytes_after_detach": 3, "digest_bytes": 1, "given_up": "a reason"});
    talk.ask(ram).unwrap();
    talk.ask(json!({"op": "stop"})).unwrap();
    drop(talk);
    drop(writer);
    drained.join().unwrap();
    let report = || host.ask(json!({"op": "report", "domid": 0})).unwrap();
    eventually("it is over", || report()["ok"] == false);
    let report = report();
    assert_eq!(report["ram"]["passes"][0]["bytes"], 5);
    assert_eq!(report["ram"]["pass_starts_s"].as_array().unwrap().len(), 1);
    assert!(report["stop_start_s"].is_number());
    assert_described("Report", &report);
    eventually("the device is back", || toolstack.pci().away().is_empty());
}

#[test]
fn the_test_can_fail() {
    let schema = schema();
    let of = &schema["$defs"]["Migration"];
    let mut found = Vec::new();
    let wrong = json!({"id": "x", "name": "web", "outcome": "lost", "moon": 1});
    problems(&schema, of, &wrong, "", &mut found);
    for part in [
        ".id: \"x\" is no",
        ".outcome: \"lost\" is none",
        ".moon is not",
        ".\"started\" is missing",
    ] {
        assert!(
            found.iter().any(|f| f.contains(part)),
            "{part} in {found:#?}"
        );
    }
}
