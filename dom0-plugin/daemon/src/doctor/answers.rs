//! Sessions, by what they answer once they are opened.

use super::patient::{Answer, Patient};
use crate::driver_costs::Way;
use protocol::diagnosis::{Code, Finding};
use protocol::text;
use std::collections::BTreeSet;

/// From so many bytes on, what is left to the driver is worth a word.
const MUCH: u64 = 256 << 20;

/// A channel of fewer pages moves less than half a MiB at a time.
const FEW_PAGES: usize = 128;

/// Those that do not answer.
pub fn silent(_: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let failed = |a: &Answer| {
        let reason = a.begun.as_ref().err()?.to_string();
        let finding = Finding::error(Code::SessionSilent, &a.who, &*reason);
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
                Code::FewPages,
                &a.who,
                format!("it shares {pages} pages only: the copy will be slow"),
            )
            .remedy(MORE_GRANTS)
        })
    };
    answers.iter().filter_map(few).collect()
}

/// Those whose driver carries much itself, while they wait.
pub fn left_to_driver(_: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let much = |a: &Answer| {
        let (begun, _) = a.begun.as_ref().ok()?;
        let left = begun.left_to_driver();
        let out = Way::CHECKPOINT.cost(left).as_secs_f64();
        let back = Way::RESTORE.cost(left).as_secs_f64();
        (left.bytes >= MUCH || left.pinned >= MUCH).then(|| {
            let left = text::left_to_driver(left).unwrap_or_default();
            Finding::note(
Code::LeftToDriver,
&a.who,
                format!("{left}: about {out:.1} s to take off the GPU and {back:.1} s back, while the program waits"),
            )
            .remedy("memory of cuMemAlloc and cuMemCreate moves while the program runs; that of pools, arrays and small pieces does not")
        })
    };
    answers.iter().filter_map(much).collect()
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
            true => Finding::error(
                Code::OthersHoldGpu,
                &subject,
                format!("{what}, and has no GPU session"),
            ),
            false => Finding::warning(
                Code::OthersHoldGpu,
                &subject,
                format!("{what}, and has no GPU session: nothing of it moves"),
            ),
        };
        findings.push(finding.remedy("end it for the time of the migration"));
    }
    findings.extend(answers.iter().filter(|a| a.others.unseen > 0).map(|a| {
        Finding::note(
            Code::OthersUnseen,
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
