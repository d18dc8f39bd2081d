//! How fast dom0 drains a session's slots into its spool, by number of threads.
//!
//!     cargo run --release -p xl-gpud --example drain [MIB] [PAGES]
//!
//! The guest is a thread that sends MIB (default 1024) of slots whose bytes are there already, but for a word of each
//! chunk, so that dom0's end is what is measured: copying out of shared memory, writing to the spool (a memfd), and with a
//! stream (to /dev/null) digests and checksums as well. Round 0 takes space in the spool, round 1 writes over what is there.
//! No two chunks are equal; in the last column all are, and travel as references.

use channel::guest::{
    BatchSender, Begun, Fetched, Fetcher, KeepAlive, Opened, RoundDone, Session, StepError,
    Stopped, Unloaded, Workload,
};
use channel::host::{Attached, HostTimeouts, Sink, StepLimits};
use channel::image::{Batch, Digest, Extent, SessionId, SessionKey};
use channel::link::{Announcement, Peer, Residence};
use channel::loopback::{LoopbackListener, LoopbackRendezvous};
use daemon::capture_sink::{CaptureSink, Counts, Records, SessionSink};
use spool::{Spool, SpoolConfig};
use std::error::Error;
use std::fs::File;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use stream::{ImageId, StreamEnd};

/// Grain at which equal contents are found.
const CHUNK: usize = 4096;
const AGES: Duration = Duration::from_secs(300);

/// One object of so many bytes, sent slot by slot; a number that differs from chunk to chunk, or never.
struct Sender(u64, Option<u64>);

impl Workload for Sender {
    type Copying = ();
    type Quiesced = ();
    type Detached = ();
    type PostCopy = ();

    fn blocked(&self) -> Option<String> {
        None
    }

    fn begin(&mut self, _: &mut KeepAlive<'_>) -> Result<(Begun, ()), StepError> {
        Ok((
            Begun {
                buffers: 1,
                bytes: self.0,
                ..Begun::default()
            },
            (),
        ))
    }

    fn round(
        &mut self,
        _: &mut (),
        _: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError> {
        let mut at = 0;
        while at < self.0 {
            let slot = out.slot()?;
            let mut plan = out.plan();
            let len = (self.0 - at).min(out.payload_size() as u64);
            plan.push(Extent::data(1, self.0, at, len as u32, Digest::NONE))
                .ok_or_else(|| StepError::Failed("an extent fits no slot".into()))?;
            if let Some(number) = &mut self.1 {
                let payload = out.payload(&slot);
                for chunk in (0..len as usize).step_by(CHUNK) {
                    *number += 1;
                    if let Some(word) = payload.slice(chunk, 8) {
                        word.write(&number.to_le_bytes());
                    }
                }
            }
            out.send(slot, &plan)?;
            at += len;
        }
        Ok(RoundDone {
            bytes: at,
            dirty: at,
            ..RoundDone::default()
        })
    }

    fn stop(
        &mut self,
        _: (),
        _: Duration,
        _: u64,
        _: &mut BatchSender<'_>,
    ) -> Result<(Stopped, ()), ((), StepError)> {
        Err(((), StepError::Failed("this one only sends rounds".into())))
    }

    fn unload(&mut self, _: ()) -> Result<(Unloaded, ()), ((), StepError)> {
        Err(((), StepError::Failed("there is no driver".into())))
    }

    fn give_up(&mut self, _: ()) {}

    fn reopen(&mut self, _: ()) -> u64 {
        0
    }

    fn go_on(&mut self, _: ()) -> (u64, ()) {
        (0, ())
    }

    fn restore(&mut self, _: ()) -> Result<(Opened, ()), ((), StepError)> {
        Err(((), StepError::Failed("there is no driver".into())))
    }

    fn post_copy(&mut self, _: (), _: &mut Fetcher<'_>) -> Result<Fetched, ((), StepError)> {
        Err(((), StepError::Failed("there is no driver".into())))
    }
}

/// The daemon's own sink, with another number of threads.
struct With<'a>(SessionSink<'a>, usize);

impl Sink for With<'_> {
    fn workers(&self) -> usize {
        self.1
    }

    fn called_off(&self) -> Option<channel::BoxError> {
        self.0.called_off()
    }

    fn batch(&self, round: u32, batch: &Batch<'_>) -> Result<(), channel::BoxError> {
        self.0.batch(round, batch)
    }
}

/// Where what is captured goes beside the spool.
#[derive(Clone, Copy)]
enum Stream {
    None,
    Fresh,
    Repeated,
}

/// GB/s of both rounds.
fn measure(
    bytes: u64,
    pages: usize,
    threads: usize,
    stream: Stream,
) -> Result<[f64; 2], Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("xl-gpu-drain-{}", std::process::id()));
    let listener = LoopbackListener::bind(&path)?;
    let key = SessionKey {
        session: SessionId([1; 16]),
        generation: 1,
    };
    let announcement = Announcement {
        session: key.session,
        protocol: (1, 1),
        pid: std::process::id(),
        program: "drain".into(),
        state: Residence::Attached,
        generation: 0,
        blocked: None,
        others: Default::default(),
        bus: None,
        left: Default::default(),
    };
    let socket = path.clone();
    std::thread::spawn(move || {
        let number = (!matches!(stream, Stream::Repeated)).then_some(0);
        let mut session = Session::new(Sender(bytes, number), announcement, pages);
        if let Ok(mut rendezvous) = LoopbackRendezvous::connect(&socket) {
            session.run(&mut rendezvous);
        }
    });
    let mut peer = listener.accept(AGES)?;
    std::fs::remove_file(&path)?;
    let (link, layout) = peer.open(AGES)?;
    let limits = StepLimits {
        round_bytes: u64::MAX,
        batch: channel::image::BatchLimits::default(),
    };
    let attached = Attached::new(link, layout, limits, HostTimeouts::default());
    let (_, mut copying) = attached.begin(1).map_err(|r| r.error)?;
    let spool = Spool::new(SpoolConfig {
        memory_bytes: u64::MAX,
        dir: std::env::temp_dir(),
        guest_bytes: u64::MAX,
    });
    let mut image = spool.guest().new_image();
    let cancelled = std::sync::Arc::new(AtomicBool::new(false));
    let null = File::options().write(true).open("/dev/null")?;
    let to = StreamEnd::new(null.into(), cancelled.clone())?;
    let records = Records::start(to, ImageId::random()?, &[key])?;
    let sent = Counts::default();
    let mut rates = [0.0; 2];
    for (number, rate) in rates.iter_mut().enumerate() {
        let sink = CaptureSink {
            records: (!matches!(stream, Stream::None)).then_some(&records),
            cancelled: &cancelled,
            sent: &sent,
            sessions: 1,
        };
        let begun = Instant::now();
        copying.round(number as u32, &With(sink.sink(key, &mut image), threads))?;
        *rate = bytes as f64 / begun.elapsed().as_secs_f64() / 1e9;
    }
    peer.close(copying.into_link(), AGES)?;
    Ok(rates)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |a| a.parse());
    let (mib, pages) = (number(1024)?, number(4200)? as usize);
    let cores = std::thread::available_parallelism()?.get();
    println!("{mib} MiB, {pages} shared pages, {cores} cores; GB/s");
    println!("threads   spool: new  again   with a stream: new  again  repeated");
    let mut threads = 1;
    while threads <= cores.min(16) {
        let [new, again] = measure(mib << 20, pages, threads, Stream::None)?;
        let [stream_new, stream_again] = measure(mib << 20, pages, threads, Stream::Fresh)?;
        let [_, repeated] = measure(mib << 20, pages, threads, Stream::Repeated)?;
        println!(
            "{threads:7}{new:13.1}{again:7.1}{stream_new:21.1}{stream_again:7.1}{repeated:10.1}"
        );
        threads *= 2;
    }
    Ok(())
}
