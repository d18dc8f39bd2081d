//! What the last attempt to give a guest its devices ended with, for those who waited for its end.
//!
//! The sessions of a domain are served at the same time. What is asked of the guest and the toolstack is asked for all of them once.

use super::absence::Absence;
use super::error::DeviceProblem;
use super::verdict::Verdict;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest uses its devices.
    Used,
    /// It did not come to use one.
    Absent(Absence, Duration),
    /// One could not be attached.
    NotAttached {
        device: String,
        said: String,
        verdict: Verdict,
    },
}

impl End {
    /// Of what is worth telling others.
    pub fn of(problem: &DeviceProblem) -> Option<End> {
        match problem {
            DeviceProblem::NotFound { absence, patience } => {
                Some(End::Absent(absence.clone(), *patience))
            }
            DeviceProblem::NotAttached {
                device,
                error,
                verdict,
            } => Some(End::NotAttached {
                device: device.clone(),
                said: error.to_string(),
                verdict: verdict.clone(),
            }),
            _ => None,
        }
    }

    /// The same problem again.
    pub fn problem(self) -> Result<(), DeviceProblem> {
        match self {
            End::Used => Ok(()),
            End::Absent(absence, patience) => Err(DeviceProblem::NotFound { absence, patience }),
            End::NotAttached {
                device,
                said,
                verdict,
            } => Err(DeviceProblem::NotAttached {
                device,
                error: io::Error::other(said),
                verdict,
            }),
        }
    }
}

/// By domain: when the last one began, and how it ended.
#[derive(Debug, Default)]
pub struct Waits(Mutex<BTreeMap<u32, (Instant, End)>>);

impl Waits {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, (Instant, End)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that began at `began` has ended.
    pub fn ended(&self, domid: u32, began: Instant, end: End) {
        self.all().insert(domid, (began, end));
    }

    /// How one ended that began at `asked` or later.
    pub fn since(&self, domid: u32, asked: Instant) -> Option<End> {
        let all = self.all();
        let (_, end) = all.get(&domid).filter(|(began, _)| *began >= asked)?;
        Some(end.clone())
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
        waits.ended(1, began, End::Used);
        assert_eq!(waits.since(1, before), Some(End::Used));
        assert_eq!(waits.since(2, before), None);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(waits.since(1, Instant::now()), None);
        waits.forget(1);
        assert_eq!(waits.since(1, before), None);
    }

    #[test]
    fn others_are_told_the_same() {
        let device = || "0000:3b:00.0".to_owned();
        for problem in [
            DeviceProblem::NotFound {
                absence: Absence::NotTaken,
                patience: Duration::from_secs(30),
            },
            DeviceProblem::NotAttached {
                device: device(),
                error: io::Error::other("its slot is being reset"),
                verdict: Verdict::Dead,
            },
        ] {
            let again = End::of(&problem).unwrap().problem().unwrap_err();
            assert_eq!(again.to_string(), problem.to_string());
        }
        let busy = DeviceProblem::AtWork(Duration::from_secs(30));
        assert_eq!(End::of(&busy), None);
        assert!(End::Used.problem().is_ok());
    }
}
