//! `xl-gpu status`.

use super::report;
use protocol::status::{DomainStatus, SessionStatus, Status, StoredImage};
use protocol::text::{bytes, left_to_driver};
use std::fmt::Write as _;

/// Each domain with its sessions, images and last migration.
pub fn text(status: &Status) -> String {
    if status.domains.is_empty() {
        return "no GPU sessions\n".into();
    }
    let mut out = String::new();
    for domain in &status.domains {
        show_domain(&mut out, domain);
    }
    out
}

fn show_domain(out: &mut String, domain: &DomainStatus) {
    let (domid, published) = (domain.domid, &domain.published);
    let _ = write!(out, "{} ({domid}): {}", domain.name, published.state);
    if let Some(busy) = &domain.busy {
        let _ = write!(out, ", now: {busy}");
    }
    out.push('\n');
    if !published.error.is_empty() {
        let _ = writeln!(out, "  last error: {}", published.error);
    }
    for session in &domain.sessions {
        show_session(out, session);
    }
    for image in &domain.images {
        show_image(out, image);
    }
    let Some(last) = &domain.report else { return };
    let _ = writeln!(
        out,
        "  last migration ({}): {}; xl-gpu report {domid} shows it",
        last.role,
        report::outcome(last)
    );
    if let Some(why) = &last.uncompared {
        let _ = writeln!(out, "    {why}");
    }
    let (copies, zero) = (last.gpu_bytes.copies, last.gpu_bytes.zero);
    if copies > 0 || zero > 0 {
        let (copies, zero) = (bytes(copies), bytes(zero));
        let _ = writeln!(
            out,
            "    not carried: {copies} by reference, {zero} of zeros"
        );
    }
}

fn show_session(out: &mut String, session: &SessionStatus) {
    let _ = writeln!(
        out,
        "  session {}  {} (pid {})  {}",
        session.session, session.program, session.pid, session.state
    );
    if let Some(reason) = &session.blocked {
        let _ = writeln!(out, "    cannot be moved: {reason}");
    }
    if let Some(left) = left_to_driver(session.left_to_driver) {
        let _ = writeln!(out, "    {left}");
    }
    if let Some(problem) = &session.problem {
        let _ = writeln!(out, "    {problem}");
    }
}

fn show_image(out: &mut String, image: &StoredImage) {
    let serving = match image.serving {
        true => ", being served",
        false => "",
    };
    let _ = writeln!(
        out,
        "  image {} ({}): {} in {} objects, {} of spool{serving}",
        image.key,
        image.purpose,
        bytes(image.bytes),
        image.objects,
        bytes(image.stored),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_says_why_something_cannot_be_moved() {
        let status: Status = serde_json::from_value(json!({
            "version": "0.1.0", "carrier": "xen", "spool_memory": {"used": 0, "limit": 1},
            "domains": [{
                "domid": 5, "name": "web", "state": "failed", "error": "no space", "busy": null, "progress": null,
                "sessions": [{"session": "ab", "pid": 9, "program": "wave", "state": "attached",
                              "generation": 0, "blocked": "fine-grained SVM", "problem": null},
                             {"session": "cd", "pid": 10, "program": "train", "state": "attached",
                              "generation": 0, "blocked": null, "problem": null,
                              "left_to_driver": {"contexts": 1, "bytes": 1288490188, "pinned": 0}}],
                "images": [], "report": null}]}))
        .unwrap();
        let shown = text(&status);
        assert!(shown.contains("web (5): failed"), "{shown}");
        assert!(
            shown.contains("cannot be moved: fine-grained SVM"),
            "{shown}"
        );
        assert!(
            shown.contains("    left to the driver: 1228.8 MiB\n"),
            "{shown}"
        );
        assert_eq!(shown.matches("left to").count(), 1, "{shown}");
        assert!(shown.contains("last error: no space"), "{shown}");
    }
}
