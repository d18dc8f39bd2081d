//! Whether the daemon could end: what packages go by.

use super::doctor::with_device;
use super::host::{Host, eventually};
use super::program::{Program, objects};
use serde_json::{Value, json};
use std::os::fd::AsFd;

fn idle(host: &Host) -> Value {
    host.ask(json!({"op": "idle"})).unwrap()
}

#[test]
fn a_save_is_under_way_from_its_first_word_and_an_image_is_kept() {
    let host = Host::new();
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    eventually("it is idle", || {
        idle(&host) == json!({"under_way": [], "kept": []})
    });

    let (_reader, writer) = std::io::pipe().unwrap();
    let (talk, begun) = host.save(writer.as_fd());
    begun.unwrap();
    assert_eq!(idle(&host)["under_way"].as_array().unwrap().len(), 1);
    drop(talk);
    eventually("it is over", || idle(&host)["under_way"] == json!([]));

    host.request("detach").unwrap();
    let kept = idle(&host)["kept"].clone();
    assert_eq!(kept, json!(["domain 0: the GPU state of 1 sessions"]));
}

#[test]
fn a_device_on_record_is_kept() {
    let (host, toolstack) = with_device();
    eventually("it is idle", || {
        idle(&host) == json!({"under_way": [], "kept": []})
    });
    toolstack.pci().take_all();
    assert_eq!(idle(&host)["kept"].as_array().unwrap().len(), 1);
}
