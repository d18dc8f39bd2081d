//! Sessions, by what they answer once they are opened.

use super::finding::Finding;
use super::patient::{Answer, Patient};

/// A channel of fewer pages moves less than half a MiB at a time.
const FEW_PAGES: usize = 128;

/// Those that do not answer.
pub fn silent(_: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let failed = |a: &Answer| {
        let reason = a.begun.as_ref().err()?;
        let finding = Finding::error(&a.who, reason);
        Some(match reason.contains("pages with dom0") {
            true => finding.remedy(MORE_GRANTS),
            false => finding,
        })
    };
    answers.iter().filter_map(failed).collect()
}

const MORE_GRANTS: &str = "raise the guest's limit of shared pages: echo 8192 >/sys/module/xen_gntalloc/parameters/limit there";

/// Those whose guest has few grants left for them.
pub fn few_pages(_: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let few = |a: &Answer| {
        let (_, pages) = a.begun.as_ref().ok()?;
        (*pages < FEW_PAGES).then(|| {
            Finding::warning(
                &a.who,
                format!("it shares {pages} pages only: the copy will be slow"),
            )
            .remedy(MORE_GRANTS)
        })
    };
    answers.iter().filter_map(few).collect()
}
