//! Sessions, by what they answer once they are opened.

use super::patient::{Answer, Patient};
use protocol::diagnosis::Finding;
use std::collections::BTreeSet;

/// A channel of fewer pages moves less than half a MiB at a time.
const FEW_PAGES: usize = 128;

/// Those that do not answer.
pub fn silent(_: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let failed = |a: &Answer| {
        let reason = a.begun.as_ref().err()?.to_string();
        let finding = Finding::error(&a.who, &*reason);
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

/// Processes without a session that hold the GPU: with a device that has to leave, they are in the way.
pub fn held_by_others(patient: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let assigned = patient.devices.assigned(patient.domid);
    let leaves = patient.would_leave() && assigned.is_ok_and(|devices| !devices.is_empty());
    let mut findings = Vec::new();
    let holders: BTreeSet<&String> = answers.iter().flat_map(|a| &a.others.holders).collect();
    for holder in holders {
        let (subject, what) = (
            format!("guest of domain {}", patient.domid),
            holder.as_str(),
        );
        let finding = match leaves {
            true => Finding::error(&subject, format!("{what}, and has no GPU session")),
            false => Finding::warning(
                &subject,
                format!("{what}, and has no GPU session: nothing of it moves"),
            ),
        };
        findings.push(finding.remedy("end it for the time of the migration"));
    }
    findings.extend(answers.iter().filter(|a| a.others.unseen > 0).map(|a| {
        Finding::note(
            &a.who,
            format!(
                "it may not look at {} other processes: whether they hold the GPU is not known",
                a.others.unseen
            ),
        )
        .remedy("in the guest, as root: lsof on the GPU's device nodes")
    }));
    findings
}
