//! How much a pass would send.

use std::time::Instant;

use channel::guest::StepError;

use super::detecting::Detecting;
use super::device::Device;
use super::engine::{DeltaError, Engine};
use super::plan::{Runs, segments};
use super::report::Estimate;
use super::throttle::{PassOptions, Throttle};

impl<D: Device> Engine<D> {
    /// Compares only: how much a pass would send. The tables stay as they are. `alive` is called now and then.
    ///
    /// # Errors
    /// When the driver or `alive` fails, or a candidate is not tracked.
    pub fn estimate(
        &mut self,
        candidates: &[u64],
        options: PassOptions,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<Estimate, DeltaError> {
        let result = self.look(candidates, options, alive);
        if result.is_err() {
            // A comparison may be under way, of memory and tables that the caller now lets go of.
            self.device.finish();
        }
        result.and_then(|estimate| Ok(self.device.park().map(|()| estimate)?))
    }

    fn look(
        &self,
        candidates: &[u64],
        options: PassOptions,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<Estimate, DeltaError> {
        let all = self.candidates(candidates)?;
        // A fresh buffer's table has no meaning yet: all of it will be sent.
        let (fresh, buffers): (Vec<_>, Vec<_>) = all.into_iter().partition(|tracked| tracked.fresh);
        let mut flags = vec![0; self.config.flag_bytes()];
        let mut estimate = Estimate::default();
        let mut throttle = Throttle::new(options);
        let chunks = buffers.iter().map(|tracked| tracked.chunks);
        for segment in &segments(chunks, self.config.segment_groups()) {
            alive()?;
            let detecting = Detecting::start(self, &buffers, segment, 0, true)?;
            detecting.read(self, segment, &mut flags, &mut *alive)?;
            throttle.add(detecting.begun);
            for part in &segment.parts {
                let size = buffers[part.buffer].size;
                for run in Runs::new(part.flags(&flags), part.first, part.end) {
                    let bytes = run.bytes(size);
                    if run.zero {
                        estimate.zero_bytes += bytes;
                    } else {
                        estimate.data_bytes += bytes;
                    }
                }
            }
            std::thread::sleep(throttle.next().saturating_duration_since(Instant::now()));
        }
        estimate.data_bytes += fresh.iter().map(|tracked| tracked.size).sum::<u64>();
        Ok(estimate)
    }
}
