//! What of a program's words goes to dom0.

use crate::process::Process;
use channel::bus::Bus;
use channel::image::SessionId;
use channel::link::Announcement;
use std::path::Path;
use xen_session::pci_devices::{SYSFS, devices};

/// Longest text of a program's, in bytes. xenstored takes 2048 of a guest in one node.
const TEXT: usize = 400;
/// Most other processes that it may name, and the length of a name in bytes.
const HOLDERS: usize = 16;
const HOLDER: usize = 100;

/// Who the process is comes from the kernel; texts are cut, and have no control characters.
pub(crate) fn vetted(told: Announcement, process: &Process) -> Announcement {
    let mut others = told.others;
    others.holders.truncate(HOLDERS);
    others.holders.iter_mut().for_each(|h| *h = text(h, HOLDER));
    Announcement {
        pid: process.instance.pid(),
        program: text(&process.program, TEXT),
        blocked: told.blocked.map(|reason| text(&reason, TEXT)),
        others,
        bus: seen_bus(told.bus),
        session: told.session,
        protocol: told.protocol,
        state: told.state,
        generation: told.generation,
        left: told.left,
    }
}

/// `words`, for people: up to `longest` bytes.
pub(crate) fn text(words: &str, longest: usize) -> String {
    let mut text = String::new();
    for c in words.chars() {
        let c = if c.is_control() { '?' } else { c };
        if text.len() + c.len_utf8() > longest {
            break;
        }
        text.push(c);
    }
    text
}

/// A session, for the log. Its whole name is a secret: who says it first in a new domain gets its image.
pub(crate) fn short(session: SessionId) -> String {
    let mut name = session.to_string();
    name.truncate(8);
    name + "…"
}

/// The bus as the agent sees it: dom0 goes by the fullest that any session tells of, for all of them. Only how many device files a program
/// has open is its own word. None may have the bus scanned.
fn seen_bus(told: Option<Bus>) -> Option<Bus> {
    let own = told?.own;
    let devices = devices(Path::new(SYSFS)).filter(|devices| !devices.is_empty())?;
    let bus = Bus {
        own,
        devices,
        ..Bus::default()
    };
    Some(bus.fitting())
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel::bus::BusDevice;
    use channel::link::{Others, Residence};

    #[test]
    fn a_program_cannot_say_who_it_is_nor_write_what_it_likes() {
        let uid = rustix::process::geteuid().as_raw();
        let process = Process::of(std::process::id(), uid).unwrap();
        let device = BusDevice {
            vendor: 1,
            device: 2,
            address: "0000:00:05.0\0".into(),
            unplaced: 0,
            driver: Some("a\x1b[2J".into()),
            was: None,
            modules: Vec::new(),
        };
        let told = Announcement {
            session: SessionId([7; 16]),
            protocol: (1, 2),
            pid: 1,
            program: "init".into(),
            state: Residence::Attached,
            generation: 3,
            blocked: Some("é\0".repeat(5000)),
            others: Others {
                holders: vec!["€\n".repeat(5000); 500],
                unseen: 1,
            },
            left: Default::default(),
            bus: Some(Bus {
                devices: vec![device; 99],
                own: 7,
                may_rescan: true,
                ..Bus::default()
            }),
        };
        let vetted = vetted(told, &process);
        assert_eq!(vetted.pid, std::process::id());
        assert_ne!(vetted.program, "init");
        assert_eq!(vetted.generation, 3);
        let blocked = vetted.blocked.unwrap();
        assert!((TEXT - 3..=TEXT).contains(&blocked.len()));
        let holders = vetted.others.holders.join("\n");
        assert!(holders.len() < 2000 && holders.lines().count() == HOLDERS);
        let invented = |bus: &Bus| bus.devices.iter().any(|d| d.vendor == 1);
        assert!(!vetted.bus.as_ref().is_some_and(invented));
        assert!(!vetted.bus.as_ref().is_some_and(|bus| bus.may_rescan));
        assert!(vetted.bus.as_ref().is_none_or(|bus| bus.own == 7));
        for text in [blocked, holders] {
            assert!(
                !text.contains(|c: char| c.is_control() && c != '\n'),
                "{text:?}"
            );
            assert!(text.len() < 2000);
        }
    }
}
