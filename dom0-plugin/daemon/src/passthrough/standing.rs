//! What is believed of a domain's devices at one moment.
//!
//! Three lists say something of it. libxl's says what the domain is to have; it goes on listing a device that the guest ejected after
//! libxl had given up waiting. The device model's says what an HVM guest could use. The record says what was taken.
//!
//! | libxl lists it | on record | the device model | it is |
//! |---|---|---|---|
//! | yes | no | has it, or cannot be asked | assigned |
//! | yes | no | has it not | stale |
//! | yes | removal done | has it, or cannot be asked | back |
//! | yes | removal pending or late | has it, or cannot be asked | leaving |
//! | yes | yes | has it not | stale |
//! | no | yes | has it | a ghost |
//! | no | removal late | has it not | released |
//! | no | removal done or pending | has it not | away |
//! | no | yes | cannot be asked | away |
//!
//! Whether the guest *uses* a device that is assigned, back or leaving is another matter: [`super::absence`].

use super::device::Device;
use super::taken::{Removal, Taken};
use super::toolstack::Toolstack;
use std::io;

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The domain's, and nobody took it.
    Assigned,
    /// Taken: to be attached.
    Away,
    /// Taken and given back, or never gone: the record is to go once the guest uses it.
    Back,
    /// It was to leave and has not. The guest uses it for now; the record stays.
    Leaving,
    /// It has left without libxl's notice: to be struck off libxl's list, and then away.
    Stale,
    /// The device model has it without libxl's notice: an attach broke off in the middle. To be unplugged, and then away.
    Ghost,
    /// It was to leave, and somebody else has seen to the end of that: nobody's any more.
    Released,
}

impl Standing {
    /// By the three lists. `emulated`: whether the device model has it; `None` where it was not asked, or cannot be.
    pub fn of(
        is_listed: bool,
        record: Option<Removal>,
        emulated: Option<bool>,
    ) -> Option<Standing> {
        use Removal::{Done, Late, Pending};
        Some(match (is_listed, record, emulated) {
            (true, _, Some(false)) => Standing::Stale,
            (true, None, _) => Standing::Assigned,
            (true, Some(Done), _) => Standing::Back,
            (true, Some(Pending | Late), _) => Standing::Leaving,
            (false, Some(_), Some(true)) => Standing::Ghost,
            // Every removal that this daemon has seen the end of is done.
            (false, Some(Late), Some(false)) => Standing::Released,
            (false, Some(_), _) => Standing::Away,
            (false, None, _) => return None,
        })
    }
}

/// A domain's devices.
#[derive(Debug, Clone)]
pub struct Standings {
    /// What libxl lists, in its order.
    pub listed: Vec<Device>,
    /// What was taken, in the order in which it is to come back.
    pub record: Vec<Taken>,
    /// What is known of the device model: whether it has a device.
    emulated: Vec<(Device, bool)>,
}

impl Standings {
    /// As the two lists are; nobody has asked the device model.
    pub fn read(toolstack: &dyn Toolstack, domid: u32) -> io::Result<Standings> {
        Ok(Standings {
            record: toolstack.record(domid)?,
            listed: toolstack.assigned(domid)?,
            emulated: Vec::new(),
        })
    }

    /// There is nothing of which anything is believed.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.record.is_empty()
    }

    /// What is listed and on record, or listed and not.
    pub fn listed_on_record(&self, is_on_record: bool) -> Vec<Device> {
        let mut listed = self.listed.clone();
        listed.retain(|device| self.removal(device).is_some() == is_on_record);
        listed
    }

    /// What is on record and not listed.
    pub fn unlisted(&self) -> Vec<Device> {
        let record = self.record.iter().map(|t| &t.device);
        let unlisted = record.filter(|device| !is_one_of(device, &self.listed));
        unlisted.cloned().collect()
    }

    /// Puts devices on record that are not, as away.
    pub fn take(&mut self, devices: &[Device]) {
        for device in devices {
            if self.removal(device).is_none() {
                self.record.push(device.clone().into());
            }
        }
    }

    /// The device model does not have `gone`: they go on record, to come back.
    pub fn note_gone(&mut self, gone: &[Device]) {
        self.take(gone);
        self.note_emulated(gone, &[]);
    }

    /// Of `asked` the device model has `there`, and no others.
    pub fn note_emulated(&mut self, asked: &[Device], there: &[Device]) {
        self.emulated
            .retain(|(device, _)| !is_one_of(device, asked));
        let told = |device: &Device| (device.clone(), is_one_of(device, there));
        self.emulated.extend(asked.iter().map(told));
    }

    /// All, with where they are.
    pub fn all(&self) -> impl Iterator<Item = (&Device, Standing)> {
        let taken = self.record.iter().map(|t| &t.device);
        let others = self.listed.iter().filter(|d| self.removal(d).is_none());
        taken.chain(others).filter_map(|device| {
            let is_listed = is_one_of(device, &self.listed);
            let mut known = self.emulated.iter();
            let emulated = known.find(|(d, _)| d.bdf == device.bdf);
            let emulated = emulated.map(|(_, is_there)| *is_there);
            let standing = Standing::of(is_listed, self.removal(device), emulated)?;
            Some((device, standing))
        })
    }

    /// Those that are there.
    pub fn that_are(&self, standing: Standing) -> Vec<Device> {
        let all = self.all().filter(|(_, is)| *is == standing);
        all.map(|(device, _)| device.clone()).collect()
    }

    /// Neither libxl nor the device model has it any more.
    pub fn has_left(&mut self, device: &Device) {
        self.listed.retain(|d| d.bdf != device.bdf);
        self.set_removal(device, Removal::Done);
        self.note_emulated(std::slice::from_ref(device), &[]);
    }

    /// It was attached.
    pub fn has_come(&mut self, device: &Device) {
        if !is_one_of(device, &self.listed) {
            self.listed.push(device.clone());
        }
        self.set_removal(device, Removal::Done);
        self.emulated.retain(|(d, _)| d.bdf != device.bdf);
    }

    /// It is nobody's business any more.
    pub fn forget(&mut self, device: &Device) {
        self.record.retain(|t| t.device.bdf != device.bdf);
    }

    /// How far the removal of a device on record has come.
    pub fn set_removal(&mut self, device: &Device, removal: Removal) {
        let mut record = self.record.iter_mut();
        if let Some(taken) = record.find(|t| t.device.bdf == device.bdf) {
            taken.removal = removal;
        }
    }

    /// The guest uses all that are listed, as `listed` is now: what is left on record may leave yet, or is not there after all. A removal
    /// that `is_under_way` in dom0 is not late yet.
    pub fn settle(&mut self, listed: Vec<Device>, is_under_way: bool) {
        self.record
            .retain(|t| t.may_leave() || !is_one_of(&t.device, &listed));
        for taken in self.record.iter_mut().filter(|t| t.may_leave()) {
            taken.removal = match is_under_way {
                true => Removal::Pending,
                false => Removal::Late,
            };
        }
        self.listed = listed;
    }

    /// Whether the guest was found to use all that are here before, and none is missing.
    pub fn is_settled(&self) -> bool {
        self.record.iter().all(|t| t.removal == Removal::Late)
            && self.all().all(|(_, is)| is != Standing::Away)
    }

    fn removal(&self, device: &Device) -> Option<Removal> {
        let mut record = self.record.iter();
        Some(record.find(|t| t.device.bdf == device.bdf)?.removal)
    }
}

fn is_one_of(device: &Device, devices: &[Device]) -> bool {
    devices.iter().any(|d| d.bdf == device.bdf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Removal::{Done, Late, Pending};
    use Standing::{Assigned, Away, Back, Ghost, Leaving, Released, Stale};

    #[test]
    fn the_table() {
        let (has, has_not, unknown) = (Some(true), Some(false), None);
        for (is_listed, record, emulated, standing) in [
            (true, None, has, Some(Assigned)),
            (true, None, unknown, Some(Assigned)),
            (true, None, has_not, Some(Stale)),
            (true, Some(Done), unknown, Some(Back)),
            (true, Some(Pending), has, Some(Leaving)),
            (true, Some(Late), unknown, Some(Leaving)),
            (true, Some(Done), has_not, Some(Stale)),
            (true, Some(Late), has_not, Some(Stale)),
            (false, Some(Done), has_not, Some(Away)),
            (false, Some(Pending), has_not, Some(Away)),
            (false, Some(Late), unknown, Some(Away)),
            (false, Some(Late), has_not, Some(Released)),
            (false, Some(Pending), has, Some(Ghost)),
            (false, None, has, None),
        ] {
            assert_eq!(Standing::of(is_listed, record, emulated), standing);
        }
    }

    fn standings(listed: &[&Device], record: &[(&Device, Removal)]) -> Standings {
        let taken = |(device, removal): &(&Device, Removal)| Taken {
            device: (*device).clone(),
            removal: *removal,
        };
        Standings {
            listed: listed.iter().copied().cloned().collect(),
            record: record.iter().map(taken).collect(),
            emulated: Vec::new(),
        }
    }

    #[test]
    fn a_device_s_way_out_and_back() {
        let (first, second) = (Device::at("0000:01:00.0"), Device::at("0000:02:00.0"));
        let mut standings = standings(&[&first, &second], &[(&second, Done)]);
        assert_eq!(standings.that_are(Back), standings.listed_on_record(true));
        assert_eq!(standings.that_are(Assigned), std::slice::from_ref(&first));
        standings.set_removal(&second, Pending);
        assert_eq!(standings.that_are(Leaving), std::slice::from_ref(&second));
        // Both have left the guest, and nobody had taken the first.
        standings.note_gone(&[first.clone(), second.clone()]);
        let stale = standings.that_are(Stale);
        assert_eq!(stale.len(), 2);
        stale.iter().for_each(|device| standings.has_left(device));
        let away = standings.that_are(Away);
        assert_eq!(away, [second.clone(), first.clone()], "as recorded");
        assert!(!standings.is_settled());
        away.iter().for_each(|device| standings.has_come(device));
        assert_eq!(standings.that_are(Back), away);
        standings.settle(vec![second], false);
        assert_eq!(
            standings.that_are(Away),
            [first],
            "it is not there after all"
        );
        assert!(!standings.is_settled());
    }

    #[test]
    fn what_may_leave_stays_on_record() {
        let device = Device::at("0000:01:00.0");
        let mut standings = standings(&[&device], &[(&device, Pending)]);
        assert!(
            !standings.is_settled(),
            "nobody has looked whether it is used"
        );
        standings.settle(vec![device.clone()], true);
        assert_eq!(standings.record[0].removal, Pending, "xl is still at it");
        standings.settle(vec![device.clone()], false);
        assert!(standings.is_settled());
        assert_eq!(standings.that_are(Leaving), [device]);
    }

    #[test]
    fn what_libxl_does_not_list_the_device_model_may_have() {
        let (first, second) = (Device::at("0000:01:00.0"), Device::at("0000:02:00.0"));
        let mut standings = standings(&[], &[(&first, Late), (&second, Done)]);
        let unlisted = standings.unlisted();
        standings.note_emulated(&unlisted, std::slice::from_ref(&second));
        assert_eq!(standings.that_are(Released), std::slice::from_ref(&first));
        assert_eq!(standings.that_are(Ghost), std::slice::from_ref(&second));
        standings.forget(&first);
        standings.has_left(&second);
        assert_eq!(standings.that_are(Away), [second]);
        assert_eq!(standings.record.len(), 1);
    }
}
