//! Every libxenguest whose prototypes are known, and the ones next to them.

use crate::daemon::{Daemon, Manner};
use crate::fakes::{Xen, plugin};
use crate::*;

#[test]
fn known_versions_carry_gpu_state() {
    for minor in 14..=22 {
        let xen = Xen::version(minor);
        let daemon = Daemon::start(Manner {
            sessions: 1,
            ..Manner::default()
        });
        let (outcome, stream) = xen.with_plugin().daemon(&daemon.socket).save();
        outcome
            .says("complete rc 0")
            .says("precopy: 5 rounds, decision 1")
            .says("shadow_control domain 5 op 2");
        let (_, stock) = xen.stock().save();
        assert_eq!(without_ours(&stream), stock, "4.{minor}");
        assert_ne!(stream, stock);
        let outcome = xen.with_plugin().daemon(&daemon.socket).restore(&stream);
        outcome.says("complete rc 0");
    }
}

#[test]
fn how_the_library_joins_its_writes_is_no_matter() {
    let xen = Xen::with_joined_writes();
    let daemon = Daemon::start(Manner {
        sessions: 1,
        ..Manner::default()
    });
    let (outcome, stream) = xen.with_plugin().daemon(&daemon.socket).save();
    outcome.says("complete rc 0");
    let (_, published) = Xen::version(22).stock().save();
    assert_eq!(without_ours(&stream), published);
    assert_ne!(stream, published);
    let outcome = xen.with_plugin().daemon(&daemon.socket).restore(&stream);
    outcome.says("complete rc 0");
}

#[test]
fn unknown_versions_are_left_alone_with_one_line() {
    for minor in [13, 23] {
        let xen = Xen::version(minor);
        let daemon = Daemon::start(Manner {
            sessions: 1,
            ..Manner::default()
        });
        let (outcome, stream) = xen.with_plugin().daemon(&daemon.socket).save();
        let (stock, stock_stream) = xen.stock().save();
        assert_eq!(stream, stock_stream);
        let line = format!(
            "xl-gpu: libxenguest 4.{minor} is not one of 4.14 to 4.22: GPU state is left alone"
        );
        assert_eq!(outcome.text.matches("xl-gpu").count(), 1);
        outcome.says(&line);
        assert_eq!(outcome.without_plugin_lines(), stock.without_plugin_lines());
        xen.with_plugin().restore(&stream).says("complete rc 0");
        assert!(daemon.requests().is_empty());
    }
}

#[test]
fn without_libxenguest_the_library_does_nothing() {
    // The compiler's driver is as good as any program that has nothing to do with Xen.
    let output = std::process::Command::new("cc")
        .arg("--version")
        .env("LD_PRELOAD", plugin())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
