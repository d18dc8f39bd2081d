//! One pass: compare, gather, read, all three at once.
//!
//! ```text
//! work queue   detect 0 │ detect 1 │ gather w0 │ gather w1 │ detect 2 │ gather w2 …
//! read queues                      │           │ read w0   │ read w1  │ …
//! host                  │ flags 0: lay out w0, w1 │ flags 1: … │ deliver w0 │ …
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::CHUNK_BYTES;
use super::device::{DriverError, Event};
use super::engine::{DeltaError, Engine, Tracked};
use super::kernels::{Compare, GROUP_FLAGS};
use super::plan::{Part, Run, Runs, Segment, segments};
use super::sink::{Place, Sink, SinkError};
use super::window::{Entry, From, Laid, Layout, Put};
use crate::driver::poll::{self, NAP};

/// Bytes of entries that one write carries: drivers take small ones without waiting for the device.
const ENTRIES_PER_WRITE: usize = (64 << 10) / size_of::<Entry>();

/// How a pass runs.
#[derive(Clone, Copy, Debug)]
pub struct PassOptions {
    /// Largest share of the pass' time in which comparing may use the device's memory bandwidth, above 0 up to 1:
    /// where little changes, comparing is all that a pass does. At 1 the next segment is compared ahead.
    pub duty: f64,
}

impl Default for PassOptions {
    fn default() -> Self {
        PassOptions { duty: 1.0 }
    }
}

/// Keeps comparing within its share of a pass' time.
struct Pace {
    begun: Instant,
    compared: Duration,
    duty: f64,
}

impl Pace {
    fn new(options: PassOptions) -> Pace {
        Pace {
            begun: Instant::now(),
            compared: Duration::ZERO,
            duty: options.duty.clamp(0.001, 1.0),
        }
    }

    /// A comparison has just ended.
    fn add(&mut self, detecting: &Detecting) {
        self.compared += detecting.begun.elapsed();
    }

    /// When the next may begin.
    fn next(&self) -> Instant {
        self.begun + self.compared.div_f64(self.duty)
    }
}

/// What a pass found, and took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PassReport {
    /// Bytes of the candidates.
    pub examined_bytes: u64,
    /// Bytes sent as data.
    pub data_bytes: u64,
    /// Bytes sent as zero extents.
    pub zero_bytes: u64,
    pub extents: u64,
    pub pieces: u64,
    /// Staging windows used.
    pub windows: u64,
    pub elapsed: Duration,
    /// Time the host waited for comparisons alone.
    pub waited: Duration,
    /// The device's own times, summed, in nanoseconds; 0 without [`super::Config::profiling`].
    pub detect_ns: u64,
    pub gather_ns: u64,
    pub read_ns: u64,
}

/// Changed bytes, as [`Engine::estimate`] found them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// Bytes in changed chunks that are not all zero.
    pub data_bytes: u64,
    /// Bytes in changed chunks that are all zero.
    pub zero_bytes: u64,
}

impl Engine {
    /// Sends what changed in the candidates (each named once) since it was last sent, everything of a buffer on its
    /// first pass.
    ///
    /// Commands of other queues may write to the buffers meanwhile: each chunk's bytes are sent as they were at some
    /// moment of the pass (a chunk written just then may be torn), and the next pass sends what they become.
    /// When nothing writes during the pass, its result is exact.
    ///
    /// # Errors
    /// When the driver or the sink fails. Then all candidates count as never sent, since what was delivered is not
    /// known; no place is written to any more.
    pub fn pass(
        &mut self,
        candidates: &[u64],
        options: PassOptions,
        sink: &mut dyn Sink,
    ) -> Result<PassReport, DeltaError> {
        let result = Pass::new(self, candidates, sink).and_then(|pass| pass.run(options));
        if result.is_err() {
            // Reads into the sink's places must have ended before it may forget them.
            for queue in self.reads.iter().chain([&self.work, &self.control]) {
                if let Err(error) = queue.finish() {
                    log::warn!("after a failed pass: {error}");
                }
            }
        }
        let result = result.and_then(|report| Ok(self.kernels.park().map(|()| report)?));
        for id in candidates {
            if let Some(tracked) = self.tracked.get_mut(id) {
                tracked.fresh = result.is_err();
            }
        }
        result
    }

    /// Compares only: how much a pass would send. The tables stay as they are. `alive` is called now and then.
    ///
    /// # Errors
    /// When the driver or `alive` fails, or a candidate is not tracked.
    pub fn estimate(
        &mut self,
        candidates: &[u64],
        options: PassOptions,
        alive: &mut dyn FnMut() -> Result<(), SinkError>,
    ) -> Result<Estimate, DeltaError> {
        let result = self.look(candidates, options, alive);
        result.and_then(|estimate| Ok(self.kernels.park().map(|()| estimate)?))
    }

    fn look(
        &self,
        candidates: &[u64],
        options: PassOptions,
        alive: &mut dyn FnMut() -> Result<(), SinkError>,
    ) -> Result<Estimate, DeltaError> {
        let all = self.candidates(candidates)?;
        // A fresh buffer's table has no meaning yet: all of it will be sent.
        let (fresh, buffers): (Vec<_>, Vec<_>) = all.into_iter().partition(|tracked| tracked.fresh);
        let mut flags = vec![0; self.config.segment_groups() as usize * GROUP_FLAGS];
        let mut estimate = Estimate::default();
        let mut pace = Pace::new(options);
        let chunks = buffers.iter().map(|tracked| tracked.chunks);
        for segment in &segments(chunks, self.config.segment_groups()) {
            alive()?;
            let detecting = Detecting::start(self, &buffers, segment, 0, true)?;
            detecting.read(self, segment, &mut flags, &mut *alive)?;
            pace.add(&detecting);
            for part in &segment.parts {
                let size = buffers[part.buffer].size;
                for run in Runs::new(part.flags(&flags), part.first, part.end) {
                    let bytes = run_bytes(run, size);
                    if run.zero {
                        estimate.zero_bytes += bytes;
                    } else {
                        estimate.data_bytes += bytes;
                    }
                }
            }
            std::thread::sleep(pace.next().saturating_duration_since(Instant::now()));
        }
        estimate.data_bytes += fresh.iter().map(|tracked| tracked.size).sum::<u64>();
        Ok(estimate)
    }

    fn candidates(&self, ids: &[u64]) -> Result<Vec<&Tracked>, DeltaError> {
        ids.iter()
            .map(|id| self.tracked.get(id).ok_or(DeltaError::NotTracked(*id)))
            .collect()
    }
}

fn run_bytes(run: Run, size: u64) -> u64 {
    let start = u64::from(run.first) * CHUNK_BYTES as u64;
    (u64::from(run.count) * CHUNK_BYTES as u64).min(size - start)
}

/// A comparison under way.
struct Detecting {
    begun: Instant,
    /// One for each launch.
    events: Vec<Event>,
    /// Which flags memory.
    flags: usize,
}

impl Detecting {
    fn start(
        engine: &Engine,
        buffers: &[&Tracked],
        segment: &Segment,
        flags: usize,
        dry: bool,
    ) -> Result<Detecting, DriverError> {
        let begun = Instant::now();
        let launch = |part: &Part| {
            let tracked = buffers[part.buffer];
            let compare = match (dry, tracked.fresh) {
                (true, _) => Compare::Only,
                (false, true) => Compare::Fresh,
                (false, false) => Compare::AndSend,
            };
            engine.kernels.detect(
                &engine.work,
                tracked.source(),
                part.first,
                part.end,
                &engine.flags[flags],
                part.flags_at,
                compare,
                0,
            )
        };
        let events = segment.parts.iter().map(launch).collect::<Result<_, _>>()?;
        engine.work.flush()?;
        Ok(Detecting {
            begun,
            events,
            flags,
        })
    }

    fn last(&self) -> Option<&Event> {
        self.events.last()
    }

    /// Waits, and reads the segment's flags.
    fn read(
        &self,
        engine: &Engine,
        segment: &Segment,
        flags: &mut [u8],
        mut alive: impl FnMut() -> Result<(), SinkError>,
    ) -> Result<(), DeltaError> {
        let bytes = &mut flags[..segment.groups as usize * GROUP_FLAGS];
        let read = engine
            .control
            .read(&engine.flags[self.flags], bytes, self.last())?;
        read.wait(|| Ok(alive()?))
    }
}

/// A window on its way to the sink.
struct InFlight {
    window: usize,
    pieces: Vec<Laid>,
    gathers: Vec<Event>,
    reads: Vec<Event>,
}

struct Pass<'a> {
    engine: &'a Engine,
    buffers: Vec<&'a Tracked>,
    sink: &'a mut dyn Sink,
    layout: Option<(usize, Layout)>,
    free: Vec<usize>,
    in_flight: VecDeque<InFlight>,
    report: PassReport,
}

impl<'a> Pass<'a> {
    fn new(
        engine: &'a Engine,
        candidates: &[u64],
        sink: &'a mut dyn Sink,
    ) -> Result<Pass<'a>, DeltaError> {
        let buffers = engine.candidates(candidates)?;
        Ok(Pass {
            report: PassReport {
                examined_bytes: buffers.iter().map(|tracked| tracked.size).sum(),
                ..PassReport::default()
            },
            engine,
            buffers,
            sink,
            layout: None,
            free: (0..engine.windows.len()).rev().collect(),
            in_flight: VecDeque::new(),
        })
    }

    fn run(mut self, options: PassOptions) -> Result<PassReport, DeltaError> {
        let mut pace = Pace::new(options);
        let chunks = self.buffers.iter().map(|tracked| tracked.chunks);
        let segments = segments(chunks, self.engine.config.segment_groups());
        let mut flags = vec![0; self.engine.config.segment_groups() as usize * GROUP_FLAGS];
        let mut ahead: Option<Detecting> = None;
        for (i, segment) in segments.iter().enumerate() {
            self.sink.alive()?;
            let detecting = match ahead.take() {
                Some(detecting) => detecting,
                None => {
                    self.deliver_until(pace.next())?;
                    self.detect(segment, i % 2)?
                }
            };
            if options.duty >= 1.0
                && let Some(next) = segments.get(i + 1)
            {
                ahead = Some(self.detect(next, (i + 1) % 2)?);
            }
            self.await_flags(&detecting, segment, &mut flags)?;
            pace.add(&detecting);
            for part in &segment.parts {
                for run in Runs::new(part.flags(&flags), part.first, part.end) {
                    self.put(part.buffer, run)?;
                }
            }
        }
        self.submit()?;
        while !self.in_flight.is_empty() {
            self.complete_oldest()?;
        }
        self.report.elapsed = pace.begun.elapsed();
        Ok(self.report)
    }

    fn detect(&self, segment: &Segment, flags: usize) -> Result<Detecting, DriverError> {
        Detecting::start(self.engine, &self.buffers, segment, flags, false)
    }

    /// Waits for a comparison and reads its flags; windows that arrive meanwhile are delivered.
    fn await_flags(
        &mut self,
        detecting: &Detecting,
        segment: &Segment,
        flags: &mut [u8],
    ) -> Result<(), DeltaError> {
        while let Some(last) = detecting.last()
            && !last.is_complete()?
        {
            if !self.deliver_arrived()? {
                self.sink.alive()?;
                std::thread::sleep(NAP);
            }
        }
        let waiting = Instant::now();
        detecting.read(self.engine, segment, flags, || self.sink.alive())?;
        self.report.waited += waiting.elapsed();
        if self.engine.config.profiling {
            self.report.detect_ns += detecting.events.iter().map(Event::device_ns).sum::<u64>();
        }
        Ok(())
    }

    fn put(&mut self, buffer: usize, mut run: Run) -> Result<(), DeltaError> {
        let tracked = self.buffers[buffer];
        let bytes = run_bytes(run, tracked.size);
        if run.zero {
            self.report.zero_bytes += bytes;
        } else {
            self.report.data_bytes += bytes;
        }
        let from = From {
            index: buffer,
            id: tracked.id,
            size: tracked.size,
        };
        loop {
            match self.layout()?.put(from, &mut run) {
                Put::Done => return Ok(()),
                Put::NeedsPlace => {
                    let place = self.next_place()?;
                    self.layout()?.open(place);
                }
                Put::Full => self.submit()?,
            }
        }
    }

    /// The window being laid out.
    fn layout(&mut self) -> Result<&mut Layout, DeltaError> {
        if self.layout.is_none() {
            while self.free.is_empty() {
                self.complete_oldest()?;
            }
            let window = self.free.pop().unwrap_or(0);
            self.layout = Some((window, Layout::new(self.engine.config.limits())));
        }
        let (_, layout) = self.layout.as_mut().expect("made above");
        Ok(layout)
    }

    /// A place for the next piece. When the sink has none, what is laid out goes on its way, and what arrives is
    /// delivered, so that places come back.
    fn next_place(&mut self) -> Result<Place, DeltaError> {
        let place = loop {
            if let Some(place) = self.sink.place(false)? {
                break place;
            }
            self.submit()?;
            if !self.in_flight.is_empty() {
                self.complete_oldest()?;
                continue;
            }
            break self.sink.place(true)?.ok_or(DeltaError::NoPlace)?;
        };
        if place.capacity < CHUNK_BYTES || place.max_extents == 0 {
            return Err(DeltaError::SmallPlace {
                token: place.token,
                capacity: place.capacity,
                max_extents: place.max_extents,
            });
        }
        Ok(place)
    }

    /// Starts gathering and reading the window that is laid out, if one is.
    fn submit(&mut self) -> Result<(), DeltaError> {
        let Some((window, layout)) = self.layout.take() else {
            return Ok(());
        };
        let mut flight = InFlight {
            window,
            pieces: layout.pieces,
            gathers: Vec::new(),
            reads: Vec::new(),
        };
        let engine = self.engine;
        let staging = &engine.windows[window];
        for (n, entries) in layout.entries.chunks(ENTRIES_PER_WRITE).enumerate() {
            let at = n * ENTRIES_PER_WRITE * size_of::<Entry>();
            let written = engine.control.write(&staging.entries, at, entries)?;
            written.wait(|| Ok::<_, DeltaError>(self.sink.alive()?))?;
        }
        for launch in &layout.launches {
            let source = self.buffers[launch.buffer].source();
            let range = (launch.first, launch.end);
            let (entries, bytes) = (&staging.entries, &staging.bytes);
            let gather = engine
                .kernels
                .gather(&engine.work, source, entries, range, bytes, 0)?;
            flight.gathers.push(gather);
        }
        if let Some(gathered) = flight.gathers.last() {
            engine.work.flush()?;
            let turn = self.report.windows as usize % engine.reads.len();
            let queue = &engine.reads[turn];
            for piece in flight.pieces.iter().filter(|piece| piece.used > 0) {
                let (at, used, target) = (piece.at, piece.used, piece.place.memory);
                // SAFETY: by `Place::new`'s contract the memory stays valid until this window is delivered or the
                // pass has returned, which it does only when the queue is idle.
                let read = unsafe { queue.start_read(&staging.bytes, at, used, target, gathered) }?;
                flight.reads.push(read);
            }
            queue.flush()?;
            self.report.windows += 1;
        }
        self.in_flight.push_back(flight);
        self.deliver_arrived()?;
        Ok(())
    }

    /// Delivers windows until `moment`.
    fn deliver_until(&mut self, moment: Instant) -> Result<(), DeltaError> {
        if Instant::now() < moment {
            self.submit()?;
        }
        while Instant::now() < moment {
            if !self.deliver_arrived()? {
                self.sink.alive()?;
                let rest = moment.saturating_duration_since(Instant::now());
                std::thread::sleep(rest.min(NAP.max(rest / 8)));
            }
        }
        Ok(())
    }

    /// Delivers the oldest windows as far as they have arrived; whether there was one.
    fn deliver_arrived(&mut self) -> Result<bool, DeltaError> {
        let mut any = false;
        while let Some(oldest) = self.in_flight.front() {
            if let Some(last) = oldest.reads.last()
                && !last.is_complete()?
            {
                break;
            }
            self.complete_oldest()?;
            any = true;
        }
        Ok(any)
    }

    /// Waits for the oldest window and delivers its pieces.
    fn complete_oldest(&mut self) -> Result<(), DeltaError> {
        let Some(oldest) = self.in_flight.pop_front() else {
            return Ok(());
        };
        // The queue is in order: the last read ends last.
        if let Some(last) = oldest.reads.last() {
            let sink = &mut self.sink;
            poll::until(
                || Ok::<_, DeltaError>(last.is_complete()?),
                || Ok(sink.alive()?),
            )?;
        }
        if self.engine.config.profiling {
            self.report.gather_ns += oldest.gathers.iter().map(Event::device_ns).sum::<u64>();
            self.report.read_ns += oldest.reads.iter().map(Event::device_ns).sum::<u64>();
        }
        self.free.push(oldest.window);
        for laid in oldest.pieces {
            let piece = laid.into_piece();
            self.report.pieces += 1;
            self.report.extents += piece.extents.len() as u64;
            self.sink.deliver(piece)?;
        }
        Ok(())
    }
}
