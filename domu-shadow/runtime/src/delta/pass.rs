//! One pass: compare, gather, read, all three at once.
//!
//! ```text
//! work queue   detect 0 │ detect 1 │ gather w0 │ gather w1 │ detect 2 │ gather w2 …
//! read queues                      │           │ read w0   │ read w1  │ …
//! host                  │ flags 0: lay out w0, w1 │ flags 1: … │ deliver w0 │ …
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::chunk::CHUNK_BYTES;
use super::detecting::Detecting;
use super::device::{Device, DriverError, Event, Gather};
use super::engine::{DeltaError, Engine, TrackedOn};
use super::plan::{Run, Runs, Segment, segments};
use super::report::PassReport;
use super::sink::{Place, Sink};
use super::throttle::{PassOptions, Throttle};
use super::window::{Entry, Laid, Layout, Origin, Put};
use crate::poll::{self, NAP};

/// Bytes of entries that one write carries: drivers take small ones without waiting for the device.
const ENTRIES_PER_WRITE: usize = (64 << 10) / size_of::<Entry>();

/// Between two looks for a place while dom0 is slow.
const LONGEST_PAUSE: Duration = Duration::from_micros(500);

impl<D: Device> Engine<D> {
    /// Sends what changed in the candidates (each named once) since it was last sent, everything of a buffer on its
    /// first pass.
    ///
    /// Commands of other queues may write to the buffers meanwhile: each chunk's bytes are sent as they were at some
    /// moment of the pass (a chunk written just then may be torn), and the next pass sends what they become.
    /// When nothing writes during the pass, its result is exact.
    ///
    /// Where it may not go on, all candidates count as never sent, too.
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
        let result = result.and_then(|done| Ok(self.device.park().map(|()| done)?));
        let is_whole = result.as_ref().is_ok_and(|(_, is_whole)| *is_whole);
        for id in candidates {
            if let Some(tracked) = self.tracked.get_mut(id) {
                tracked.fresh = !is_whole;
            }
        }
        result.map(|(report, _)| report)
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
    go_on: fn() -> bool,
    /// It was told once to end: something was left out.
    has_ended: bool,
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
            go_on: || true,
            has_ended: false,
        })
    }

    /// The report, and whether all of it was done.
    fn run(mut self, options: PassOptions) -> Result<(PassReport, bool), DeltaError> {
        self.go_on = options.go_on;
        let mut throttle = Throttle::new(options);
        let chunks = self.buffers.iter().map(|tracked| tracked.chunks);
        let segments = segments(chunks, self.engine.config.segment_groups());
        let mut flags = vec![0; self.engine.config.flag_bytes()];
        let mut ahead: Option<Detecting<D::Event>> = None;
        let mut is_whole = true;
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
            throttle.add(detecting.begun);
            for part in &segment.parts {
                for run in Runs::new(part.flags(&flags), part.first, part.end) {
                    self.put(part.buffer, run)?;
                }
            }
            if self.has_ended || !(self.go_on)() {
                is_whole = false;
                break;
            }
        }
        self.submit()?;
        while !self.in_flight.is_empty() {
            self.complete_oldest()?;
        }
        if !is_whole {
            // What is compared ahead ends, too.
            self.engine.device.finish();
        }
        self.report.elapsed = throttle.begun.elapsed();
        Ok((self.report, is_whole))
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
        let bytes = run.bytes(tracked.size);
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
                Put::NeedsPlace => match self.next_place()? {
                    Some(place) => self.layout()?.open(place),
                    None => {
                        let counted = if run.zero {
                            &mut self.report.zero_bytes
                        } else {
                            &mut self.report.data_bytes
                        };
                        *counted -= run.bytes(tracked.size);
                        return Ok(());
                    }
                },
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

    /// A place for the next piece. While the sink has none, what is laid out goes on its way, and what arrives is
    /// delivered, so that places come back. `None`: the pass is to end.
    fn next_place(&mut self) -> Result<Option<Place>, DeltaError> {
        let mut pause = NAP;
        let place = loop {
            if self.has_ended || !(self.go_on)() {
                self.has_ended = true;
                return Ok(None);
            }
            if let Some(place) = self.sink.place()? {
                break place;
            }
            self.submit()?;
            if !self.in_flight.is_empty() {
                self.complete_oldest()?;
                continue;
            }
            // Only dom0 has places now.
            self.sink.alive()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        if place.capacity < CHUNK_BYTES || place.max_extents == 0 {
            return Err(DeltaError::SmallPlace {
                token: place.token,
                capacity: place.capacity,
                max_extents: place.max_extents,
            });
        }
        Ok(Some(place))
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
