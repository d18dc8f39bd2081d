//! One pass: compare, gather, read, all three at once.
//!
//! ```text
//! work queue   detect 0 │ detect 1 │ gather w0 │ gather w1 │ detect 2 │ gather w2 …
//! read queues                      │           │ read w0   │ read w1  │ …
//! host                  │ flags 0: lay out w0, w1 │ flags 1: … │ deliver w0 │ …
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::chunk::{CHUNK_BYTES, GROUP_FLAGS};
use super::device::{Compare, Detect, Device, DriverError, Event, Gather};
use super::engine::{DeltaError, Engine, Tracked};
use super::plan::{Part, Run, Runs, Segment, segments};
use super::sink::{Place, Sink};
use super::window::{Entry, Laid, Layout, Origin, Put};
use crate::poll::{self, NAP};
use channel::guest::StepError;

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
struct Throttle {
    begun: Instant,
    compared: Duration,
    duty: f64,
}

impl Throttle {
    fn new(options: PassOptions) -> Throttle {
        Throttle {
            begun: Instant::now(),
            compared: Duration::ZERO,
            duty: options.duty.clamp(0.001, 1.0),
        }
    }

    /// A comparison has just ended.
    fn add<E>(&mut self, detecting: &Detecting<E>) {
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
    /// The device's own times, summed, in nanoseconds; 0 without [`super::config::Config::profiling`].
    pub detect_ns: u64,
    pub gather_ns: u64,
    pub read_ns: u64,
}

impl PassReport {
    /// Adds what another pass found and took.
    pub fn add(&mut self, other: PassReport) {
        self.examined_bytes += other.examined_bytes;
        self.data_bytes += other.data_bytes;
        self.zero_bytes += other.zero_bytes;
        self.extents += other.extents;
        self.pieces += other.pieces;
        self.windows += other.windows;
        self.elapsed += other.elapsed;
        self.waited += other.waited;
        self.detect_ns += other.detect_ns;
        self.gather_ns += other.gather_ns;
        self.read_ns += other.read_ns;
    }
}

/// Changed bytes, as [`Engine::estimate`] found them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Estimate {
    /// Bytes in changed chunks that are not all zero.
    pub data_bytes: u64,
    /// Bytes in changed chunks that are all zero.
    pub zero_bytes: u64,
}

impl<D: Device> Engine<D> {
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
            self.device.finish();
        }
        let result = result.and_then(|report| Ok(self.device.park().map(|()| report)?));
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
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<Estimate, DeltaError> {
        let result = self.look(candidates, options, alive);
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
            throttle.add(&detecting);
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
            std::thread::sleep(throttle.next().saturating_duration_since(Instant::now()));
        }
        estimate.data_bytes += fresh.iter().map(|tracked| tracked.size).sum::<u64>();
        Ok(estimate)
    }

    fn candidates(&self, ids: &[u64]) -> Result<Vec<&TrackedOn<D>>, DeltaError> {
        ids.iter()
            .map(|id| self.tracked.get(id).ok_or(DeltaError::NotTracked(*id)))
            .collect()
    }
}

fn run_bytes(run: Run, size: u64) -> u64 {
    let start = u64::from(run.first) * CHUNK_BYTES as u64;
    (u64::from(run.count) * CHUNK_BYTES as u64).min(size - start)
}

type TrackedOn<D> = Tracked<<D as Device>::Watched>;

/// A comparison under way.
struct Detecting<E> {
    begun: Instant,
    /// One for each launch.
    events: Vec<E>,
    /// Which flags memory.
    flags: usize,
}

impl<E: Event> Detecting<E> {
    fn start<D: Device<Event = E>>(
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

    fn last(&self) -> Option<&E> {
        self.events.last()
    }

    /// Waits, and reads the segment's flags.
    fn read<D: Device<Event = E>>(
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

/// A window on its way to the sink.
struct InFlight<E> {
    window: usize,
    pieces: Vec<Laid>,
    gathers: Vec<E>,
    reads: Vec<E>,
}

struct Pass<'a, D: Device> {
    engine: &'a Engine<D>,
    buffers: Vec<&'a TrackedOn<D>>,
    sink: &'a mut dyn Sink,
    layout: Option<(usize, Layout)>,
    free: Vec<usize>,
    in_flight: VecDeque<InFlight<D::Event>>,
    report: PassReport,
}

impl<'a, D: Device> Pass<'a, D> {
    fn new(
        engine: &'a Engine<D>,
        candidates: &[u64],
        sink: &'a mut dyn Sink,
    ) -> Result<Self, DeltaError> {
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
            free: (0..engine.config.windows).rev().collect(),
            in_flight: VecDeque::new(),
        })
    }

    fn run(mut self, options: PassOptions) -> Result<PassReport, DeltaError> {
        let mut throttle = Throttle::new(options);
        let chunks = self.buffers.iter().map(|tracked| tracked.chunks);
        let segments = segments(chunks, self.engine.config.segment_groups());
        let mut flags = vec![0; self.engine.config.flag_bytes()];
        let mut ahead: Option<Detecting<D::Event>> = None;
        for (i, segment) in segments.iter().enumerate() {
            self.sink.alive()?;
            let detecting = match ahead.take() {
                Some(detecting) => detecting,
                None => {
                    self.deliver_until(throttle.next())?;
                    self.detect(segment, i % 2)?
                }
            };
            if options.duty >= 1.0
                && let Some(next) = segments.get(i + 1)
            {
                ahead = Some(self.detect(next, (i + 1) % 2)?);
            }
            self.await_flags(&detecting, segment, &mut flags)?;
            throttle.add(&detecting);
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
        self.report.elapsed = throttle.begun.elapsed();
        Ok(self.report)
    }

    fn detect(&self, segment: &Segment, flags: usize) -> Result<Detecting<D::Event>, DriverError> {
        Detecting::start(self.engine, &self.buffers, segment, flags, false)
    }

    /// Waits for a comparison and reads its flags; windows that arrive meanwhile are delivered.
    fn await_flags(
        &mut self,
        detecting: &Detecting<D::Event>,
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
        let from = Origin {
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
        let device = &self.engine.device;
        for (n, entries) in layout.entries.chunks(ENTRIES_PER_WRITE).enumerate() {
            let at = n * ENTRIES_PER_WRITE * size_of::<Entry>();
            let written = device.write_entries(window, at, entries)?;
            written.wait(|| Ok::<_, DeltaError>(self.sink.alive()?))?;
        }
        for launch in &layout.launches {
            let tracked = self.buffers[launch.buffer];
            let gather = Gather {
                window,
                first: launch.first,
                end: launch.end,
            };
            let gather = device.gather(&tracked.watched, tracked.size, gather)?;
            flight.gathers.push(gather);
        }
        if let Some(gathered) = flight.gathers.last() {
            device.flush()?;
            let queue = self.report.windows as usize % device.read_queues();
            for piece in flight.pieces.iter().filter(|piece| piece.used > 0) {
                let (bytes, target) = ((piece.at, piece.used), piece.place.memory);
                // SAFETY: by `Place::new`'s contract the memory stays valid until this window is delivered or the
                // pass has returned, which it does only when the queue is idle.
                let read = unsafe { device.read_window(queue, window, bytes, target, gathered) }?;
                flight.reads.push(read);
            }
            device.flush_reads(queue)?;
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
            let piece = laid.into_filled();
            self.report.pieces += 1;
            self.report.extents += piece.extents.len() as u64;
            self.sink.deliver(piece)?;
        }
        Ok(())
    }
}
