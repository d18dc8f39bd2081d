//! What became of the memory of a domain whose PCI devices were detached.

use protocol::ram::RamFigures;
use protocol::report::RamReport;
use std::time::Duration;

/// Takes newer figures, and tells what is new. They have come `now`, since the migration began.
pub fn learn(report: &mut RamReport, domid: u32, figures: RamFigures, now: Duration) {
    let known = report.pass_starts_s.len().min(figures.passes.len());
    // The helper tells of each pass when it is over.
    let mut end = now.as_secs_f64();
    let mut starts: Vec<f64> = Vec::new();
    for pass in figures.passes[known..].iter().rev() {
        end = (end - pass.seconds).max(0.0);
        starts.insert(0, end);
    }
    report.pass_starts_s.extend(starts);
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ram::RamPass;

    #[test]
    fn a_pass_began_before_it_ended() {
        let mut report = RamReport::default();
        let mut figures = RamFigures::default();
        let pass = |seconds| RamPass { bytes: 1, seconds };
        figures.passes = vec![pass(2.0)];
        learn(&mut report, 1, figures.clone(), Duration::from_secs(5));
        // Told of again with something else, and then of two at once.
        learn(&mut report, 1, figures.clone(), Duration::from_secs(6));
        figures.passes.extend([pass(3.0), pass(1.0)]);
        learn(&mut report, 1, figures, Duration::from_secs(10));
        assert_eq!(report.pass_starts_s, [3.0, 6.0, 9.0]);
    }
}
