//! What became of the memory of a domain whose PCI devices were detached.

use protocol::helper::RamFigures;
use serde::{Deserialize, Serialize};

/// Part of a source's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RamReport {
    /// The plugin's figures.
    #[serde(flatten)]
    pub figures: RamFigures,
    /// From the first device's detaching to the suspended guest: what the copy of its memory adds to the GPU's absence.
    #[serde(default)]
    pub detach_to_suspend_s: Option<f64>,
}

impl RamReport {
    /// Takes newer figures, and tells what is new.
    pub fn learn(&mut self, domid: u32, figures: RamFigures) {
        if let Some(pass) = figures.passes.last()
            && figures.passes.len() > self.figures.passes.len()
        {
            log::info!(
                "domain {domid}: RAM pass {}: {} bytes in {:.2} s",
                figures.passes.len(),
                pass.bytes,
                pass.seconds
            );
        }
        if let (Some(scan), None) = (&figures.scan, &self.figures.scan) {
            log::info!(
                "domain {domid}: {} of {} RAM pages unchanged, found in {:.2} s by {} threads",
                scan.unchanged,
                scan.pages,
                scan.seconds,
                scan.threads
            );
        }
        if let (Some(reason), None) = (&figures.given_up, &self.figures.given_up) {
            log::warn!("domain {domid}: RAM pre-copy was given up: {reason}");
        }
        self.figures = figures;
    }
}
