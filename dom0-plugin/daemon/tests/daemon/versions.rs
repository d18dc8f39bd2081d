//! Callers of other versions than the daemon's.

use crate::host::Host;
use serde_json::json;

#[test]
fn a_caller_that_tells_no_version_hears_none() {
    let mut talk = Host::new().connect();
    talk.send(json!({"op": "status"}));
    assert!(talk.line()["ok"].is_object());
}

#[test]
fn a_caller_of_the_same_major_version_is_served() {
    let mut talk = Host::new().connect();
    talk.send(json!({"op": "status", "version": {"major": 1, "minor": 7}, "what": "is new"}));
    assert_eq!(talk.line(), json!({"version": {"major": 1, "minor": 1}}));
    assert!(talk.line()["ok"].is_object());
    talk.send(json!({"op": "status"}));
    assert!(talk.line()["ok"].is_object(), "it is told once");
}

#[test]
fn a_caller_of_another_major_version_is_refused_by_name() {
    let host = Host::new();
    let next = json!({"major": 2, "minor": 0});
    for (request, name) in [
        (
            json!({"op": "save", "domid": 0, "live": true, "version": next}),
            "this helper library",
        ),
        (
            json!({"op": "of the future", "version": next}),
            "this xl-gpu",
        ),
    ] {
        let mut talk = host.connect();
        talk.send(request);
        assert!(talk.line()["version"].is_object());
        let refusal = talk.line()["error"].to_string();
        assert!(
            refusal.contains(&format!("{name} speaks 2.0, xl-gpud 1.1")),
            "{refusal}"
        );
        assert!(refusal.contains("systemctl restart xl-gpud"), "{refusal}");
    }
}
