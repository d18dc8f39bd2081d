//! A workload of byte vectors that knows what is dirty, and can be told to fail anywhere.

use super::Objects;
use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use xl_gpu_channel::bus::Bus;
use xl_gpu_channel::guest::{
    BatchSender, Begun, Fetched, Fetcher, KeepAlive, Opened, RoundDone, StepError, Stopped,
    Unloaded, Workload,
};
use xl_gpu_channel::image::{Digest, Extent};

/// What the test sees of the program.
#[derive(Default)]
pub struct Program {
    /// `None` while the driver is gone.
    pub objects: Option<Objects>,
    /// The gate is closed.
    pub held: bool,
    /// It has woken up elsewhere, and nobody had asked.
    pub moved: bool,
    /// Steps that failed on purpose.
    pub failures: usize,
}

pub type Shared = Arc<Mutex<Program>>;

/// Runs in the middle of a stop, gate closed.
pub type Drain = Box<dyn FnMut(Duration) + Send>;

pub struct Memory {
    pub program: Shared,
    /// One in so many steps fails somewhere; 0: none.
    pub fail_one_in: usize,
    pub rng: Rng,
    pub drain: Option<Drain>,
}

impl Memory {
    pub fn new(objects: Objects) -> (Memory, Shared) {
        let program = Arc::new(Mutex::new(Program {
            objects: Some(objects),
            ..Program::default()
        }));
        let memory = Memory {
            program: program.clone(),
            fail_one_in: 0,
            rng: Rng::new(0),
            drain: None,
        };
        (memory, program)
    }

    fn fails(&mut self) -> Result<(), StepError> {
        if self.fail_one_in > 0 && self.rng.one_in(self.fail_one_in) {
            self.program.lock().unwrap().failures += 1;
            let long = if self.rng.one_in(3) { 10_000 } else { 0 };
            return Err(StepError::failed(format!("on purpose{}", "é".repeat(long))));
        }
        Ok(())
    }

    /// Sends what is dirty; what has been sent is clean.
    fn send(
        &mut self,
        dirty: &mut BTreeSet<u64>,
        out: &mut BatchSender<'_>,
    ) -> Result<u64, StepError> {
        let mut sent = 0;
        while let Some(&object) = dirty.first() {
            let bytes = self
                .program
                .lock()
                .unwrap()
                .objects
                .as_ref()
                .expect("attached")[&object]
                .clone();
            let size = bytes.len() as u64;
            let mut offset = 0;
            while offset < bytes.len() {
                let slot = out.slot()?;
                // A slot in hand: it must not be lost by the failure.
                self.fails()?;
                let mut plan = out.plan();
                let len = (bytes.len() - offset).min(plan.room());
                let run = Extent::data(
                    object,
                    size,
                    offset as u64,
                    len as u32,
                    Digest::of(&bytes[offset..offset + len]),
                );
                plan.push(run).expect("room for one");
                let area = out.payload(&slot).slice(0, len).unwrap();
                area.write(&bytes[offset..offset + len]);
                out.send(slot, &plan)?;
                offset += len;
                sent += len as u64;
            }
            dirty.remove(&object);
        }
        Ok(sent)
    }

    fn fetch(
        &mut self,
        arriving: &mut Arriving,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<u64, StepError> {
        let mut bytes = 0;
        let mut wanted: Vec<(u64, usize, usize)> = Vec::new();
        for (id, missing) in &arriving.missing {
            let step = fetcher.payload_size();
            wanted.extend(
                missing
                    .clone()
                    .step_by(step)
                    .map(|at| (*id, at, step.min(missing.end - at))),
            );
        }
        while !wanted.is_empty() || fetcher.pending() > 0 {
            if let Some(&(object, at, len)) = wanted.last()
                && fetcher.fetch(object, at as u64, len)?
            {
                wanted.pop();
                self.fails()?;
                continue;
            }
            let filled = fetcher.wait()?;
            self.fails()?;
            let at = filled.offset as usize;
            let to = &mut arriving.objects.get_mut(&filled.object).unwrap()[at..at + filled.len];
            match filled.zero {
                true => to.fill(0),
                false => fetcher.payload(&filled).read(to),
            }
            // From the end on: what has arrived is not fetched again after a failure.
            if let Some(missing) = arriving.missing.get_mut(&filled.object)
                && missing.end == at + filled.len
            {
                missing.end = at;
            }
            bytes += filled.len as u64;
            fetcher.done(filled);
        }
        Ok(bytes)
    }
}

/// The program runs, its objects arrive.
pub struct Arriving {
    objects: Objects,
    missing: BTreeMap<u64, std::ops::Range<usize>>,
}

impl Workload for Memory {
    type Copying = BTreeSet<u64>;
    type Quiesced = BTreeSet<u64>;
    /// Objects of the right size and no content.
    type Detached = Objects;
    type PostCopy = Arriving;

    fn blocked(&self) -> Option<String> {
        None
    }

    fn bus(&self, rescan: bool) -> Option<Bus> {
        Some(Bus {
            may_rescan: rescan,
            ..Bus::default()
        })
    }

    fn moved_unasked(&mut self) {
        self.program.lock().unwrap().moved = true;
    }

    fn begin(&mut self, _: &mut KeepAlive<'_>) -> Result<(Begun, Self::Copying), StepError> {
        self.fails()?;
        let program = self.program.lock().unwrap();
        let objects = program.objects.as_ref().expect("attached");
        let begun = Begun {
            buffers: objects.len() as u64,
            bytes: objects.values().map(|b| b.len() as u64).sum(),
            ..Begun::default()
        };
        Ok((begun, objects.keys().copied().collect()))
    }

    fn round(
        &mut self,
        dirty: &mut Self::Copying,
        _: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError> {
        out.busy()?;
        let bytes = self.send(dirty, out)?;
        // The program writes meanwhile.
        let mut program = self.program.lock().unwrap();
        let objects = program.objects.as_mut().expect("attached");
        if let Some((id, object)) = objects.iter_mut().nth(self.rng.below(8)) {
            let at = self.rng.below(object.len());
            object[at] ^= 0xa5;
            dirty.insert(*id);
        }
        Ok(RoundDone {
            bytes,
            dirty: 1,
            ..RoundDone::default()
        })
    }

    fn stop(
        &mut self,
        mut dirty: Self::Copying,
        timeout: Duration,
        _: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<(Stopped, Self::Quiesced), (Self::Copying, StepError)> {
        self.program.lock().unwrap().held = true;
        if let Some(drain) = &mut self.drain {
            drain(timeout);
        }
        match self.send(&mut dirty, out) {
            Ok(bytes) => Ok((
                Stopped {
                    bytes,
                    ..Stopped::default()
                },
                dirty,
            )),
            Err(e) => {
                self.program.lock().unwrap().held = false;
                Err((dirty, e))
            }
        }
    }

    fn unload(
        &mut self,
        quiesced: Self::Quiesced,
    ) -> Result<(Unloaded, Self::Detached), (Self::Quiesced, StepError)> {
        if let Err(e) = self.fails() {
            return Err((quiesced, e));
        }
        let mut objects = self
            .program
            .lock()
            .unwrap()
            .objects
            .take()
            .expect("attached");
        for bytes in objects.values_mut() {
            bytes.fill(0);
        }
        Ok((Unloaded::default(), objects))
    }

    fn give_up(&mut self, _: Self::Copying) {}

    fn reopen(&mut self, _: Self::Quiesced) -> u64 {
        self.program.lock().unwrap().held = false;
        7
    }

    fn go_on(&mut self, quiesced: Self::Quiesced) -> (u64, Self::Copying) {
        (self.reopen(BTreeSet::new()), quiesced)
    }

    fn restore(
        &mut self,
        detached: Self::Detached,
    ) -> Result<(Opened, Self::PostCopy), (Self::Detached, StepError)> {
        if let Err(e) = self.fails() {
            return Err((detached, e));
        }
        self.program.lock().unwrap().held = false;
        let missing = detached
            .iter()
            .map(|(id, object)| (*id, 0..object.len()))
            .collect();
        let opened = Opened {
            blackout_ns: 7,
            ..Opened::default()
        };
        let objects = detached;
        Ok((opened, Arriving { objects, missing }))
    }

    fn post_copy(
        &mut self,
        mut arriving: Self::PostCopy,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<Fetched, (Self::PostCopy, StepError)> {
        match self.fetch(&mut arriving, fetcher) {
            Ok(bytes) => {
                self.program.lock().unwrap().objects = Some(arriving.objects);
                Ok(Fetched { bytes })
            }
            Err(e) => Err((arriving, e)),
        }
    }
}

pub fn some_objects(scale: usize) -> Objects {
    (1..6u64)
        .map(|i| {
            let len = i as usize * i as usize * scale + 1;
            (i, (0..len).map(|n| (n * i as usize % 251) as u8).collect())
        })
        .collect()
}
