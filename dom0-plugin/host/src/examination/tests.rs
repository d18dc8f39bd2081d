use super::*;
use crate::helper::{Helper, HelperState};
use protocol::diagnosis::Code;
use std::io;
use std::path::PathBuf;

fn helper(state: HelperState) -> Helper {
    Helper {
        path: PathBuf::from("/usr/lib/xen-4.17/bin/libxl-save-helper"),
        state,
    }
}

/// One that is as it should be.
fn sound() -> Host {
    Host {
        daemon: Daemon::Runs {
            version: "1".into(),
        },
        version: "1".into(),
        xen: Some("4.17".into()),
        is_dom0: true,
        helpers: vec![helper(HelperState::Diverted)],
        has_plugin: true,
        save_helper: None,
        info: Ok("virt_caps              : pv hvm hvm_directio pv_directio\n".into()),
        quota: Ok("nodes            :     1000 maximum\nwatches : 128\n".into()),
        has_pciback: true,
        spool: (PathBuf::from("/var/lib/xl-gpu/spool"), Some(1 << 40)),
    }
}

fn codes(change: impl FnOnce(&mut Host)) -> Vec<Code> {
    let mut host = sound();
    change(&mut host);
    let findings = examine(&host).findings;
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_sound_host_is_ready() {
    let found = examine(&sound());
    assert_eq!((found.ready, found.findings), (true, vec![]));
}

#[test]
fn each_lack_is_one_finding() {
    let silent = Daemon::Silent("refused".into());
    let other = Daemon::Runs {
        version: "2".into(),
    };
    assert_eq!(codes(|h| h.daemon = silent), [Code::DaemonDown]);
    assert_eq!(codes(|h| h.daemon = other), [Code::DaemonVersion]);
    assert_eq!(codes(|h| h.is_dom0 = false), [Code::NoDom0]);
    assert_eq!(
        codes(|h| h.xen = Some("4.99".into())),
        [Code::LibxenguestUnknown]
    );
    let stock = vec![helper(HelperState::Stock)];
    assert_eq!(codes(|h| h.helpers = stock), [Code::HelperStock]);
    let broken = vec![helper(HelperState::Broken)];
    assert_eq!(codes(|h| h.helpers = broken), [Code::HelperBroken]);
    assert_eq!(codes(|h| h.helpers.clear()), [Code::HelperUnreadable]);
    assert_eq!(codes(|h| h.has_plugin = false), [Code::PluginMissing]);
    assert_eq!(
        codes(|h| h.save_helper = Some("/nonexistent".into())),
        [Code::HelperMissing]
    );
    let failed = Err(io::Error::other("no"));
    assert_eq!(codes(|h| h.info = failed), [Code::XlUnusable]);
    let without = Ok("virt_caps : pv hvm\n".into());
    assert_eq!(codes(|h| h.info = without), [Code::NoIommu]);
    assert_eq!(codes(|h| h.has_pciback = false), [Code::NoPciback]);
    let few = Ok("nodes : 300 maximum\n".into());
    assert_eq!(codes(|h| h.quota = few), [Code::XenstoreQuota]);
    assert_eq!(codes(|h| h.spool.1 = Some(1 << 20)), [Code::SpoolFull]);
}

#[test]
fn a_stock_helper_is_an_error_and_comes_first() {
    let mut host = sound();
    host.helpers = vec![helper(HelperState::Stock)];
    host.has_pciback = false;
    let found = examine(&host);
    assert!(!found.ready);
    assert_eq!(found.findings[0].code, Code::HelperStock);
    assert!(
        found.findings[0]
            .remedy
            .contains("save-helper-diversion add")
    );
}
