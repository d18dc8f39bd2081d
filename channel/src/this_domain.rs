//! Which domain this is: what tells it from the one that the guest was in before it was moved or restored.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Of this domain, relative to its home.
const DOMID: &str = "domid";
/// Path of what libxl says of the domain as a whole; a guest may read it.
const VM: &str = "vm";
/// There: when libxl built or restored the domain, in seconds and hundredths (`libxl__domain_build`, `domcreate_stream_done`).
const START_TIME: &str = "start_time";

/// A domain, as its own XenStore nodes name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThisDomain {
    number: String,
    /// Numbers are given again, by another host or after a restart of this one. `None` where it cannot be read.
    started: Option<String>,
}

impl ThisDomain {
    /// By what `read` says of nodes; `None` where it cannot be told.
    pub fn read(read: impl Fn(&str) -> Option<String>) -> Option<ThisDomain> {
        let number = read(DOMID)?;
        let started = read(VM).and_then(|vm| read(&format!("{vm}/{START_TIME}")));
        Some(ThisDomain { number, started })
    }

    /// Whether it is certainly another one.
    pub fn is_other_than(&self, before: &ThisDomain) -> bool {
        let times = self.started.as_ref().zip(before.started.as_ref());
        self.number != before.number || times.is_some_and(|(now, then)| now != then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(number: &str, vm: &str, started: Option<&str>) -> ThisDomain {
        let read = |path: &str| match path {
            DOMID => Some(number.to_owned()),
            VM => Some(vm.to_owned()),
            path if path == format!("{vm}/start_time") => started.map(str::to_owned),
            _ => None,
        };
        ThisDomain::read(read).unwrap()
    }

    #[test]
    fn a_restored_domain_is_another_one_under_the_same_number() {
        let before = domain("5", "/vm/6f0c", Some("1780000000.05"));
        assert!(!before.is_other_than(&before));
        assert!(domain("6", "/vm/6f0c", None).is_other_than(&before));
        // By `xl restore`, the number and the UUID stay.
        let restored = domain("5", "/vm/6f0c", Some("1780000321.77"));
        assert!(restored.is_other_than(&before));
        // Renamed under way, as within one host.
        let renamed = domain("5", "/vm/6f0c-1", Some("1780000000.05"));
        assert!(!renamed.is_other_than(&before));
        // What cannot be read is no proof.
        let unread = domain("5", "/vm/6f0c", None);
        assert!(!unread.is_other_than(&before) && !before.is_other_than(&unread));
        assert_eq!(ThisDomain::read(|_| None), None);
    }
}
