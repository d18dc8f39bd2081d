//! Saves that run without the plugin. That the process is ended is shown in the package `xl-gpu-host`.

use super::host::Host;
use super::program::{Program, objects};
use daemon::bare_save;
use host::save::{Missing, Plugin, Save};

/// No process has this number: it has ended before it could be.
const SAVE: Save = Save {
    pid: i32::MAX,
    domid: 0,
    plugin: Plugin::Missing(Missing::NotLoaded),
};

#[test]
fn it_is_told_where_the_domain_has_sessions() {
    let host = Host::new();
    let told = || host.daemon.publisher.last_of(0).error;
    bare_save::look(&host.daemon, &SAVE);
    assert_eq!(
        told(),
        "",
        "a domain without sessions is saved by Xen alone"
    );

    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    let with = Save {
        plugin: Plugin::Works,
        ..SAVE
    };
    bare_save::look(&host.daemon, &with);
    assert_eq!(told(), "", "the plugin speaks for itself");
    bare_save::look(&host.daemon, &SAVE);
    for part in [
        "ran without xl-gpu's plugin",
        "the domain runs on",
        "save-helper-diversion add",
    ] {
        assert!(told().contains(part), "{}", told());
    }
    let newer = Missing::Unknown {
        libxenguest: "libxenguest.so.4.99".into(),
    };
    let unknown = Save {
        plugin: Plugin::Missing(newer),
        ..SAVE
    };
    bare_save::look(&host.daemon, &unknown);
    assert!(told().contains("does not know libxenguest.so.4.99"));
    assert!(told().contains("Use an xl-gpu that knows this Xen"));

    let host = Host::with(|config, _| config.end_saves_without_plugin = false);
    let _program = Program::start(&host.programs, 1, objects(1, 1));
    host.expect_sessions(1);
    bare_save::look(&host.daemon, &SAVE);
    let told = host.daemon.publisher.last_of(0).error;
    assert!(told.contains("end_saves_without_plugin = false"), "{told}");
}
