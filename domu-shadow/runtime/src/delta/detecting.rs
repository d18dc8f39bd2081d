//! A comparison under way.

use std::time::Instant;

use channel::guest::StepError;

use super::chunk::GROUP_FLAGS;
use super::device::{Compare, Detect, Device, DriverError, Event};
use super::engine::{DeltaError, Engine, TrackedOn};
use super::plan::{Part, Segment};

/// A comparison under way.
pub(super) struct Detecting<E> {
    pub(super) begun: Instant,
    /// One for each launch.
    pub(super) events: Vec<E>,
    /// Which flags memory.
    flags: usize,
}

impl<E: Event> Detecting<E> {
    pub(super) fn start<D: Device<Event = E>>(
        engine: &Engine<D>,
        buffers: &[&TrackedOn<D>],
        segment: &Segment,
        flags: usize,
        dry: bool,
    ) -> Result<Self, DriverError> {
        let begun = Instant::now();
        let launch = |part: &Part| {
            let tracked = buffers[part.buffer];
            let detect = Detect {
                first: part.first,
                end: part.end,
                flags,
                flags_at: part.flags_at,
                compare: match (dry, tracked.fresh) {
                    (true, _) => Compare::Only,
                    (false, true) => Compare::Fresh,
                    (false, false) => Compare::AndSend,
                },
            };
            engine.device.detect(&tracked.watched, tracked.size, detect)
        };
        let events = segment.parts.iter().map(launch).collect::<Result<_, _>>()?;
        engine.device.flush()?;
        Ok(Detecting {
            begun,
            events,
            flags,
        })
    }

    pub(super) fn last(&self) -> Option<&E> {
        self.events.last()
    }

    /// Waits, and reads the segment's flags.
    pub(super) fn read<D: Device<Event = E>>(
        &self,
        engine: &Engine<D>,
        segment: &Segment,
        flags: &mut [u8],
        mut alive: impl FnMut() -> Result<(), StepError>,
    ) -> Result<(), DeltaError> {
        let bytes = &mut flags[..segment.groups as usize * GROUP_FLAGS];
        let read = engine.device.read_flags(self.flags, bytes, self.last())?;
        read.wait(|| Ok(alive()?))
    }
}
