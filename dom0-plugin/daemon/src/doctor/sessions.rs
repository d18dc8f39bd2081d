//! Sessions, by what they announce.

use super::patient::Patient;
use crate::carrier::who;
use channel::link::{Announcement, Residence};
use protocol::diagnosis::{Code, Finding};
use protocol::status::Purpose;

/// Nodes that no session can be made of.
pub fn nonsense(patient: &Patient) -> Vec<Finding> {
    let finding = |odd: &crate::carrier::Nonsense| {
        Finding::error(
            Code::SessionNonsense,
            &format!("session {} of domain {}", odd.node, patient.domid),
            format!("it makes no sense ({})", odd.reason),
        )
        .remedy(format!(
            "if nobody needs it: xl-gpu forget {} {}",
            patient.domid, odd.node
        ))
    };
    patient.nonsense.iter().map(finding).collect()
}

/// Sessions whose program uses what cannot be moved.
pub fn blocked(patient: &Patient) -> Vec<Finding> {
    patient.announced.iter().filter_map(is_blocked).collect()
}

/// Sessions of another time.
pub fn protocol(patient: &Patient) -> Vec<Finding> {
    patient
        .announced
        .iter()
        .filter_map(speaks_another)
        .collect()
}

/// Why an attached session cannot be captured, as far as it tells itself.
pub fn cannot_be_captured(a: &Announcement) -> Option<Finding> {
    is_blocked(a).or_else(|| speaks_another(a))
}

fn is_blocked(a: &Announcement) -> Option<Finding> {
    let reason = a
        .blocked
        .as_ref()
        .filter(|_| a.state == Residence::Attached)?;
    let finding = Finding::error(
        Code::SessionBlocked,
        &who(a),
        format!("it cannot be moved: {reason}"),
    );
    Some(finding.remedy("end the program, or what it uses of that kind, and try again"))
}

fn speaks_another(a: &Announcement) -> Option<Finding> {
    let ((oldest, newest), ours) = (a.protocol, channel::PROTOCOL);
    if a.choose_protocol(ours.clone()).is_some() {
        return None;
    }
    let finding = Finding::error(
        Code::SessionProtocol,
        &who(a),
        format!(
            "it speaks channel protocol {oldest} to {newest}, this xl-gpud {} to {}",
            ours.start(),
            ours.end()
        ),
    );
    Some(finding.remedy("update the older of the two"))
}

/// Detached sessions: their images travel as they are, if they are here. Arriving ones need theirs first.
pub fn detached(patient: &Patient) -> Vec<Finding> {
    let detached = patient
        .announced
        .iter()
        .filter(|a| a.state != Residence::Attached);
    detached.map(|a| of_detached(patient, a)).collect()
}

fn of_detached(patient: &Patient, a: &Announcement) -> Finding {
    let image = patient
        .images
        .iter()
        .find(|i| i.key.session == a.session && i.key.generation == a.generation);
    let who = who(a);
    match image {
        None => Finding::error(
Code::ImageMissing,
&who,
            format!(
                "it is {} and its image is not here: nothing could be moved of it",
                a.state
            ),
        )
        .remedy(format!(
            "the daemon of the host it came from may have it; if nobody needs the session: xl-gpu forget {} {}",
            patient.domid, a.session
        )),
        Some(image) if image.serving => Finding::warning(
Code::SessionArriving,
&who,
            "it is still arriving: its state is being given back",
        )
        .remedy("a migration waits for it, and up to timeout_busy of xl-gpu.conf without progress"),
        Some(image) if image.purpose == Purpose::Held && a.state == Residence::Detached => {
            Finding::note(Code::SessionDetached, &who, "it is detached by request; its image travels as it is")
        }
        Some(_) => Finding::warning(
Code::ImageWaiting,
&who,
            format!("it is {}, and its image waits to be served", a.state),
        )
        .remedy(format!("xl-gpu status {} says why it waits", patient.domid)),
    }
}

/// A domain that nobody computes in.
pub fn none(patient: &Patient) -> Vec<Finding> {
    match patient.announced.is_empty() && patient.nonsense.is_empty() {
        false => Vec::new(),
        true => vec![Finding::note(
            Code::NoSession,
            &format!("domain {}", patient.domid),
            "it has no GPU session: xl-gpu leaves it alone",
        )],
    }
}
