//! What became of the memory of a domain whose PCI devices were detached.

use protocol::ram::RamFigures;
use protocol::report::RamReport;

/// Takes newer figures, and tells what is new.
pub fn learn(report: &mut RamReport, domid: u32, figures: RamFigures) {
    if let Some(pass) = figures.passes.last()
        && figures.passes.len() > report.figures.passes.len()
    {
        log::info!(
            "domain {domid}: RAM pass {}: {} bytes in {:.2} s",
            figures.passes.len(),
            pass.bytes,
            pass.seconds
        );
    }
    if let (Some(scan), None) = (&figures.scan, &report.figures.scan) {
        log::info!(
            "domain {domid}: {} of {} RAM pages unchanged, found in {:.2} s by {} threads",
            scan.unchanged,
            scan.pages,
            scan.seconds,
            scan.threads
        );
    }
    if let (Some(reason), None) = (&figures.given_up, &report.figures.given_up) {
        log::warn!("domain {domid}: RAM pre-copy was given up: {reason}");
    }
    report.figures = figures;
}
