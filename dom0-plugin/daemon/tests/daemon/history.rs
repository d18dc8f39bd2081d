//! What is kept of migrations that are over.

use crate::host::{Host, eventually};
use crate::program::{Program, objects};
use serde_json::{Value, json};
use std::os::fd::AsFd;

fn migrations(host: &Host, domain: &str) -> Vec<Value> {
    let request = json!({"op": "history", "domain": domain});
    let history = host.ask(request).unwrap();
    history["migrations"].as_array().unwrap().clone()
}

#[test]
fn each_migration_is_one_entry_and_learns_its_blackout() {
    let host = Host::new();
    let _program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    for count in 1..=3 {
        let report = host
            .ask(json!({"op": "migrate-loopback", "domid": 0}))
            .unwrap();
        let kept = migrations(&host, "loopback");
        assert_eq!(kept.len(), count);
        let last = &kept[count - 1];
        assert_eq!(last["id"], report["id"]);
        assert_eq!(last["outcome"], "ok");
        assert_eq!(last["role"], "rehearsal");
        assert_eq!(last["blackout_s"], report["gpu_blackout_s"]);
        assert!(last["blackout_s"].as_f64().unwrap() > 0.0, "{last:#}");
    }
    assert_eq!(migrations(&host, "0").len(), 3, "by its number");
    assert_eq!(migrations(&host, "other"), [Value::Null; 0]);
}

#[test]
fn a_refusal_is_kept_and_leaves_the_last_report_alone() {
    let host = Host::new();
    let _program = Program::start_with(&host.programs, 1, objects(1, 1), |s| {
        s.blocked = Some("fine-grained SVM".into());
    });
    host.expect_sessions(1);
    let (_reader, writer) = std::io::pipe().unwrap();
    host.save(writer.as_fd()).1.unwrap_err();
    let kept = migrations(&host, "loopback");
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(kept[0]["outcome"], "refused");
    let error = kept[0]["error"].as_str().unwrap();
    assert!(error.contains("fine-grained SVM"), "{error}");
    assert!(error.ends_with("[session-blocked]"), "{error}");
    let none = host.ask(json!({"op": "report", "domid": 0})).unwrap_err();
    assert!(none.contains("no report"), "{none}");
}

#[test]
fn a_failed_save_is_kept_with_its_reason() {
    let host = Host::new();
    let _program = Program::start(&host.programs, 1, objects(1, 3));
    host.expect_sessions(1);
    let (reader, writer) = std::io::pipe().unwrap();
    let (talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    drop(talk);
    drop(reader);
    eventually("it is over", || !migrations(&host, "loopback").is_empty());
    let kept = migrations(&host, "loopback");
    assert_eq!(kept[0]["outcome"], "failed", "{kept:#?}");
    assert!(!kept[0]["error"].as_str().unwrap().is_empty());
}
