//! Whether what is on the GPU now finds room here.

use super::patient::{Answer, Patient};
use protocol::diagnosis::{Code, Finding};
use protocol::text::bytes;

/// The domain's quota, and memory and disk of this host. Zeros take no space, so less may do; nobody knows before.
pub fn room(patient: &Patient, answers: &[Answer]) -> Vec<Finding> {
    let resident = answers.iter().filter_map(|a| a.begun.as_ref().ok());
    let resident = resident.fold(0u64, |sum, (begun, _)| sum.saturating_add(begun.bytes));
    let room = &patient.room;
    let mut findings = Vec::new();
    if room.quota < resident {
        findings.push(
            Finding::error(
Code::SpoolQuota,
"spool",
                format!(
                    "{} are on the GPU, and images of the domain may take {} more (spool_guest_quota)",
                    bytes(resident),
                    bytes(room.quota)
                ),
            )
            .remedy("raise spool_guest_quota in xl-gpu.conf, or have the program release what it does not need"),
        );
    }
    let space = room.memory.saturating_add(room.disk.unwrap_or(0));
    if space < resident {
        let (dir, disk) = (
            room.dir.display(),
            match room.disk {
                Some(free) => bytes(free),
                None => "nothing (it cannot be used)".into(),
            },
        );
        findings.push(
            Finding::error(
Code::SpoolFull,
"spool",
                format!(
                    "{} are on the GPU, and there is room for {} in memory (spool_memory) and {disk} in {dir}",
                    bytes(resident),
                    bytes(room.memory)
                ),
            )
            .remedy("free space there, name another spool_dir, or raise spool_memory in xl-gpu.conf"),
        );
    }
    findings
}
