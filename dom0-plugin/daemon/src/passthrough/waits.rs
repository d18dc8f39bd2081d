//! What the last wait for a guest's devices ended with, for those who waited for its end.
//!
//! The sessions of a domain are served at the same time. Whether the guest has its devices is asked for all of them once.

use super::absence::Absence;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Debug)]
struct Wait {
    began: Instant,
    /// Why the guest did not come to use them; `None` if it did.
    absence: Option<Absence>,
}

/// By domain.
#[derive(Debug, Default)]
pub struct Waits(Mutex<BTreeMap<u32, Wait>>);

impl Waits {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that began at `began` has ended.
    pub fn ended(&self, domid: u32, began: Instant, absence: Option<Absence>) {
        self.all().insert(domid, Wait { began, absence });
    }

    /// How one ended that began at `asked` or later.
    pub fn since(&self, domid: u32, asked: Instant) -> Option<Option<Absence>> {
        let all = self.all();
        let wait = all.get(&domid).filter(|wait| wait.began >= asked)?;
        Some(wait.absence.clone())
    }

    /// Devices come and go: what was found before does not count.
    pub fn forget(&self, domid: u32) {
        self.all().remove(&domid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_after_the_question_answers_it() {
        let waits = Waits::default();
        let (before, began) = (Instant::now(), Instant::now());
        waits.ended(1, began, Some(Absence::NotTaken));
        assert_eq!(waits.since(1, before), Some(Some(Absence::NotTaken)));
        assert_eq!(waits.since(2, before), None);
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert_eq!(waits.since(1, Instant::now()), None);
        waits.forget(1);
        assert_eq!(waits.since(1, before), None);
    }
}
