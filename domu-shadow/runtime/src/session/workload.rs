//! The process' GPU state as the channel's workload.

use super::fetch::fetch_all;
use super::identity::Identity;
use super::send::Sender;
use super::step::{alive_while, failed, step};
use crate::blocked;
use crate::clock::Moment;
use crate::delta::sink::Sink;
use crate::mover::{self, Capture, Detached, PostCopy, Quiesced};
use crate::pci;
use crate::process_exit;
use crate::vendor::foreign;
use channel::bus::Bus;
use channel::guest::{
    BatchSender, Begun, Fetched, Fetcher, Interrupt, KeepAlive, Opened, RoundDone, StepError,
    Stopped, Unloaded, Whole, Workload,
};
use channel::image::{
    BufferEntry, DeviceEntry, MANIFEST_MINOR, MANIFEST_OBJECT, MANIFEST_VERSION, Manifest,
};
use channel::link::{LeftToDriver, Others};
use std::time::{Duration, Instant};

/// Environment variable: `0` has buffers sent whole, and none compared on the device.
const DELTA_ENV: &str = "XL_GPU_DELTA";

/// The program may not have noticed yet: nothing tells it, and its driver only when it is called.
const LOST: &str = "the domain was saved, restored or migrated without xl-gpu while the program had its state on the GPU: \
                    what was there is lost, and the program has to be started anew";

/// Capture and restore by the [`mover`].
pub(super) struct GpuWorkload {
    program: String,
    pid: u32,
    compares: bool,
    /// A stop has sent the manifest, and was taken back: the next one's may be of another size.
    sent_manifest: bool,
}

/// The program at rest, and since when.
pub(super) struct AtRest {
    quiesced: Quiesced,
    since: Moment,
}

/// Without a driver, and since when the program waits.
pub(super) struct Gone {
    detached: Detached,
    since: Moment,
}

impl GpuWorkload {
    pub(super) fn new(identity: &Identity) -> Self {
        GpuWorkload {
            program: identity.program.clone(),
            pid: identity.pid,
            sent_manifest: false,
            compares: std::env::var_os(DELTA_ENV).is_none_or(|value| value != "0"),
        }
    }

    fn manifest(&self, generation: u64, objects: &[(u64, u64)]) -> Result<Vec<u8>, StepError> {
        let device = |(api, name)| DeviceEntry {
            api,
            name,
            vendor: String::new(),
            driver: String::new(),
        };
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            minor: MANIFEST_MINOR,
            program: self.program.clone(),
            pid: self.pid,
            generation,
            devices: mover::devices().into_iter().map(device).collect(),
            buffers: objects
                .iter()
                .map(|(id, bytes)| BufferEntry {
                    id: (*id).into(),
                    bytes: *bytes,
                })
                .collect(),
        };
        manifest.to_bytes().map_err(StepError::failed)
    }

    /// What can be done while the program runs.
    fn prepare(
        &self,
        capture: &mut Capture,
        busy: impl FnMut() -> Result<(), Interrupt>,
    ) -> Result<(), StepError> {
        let work = |go_on: &(dyn Fn() -> bool + Sync)| {
            if self.compares {
                capture.compare();
            }
            capture.prepare(go_on);
        };
        alive_while(work, busy)
    }

    /// The last round and the manifest.
    fn last_round(
        &self,
        quiesced: &mut Quiesced,
        generation: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<Stopped, StepError> {
        let start = Instant::now();
        let round = quiesced.last_round();
        let objects = quiesced.objects();
        let mut sender = Sender::new(out);
        let report = sender.round(quiesced, &round)?;
        sender.object(MANIFEST_OBJECT, &self.manifest(generation, &objects)?)?;
        Ok(Stopped {
            bytes: sender.finish()?,
            buffers: objects.len() as u64,
            drain_ns: 0,
            copy_ns: start.elapsed().as_nanos() as u64,
            compare_ns: report.waited.as_nanos() as u64,
            examined: report.examined_bytes,
        })
    }
}

/// A round while the program runs; with the manifest `dropped` that a stop has sent.
fn one_round(
    capture: &mut Capture,
    dropped: Option<u64>,
    out: &mut BatchSender<'_>,
) -> Result<RoundDone, StepError> {
    let mut round = capture.round();
    round.dropped.extend(dropped);
    let mut sender = Sender::new(out);
    sender.round(capture, &round)?;
    // The program's buffers are held no longer than they must be.
    drop(round);
    let bytes = sender.finish()?;
    let dirty = capture.dirty_bytes(&mut || Sink::alive(&mut sender));
    let dirty = dirty.map_err(failed)?;
    let (whole, why) = capture.whole();
    let left = mover::left_to_driver();
    Ok(RoundDone {
        bytes,
        dirty,
        whole,
        why,
        left: left.bytes,
        pinned: left.pinned,
    })
}

impl Workload for GpuWorkload {
    type Copying = Capture;
    type Quiesced = AtRest;
    type Detached = Gone;
    type PostCopy = PostCopy;

    fn blocked(&self) -> Option<String> {
        mover::blocked()
    }

    fn others(&self) -> Others {
        let found = foreign::other_processes();
        Others {
            holders: found.holders,
            unseen: found.unseen,
        }
    }

    fn left_to_driver(&self) -> LeftToDriver {
        mover::left_to_driver()
    }

    fn bus(&self, rescan: bool) -> Option<Bus> {
        pci::bus(rescan)
    }

    fn moved_unasked(&mut self) {
        if foreign::holds_nodes() {
            blocked::block(LOST);
        }
    }

    fn begin(&mut self, pulse: &mut KeepAlive<'_>) -> Result<(Begun, Capture), StepError> {
        let _step = step()?;
        // Compilers register exit handlers when they are first used.
        process_exit::register();
        let mut capture = mover::begin().map_err(failed)?;
        self.sent_manifest = false;
        // Building kernels would count against the first round's rate.
        self.prepare(&mut capture, || pulse.busy())?;
        process_exit::register();
        let summary = mover::summary();
        Ok((
            Begun {
                buffers: summary.buffers,
                bytes: summary.bytes,
                contexts: summary.left.contexts,
                left: summary.left.bytes,
                pinned: summary.left.pinned,
            },
            capture,
        ))
    }

    fn round(
        &mut self,
        capture: &mut Capture,
        _number: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError> {
        let _step = step()?;
        capture.pin(out.pages());
        self.prepare(capture, || out.busy())?;
        // A round that failed may have lost anything; where dom0 gives the capture up it does not matter.
        let dropped = self.sent_manifest.then_some(MANIFEST_OBJECT);
        let mut round = one_round(capture, dropped, out).inspect_err(|_| capture.start_over())?;
        self.sent_manifest = false;
        if !self.compares {
            round.why = Whole::Off;
        }
        Ok(round)
    }

    fn stop(
        &mut self,
        mut capture: Capture,
        timeout: Duration,
        generation: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<(Stopped, AtRest), (Capture, StepError)> {
        let _step = match step() {
            Ok(step) => step,
            Err(e) => return Err((capture, e)),
        };
        capture.pin(out.pages());
        let fetch = |go_on: &(dyn Fn() -> bool + Sync)| capture.prepare(go_on);
        if let Err(e) = alive_while(fetch, || out.busy()) {
            return Err((capture, e));
        }
        let since = Moment::now();
        let mut quiesced = capture
            .quiesce(timeout)
            .map_err(|(capture, e)| (capture, failed(e)))?;
        // Handlers of the program's own would wait at the gate.
        process_exit::register();
        let drain_ns = since.elapsed_ns();
        match self.last_round(&mut quiesced, generation, out) {
            Ok(stop) => Ok((Stopped { drain_ns, ..stop }, AtRest { quiesced, since })),
            Err(e) => {
                let mut capture = quiesced.reopen();
                capture.start_over();
                Err((capture, e))
            }
        }
    }

    fn unload(&mut self, rest: AtRest) -> Result<(Unloaded, Gone), (AtRest, StepError)> {
        let _step = match step() {
            Ok(step) => step,
            Err(e) => return Err((rest, e)),
        };
        let start = Instant::now();
        let AtRest { quiesced, since } = rest;
        match quiesced.unload() {
            Ok(detached) => {
                let unload_ns = start.elapsed().as_nanos() as u64;
                Ok((
                    Unloaded {
                        unload_ns,
                        libraries: detached.libraries_held().len() as u64,
                        devices: detached.devices_held().len() as u64,
                    },
                    Gone { detached, since },
                ))
            }
            Err((quiesced, e)) => Err((AtRest { quiesced, since }, failed(e))),
        }
    }

    fn give_up(&mut self, capture: Capture) {
        match step() {
            Ok(_step) => drop(capture),
            // What it has of the drivers goes with them.
            Err(_) => std::mem::forget(capture),
        }
    }

    fn reopen(&mut self, rest: AtRest) -> u64 {
        let capture = rest.quiesced.reopen();
        self.give_up(capture);
        rest.since.elapsed_ns()
    }

    fn go_on(&mut self, rest: AtRest) -> (u64, Capture) {
        self.sent_manifest = true;
        let capture = rest.quiesced.reopen();
        (rest.since.elapsed_ns(), capture)
    }

    fn make_room(&mut self, gone: &mut Gone) {
        gone.detached.make_room_for_link();
    }

    fn restore(&mut self, gone: Gone) -> Result<(Opened, PostCopy), (Gone, StepError)> {
        let _step = match step() {
            Ok(step) => step,
            Err(e) => return Err((gone, e)),
        };
        let Gone { detached, since } = gone;
        let start = Instant::now();
        match detached.reload() {
            Ok((arriving, _)) => {
                let opened = Opened {
                    blackout_ns: since.elapsed_ns(),
                    downtime_ns: since.paused_ns(),
                    reload_ns: start.elapsed().as_nanos() as u64,
                };
                Ok((opened, arriving))
            }
            Err((detached, e)) => {
                log::warn!("the program waits, and dom0 tries again: {e}");
                Err((Gone { detached, since }, failed(e)))
            }
        }
    }

    fn post_copy(
        &mut self,
        mut arriving: PostCopy,
        inbox: &mut Fetcher<'_>,
    ) -> Result<Fetched, (PostCopy, StepError)> {
        let _step = match step() {
            Ok(step) => step,
            Err(e) => return Err((arriving, e)),
        };
        match fetch_all(&mut arriving, inbox) {
            Ok(bytes) => {
                arriving.finish();
                Ok(Fetched { bytes })
            }
            Err(e) => {
                arriving.rewind();
                Err((arriving, e))
            }
        }
    }
}
