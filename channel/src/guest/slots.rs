//! Who has which slot of the shared area.
//!
//! ```text
//!          take            sent (Data, Failed)
//!   Free ───────> Held ──────────────────────> Sent ─── SlotFree ───────────> Free
//!     ^            │ └── asked (Fetch) ──────> Asked ── Filled, FilledZero ─> Held
//!     └────────────┘                             └───── FetchFailed ────────> Free
//!   put_back, end of the step
//! ```
//!
//! The guest owns all slots and keeps this table in private memory for as long as the link is open: a
//! step that was called off leaves slots at dom0, and they come back during later steps.

use super::interrupt::Interrupt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    /// The running step's.
    Held,
    /// dom0 has not copied it yet.
    Sent,
    /// dom0 is to fill it.
    Asked,
}

/// A slot that the running step holds. One kept beyond its step is of no use, and no transfer into or out of it
/// may outlive the step: the slot is free afterwards.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    index: usize,
    step: u64,
}

impl Slot {
    /// Its number, below the layout's number of slots.
    pub(super) fn index(&self) -> usize {
        self.index
    }
}

pub(super) struct Slots {
    uses: Vec<Use>,
    step: u64,
}

impl Slots {
    pub(super) fn new(count: usize) -> Slots {
        Slots {
            uses: vec![Use::Free; count],
            step: 0,
        }
    }

    /// A step begins: what an earlier one still held is free, and its `Slot`s are void.
    pub(super) fn next_step(&mut self) {
        self.step += 1;
        for slot in &mut self.uses {
            if *slot == Use::Held {
                *slot = Use::Free;
            }
        }
    }

    /// Whether [`Slots::take`] would give one.
    pub(super) fn has_free(&self) -> bool {
        self.uses.contains(&Use::Free)
    }

    /// A free slot.
    pub(super) fn take(&mut self) -> Option<Slot> {
        let index = self.uses.iter().position(|u| *u == Use::Free)?;
        self.uses[index] = Use::Held;
        Some(self.held(index))
    }

    /// # Panics
    /// When `slot` is of another step: a workload has kept it, and somebody else may have it now.
    pub(super) fn check(&self, slot: &Slot) {
        assert!(
            slot.step == self.step && self.uses[slot.index] == Use::Held,
            "slot {} of an earlier step",
            slot.index
        );
    }

    /// It goes to dom0 with bytes.
    pub(super) fn sent(&mut self, slot: &Slot) {
        self.check(slot);
        self.uses[slot.index] = Use::Sent;
    }

    /// It goes to dom0 for bytes.
    pub(super) fn asked(&mut self, slot: &Slot) {
        self.check(slot);
        self.uses[slot.index] = Use::Asked;
    }

    /// It was not needed, or is not any more.
    pub(super) fn put_back(&mut self, slot: Slot) {
        self.check(&slot);
        self.uses[slot.index] = Use::Free;
    }

    /// dom0 says that it has copied a slot.
    pub(super) fn copied(&mut self, slot: u64) -> Result<(), Interrupt> {
        let index = self.find(slot, Use::Sent, "freed a slot that was not sent")?;
        self.uses[index] = Use::Free;
        Ok(())
    }

    /// dom0 says that it has filled a slot.
    pub(super) fn filled(&mut self, slot: u64) -> Result<Slot, Interrupt> {
        let index = self.find(slot, Use::Asked, "filled a slot that was not asked for")?;
        self.uses[index] = Use::Held;
        Ok(self.held(index))
    }

    /// dom0 says that it cannot fill a slot.
    pub(super) fn unfilled(&mut self, slot: u64) -> Result<(), Interrupt> {
        let index = self.find(slot, Use::Asked, "refused a fetch that was not asked for")?;
        self.uses[index] = Use::Free;
        Ok(())
    }

    fn held(&self, index: usize) -> Slot {
        let step = self.step;
        Slot { index, step }
    }

    fn find(&self, slot: u64, must_be: Use, otherwise: &'static str) -> Result<usize, Interrupt> {
        let index = usize::try_from(slot).ok();
        index
            .filter(|i| self.uses.get(*i) == Some(&must_be))
            .ok_or(Interrupt::Slot {
                did: otherwise,
                slot,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// No slot is ever given out while it is held or at dom0, and none is lost.
        #[test]
        fn a_slot_has_one_holder(ops in prop::collection::vec((0u8..9, any::<prop::sample::Index>()), 0..200)) {
            const COUNT: usize = 5;
            let mut slots = Slots::new(COUNT);
            let mut held: Vec<Slot> = Vec::new();
            let (mut sent, mut asked) = (BTreeSet::new(), BTreeSet::new());
            for (op, which) in ops {
                let pick = |set: &BTreeSet<usize>| set.iter().nth(which.index(COUNT)).copied();
                match op {
                    0 | 1 => match slots.take() {
                        Some(slot) => {
                            prop_assert!(!held.contains(&slot));
                            prop_assert!(!sent.contains(&slot.index) && !asked.contains(&slot.index));
                            held.push(slot);
                        }
                        None => prop_assert_eq!(held.len() + sent.len() + asked.len(), COUNT),
                    },
                    2..=4 if !held.is_empty() => {
                        let slot = held.swap_remove(which.index(held.len()));
                        match op {
                            2 => { slots.sent(&slot); sent.insert(slot.index); }
                            3 => { slots.asked(&slot); asked.insert(slot.index); }
                            _ => slots.put_back(slot),
                        }
                    }
                    5 => {
                        let slot = pick(&sent).unwrap_or(which.index(COUNT + 2));
                        prop_assert_eq!(slots.copied(slot as u64).is_ok(), sent.remove(&slot));
                    }
                    6 => {
                        let slot = pick(&asked).unwrap_or(which.index(COUNT + 2));
                        let filled = slots.filled(slot as u64);
                        prop_assert_eq!(filled.is_ok(), asked.remove(&slot));
                        held.extend(filled);
                    }
                    7 => {
                        let slot = pick(&asked).unwrap_or(which.index(COUNT + 2));
                        prop_assert_eq!(slots.unfilled(slot as u64).is_ok(), asked.remove(&slot));
                    }
                    8 => {
                        slots.next_step();
                        held.clear();
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "earlier step")]
    fn a_slot_kept_beyond_its_step_is_refused() {
        let mut slots = Slots::new(2);
        let kept = slots.take().unwrap();
        slots.next_step();
        slots.take().unwrap();
        slots.sent(&kept);
    }
}
