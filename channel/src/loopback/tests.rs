//! Both ends of the protocol against each other, there and back.

use super::{LoopbackListener, LoopbackRendezvous};
use crate::guest::{
    BatchSender, Begun, Fetched, Fetcher, KeepAlive, Opened, RoundDone, Session, StepError,
    Stopped, Unloaded, Workload,
};
use crate::host::{
    Attached, Contents, Detached, HostError, HostTimeouts, SerialSink, Source, StepLimits,
    one_by_one,
};
use crate::image::{Batch, Digest, Extent, ExtentKind, SessionId};
use crate::link::{Announcement, Peer, Residence};
use crate::memory::SharedBytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
type Objects = BTreeMap<u64, Vec<u8>>;

/// A workload of plain byte vectors; `objects` is `None` while detached.
struct Memory {
    objects: Arc<Mutex<Option<Objects>>>,
    refuse_stop: bool,
}

fn send_all(objects: &Objects, out: &mut BatchSender<'_>) -> Result<u64, StepError> {
    let mut sent = 0;
    for (&object, bytes) in objects {
        let mut offset = 0;
        while offset < bytes.len() {
            let slot = out.slot()?;
            let mut plan = out.plan();
            let len = (bytes.len() - offset).min(plan.room());
            plan.push(Extent::data(
                object,
                bytes.len() as u64,
                offset as u64,
                len as u32,
                Digest::NONE,
            ))
            .expect("room for one");
            out.payload(&slot)
                .slice(0, len)
                .unwrap()
                .write(&bytes[offset..offset + len]);
            out.send(slot, &plan)?;
            offset += len;
            sent += len as u64;
        }
    }
    Ok(sent)
}

impl Memory {
    fn with<T>(&self, f: impl FnOnce(&mut Objects) -> T) -> T {
        f(self.objects.lock().unwrap().as_mut().expect("attached"))
    }
}

impl Workload for Memory {
    type Copying = ();
    type Quiesced = ();
    type Detached = Vec<(u64, usize)>;
    type PostCopy = Vec<(u64, usize)>;

    fn blocked(&self) -> Option<String> {
        None
    }
    fn begin(&mut self, _: &mut KeepAlive<'_>) -> Result<(Begun, ()), StepError> {
        self.with(|o| {
            Ok((
                Begun {
                    buffers: o.len() as u64,
                    bytes: o.values().map(|b| b.len() as u64).sum(),
                    ..Begun::default()
                },
                (),
            ))
        })
    }
    fn round(
        &mut self,
        _: &mut (),
        _: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError> {
        Ok(RoundDone {
            bytes: self.with(|o| send_all(o, out))?,
            ..RoundDone::default()
        })
    }
    fn stop(
        &mut self,
        _: (),
        _: Duration,
        _: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<(Stopped, ()), ((), StepError)> {
        if self.refuse_stop {
            return Err(((), StepError::Failed("a kernel is stuck".into())));
        }
        let bytes = self.with(|o| send_all(o, out)).map_err(|e| ((), e))?;
        Ok((
            Stopped {
                bytes,
                drain_ns: 1,
                ..Stopped::default()
            },
            (),
        ))
    }
    fn unload(&mut self, _: ()) -> Result<(Unloaded, Self::Detached), ((), StepError)> {
        let objects = self.objects.lock().unwrap().take().expect("attached");
        Ok((
            Unloaded::default(),
            objects.iter().map(|(id, b)| (*id, b.len())).collect(),
        ))
    }
    fn give_up(&mut self, _: ()) {}
    fn reopen(&mut self, _: ()) -> u64 {
        7
    }
    fn go_on(&mut self, _: ()) -> (u64, ()) {
        (7, ())
    }
    fn restore(
        &mut self,
        detached: Self::Detached,
    ) -> Result<(Opened, Self::PostCopy), (Self::Detached, StepError)> {
        Ok((Opened::default(), detached))
    }
    fn post_copy(
        &mut self,
        detached: Self::PostCopy,
        fetcher: &mut Fetcher<'_>,
    ) -> Result<Fetched, (Self::PostCopy, StepError)> {
        let mut objects: Objects = detached
            .iter()
            .map(|(id, len)| (*id, vec![0; *len]))
            .collect();
        let mut take =
            |fetcher: &mut Fetcher<'_>, arrived: &mut Fetched| -> Result<(), StepError> {
                let filled = fetcher.wait()?;
                let at = filled.offset as usize;
                fetcher
                    .payload(&filled)
                    .read(&mut objects.get_mut(&filled.object).unwrap()[at..at + filled.len]);
                arrived.bytes += filled.len as u64;
                fetcher.done(filled);
                Ok(())
            };
        let mut arrived = Fetched::default();
        let mut all = || -> Result<(), StepError> {
            for (object, len) in &detached {
                let mut offset = 0;
                while offset < *len {
                    let n = (len - offset).min(fetcher.payload_size());
                    if fetcher.fetch(*object, offset as u64, n)? {
                        offset += n;
                    } else {
                        take(fetcher, &mut arrived)?;
                    }
                }
            }
            while fetcher.pending() > 0 {
                take(fetcher, &mut arrived)?;
            }
            Ok(())
        };
        match all() {
            Ok(()) => {
                *self.objects.lock().unwrap() = Some(objects);
                Ok(arrived)
            }
            Err(e) => Err((detached, e)),
        }
    }
}

/// A spool of plain byte vectors.
#[derive(Default)]
struct Store(Objects);

impl SerialSink for Store {
    fn batch(&mut self, _: u32, batch: &Batch<'_>) -> Result<(), crate::BoxError> {
        for (extent, bytes) in batch.iter() {
            assert_eq!(extent.kind, ExtentKind::Data);
            let object = self
                .0
                .entry(extent.object)
                .or_insert_with(|| vec![0; extent.object_size as usize]);
            object[extent.offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl Source for Store {
    fn read(
        &self,
        object: u64,
        offset: u64,
        to: SharedBytes<'_>,
    ) -> Result<Contents, crate::BoxError> {
        let from = self
            .0
            .get(&object)
            .and_then(|o| o.get(offset as usize..offset as usize + to.len()));
        to.write(from.ok_or("no such bytes")?);
        Ok(Contents::Bytes)
    }
}

struct Rig {
    socket: PathBuf,
    listener: LoopbackListener,
    objects: Arc<Mutex<Option<Objects>>>,
    program: Option<std::thread::JoinHandle<std::io::Error>>,
}

impl Rig {
    fn start(name: &str, objects: Objects, pages: usize, refuse_stop: bool) -> Rig {
        let socket =
            std::env::temp_dir().join(format!("xl-gpu-channel-{name}-{}", std::process::id()));
        let listener = LoopbackListener::bind(&socket).unwrap();
        let objects = Arc::new(Mutex::new(Some(objects)));
        let workload = Memory {
            objects: objects.clone(),
            refuse_stop,
        };
        let announcement = Announcement {
            session: SessionId([3; 16]),
            protocol: (1, 1),
            pid: 1,
            program: name.into(),
            state: Residence::Attached,
            generation: 0,
            blocked: None,
            others: Default::default(),
            bus: None,
            left: Default::default(),
        };
        let mut rendezvous = LoopbackRendezvous::connect(&socket).unwrap();
        let program = std::thread::spawn(move || {
            Session::new(workload, announcement, pages).run(&mut rendezvous)
        });
        Rig {
            socket,
            listener,
            objects,
            program: Some(program),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        if let Some(program) = self.program.take().filter(|_| !std::thread::panicking()) {
            assert_eq!(
                program.join().unwrap().kind(),
                std::io::ErrorKind::UnexpectedEof,
                "a session ends when its daemon has gone"
            );
        }
    }
}

fn limits() -> StepLimits {
    StepLimits {
        round_bytes: 64 << 20,
        batch: crate::image::BatchLimits::default(),
    }
}

fn some_objects() -> Objects {
    (1..6u64)
        .map(|i| {
            (
                i,
                (0..i * i * 90_001).map(|n| (n * i % 251) as u8).collect(),
            )
        })
        .collect()
}

#[test]
fn there_and_back() {
    for pages in [5, 40, 259, 1000] {
        let objects = some_objects();
        let rig = Rig::start(&format!("back{pages}"), objects.clone(), pages, false);
        let mut peer = rig.listener.accept(5 * SECOND).unwrap();
        let (link, layout) = peer.open(5 * SECOND).unwrap();
        let mut store = Store::default();
        let (begun, mut copying) = Attached::new(link, layout, limits(), HostTimeouts::default())
            .begin(1)
            .unwrap();
        assert_eq!(begun.buffers, 5);
        assert_eq!(
            copying.round(0, &one_by_one(&mut store)).unwrap().bytes,
            begun.bytes
        );
        // The program writes between rounds.
        rig.objects
            .lock()
            .unwrap()
            .as_mut()
            .unwrap()
            .get_mut(&2)
            .unwrap()[7] ^= 0xff;
        let (stop, quiesced) = copying.stop(SECOND, &one_by_one(&mut store)).unwrap();
        assert_eq!(stop.bytes, begun.bytes);
        let (_, detached) = quiesced.unload().unwrap();
        assert!(rig.objects.lock().unwrap().is_none());
        peer.close(detached.into_link(), 5 * SECOND).unwrap();

        while peer.announcement().state != Residence::Detached {
            crate::link::wait_readable(&[peer.fd()], Some(5 * SECOND)).unwrap();
            peer.refresh().unwrap();
        }
        assert_eq!(peer.announcement().generation, 1);
        let (link, layout) = peer.open(5 * SECOND).unwrap();
        let (restored, attached) = Detached::new(link, layout, limits(), HostTimeouts::default())
            .restore(1, &store, &mut |_| ())
            .unwrap();
        assert_eq!(restored.bytes, begun.bytes);
        let mut expected = objects;
        expected.get_mut(&2).unwrap()[7] ^= 0xff;
        assert_eq!(*rig.objects.lock().unwrap(), Some(expected));
        peer.close(attached.into_link(), 5 * SECOND).unwrap();
    }
}

#[test]
fn a_refused_stop_leaves_the_session_copying() {
    let rig = Rig::start("refuse", some_objects(), 100, true);
    let mut peer = rig.listener.accept(5 * SECOND).unwrap();
    let (link, layout) = peer.open(5 * SECOND).unwrap();
    let (_, copying) = Attached::new(link, layout, limits(), HostTimeouts::default())
        .begin(1)
        .unwrap();
    let refused = copying
        .stop(SECOND, &one_by_one(&mut Store::default()))
        .unwrap_err();
    assert!(
        matches!(&refused.error, HostError::Refused(why) if why == "a kernel is stuck"),
        "{}",
        refused.error
    );
    let attached = refused.session.expect("still there").resume().unwrap();
    peer.close(attached.into_link(), 5 * SECOND).unwrap();
    assert!(rig.objects.lock().unwrap().is_some());
}

/// Fails at the n-th batch, as a full disk would.
struct Full(usize);

impl SerialSink for Full {
    fn batch(&mut self, _: u32, _: &Batch<'_>) -> Result<(), crate::BoxError> {
        self.0 = self.0.checked_sub(1).ok_or("the spool is full")?;
        Ok(())
    }
}

#[test]
fn a_full_spool_in_any_step_can_be_resumed_from() {
    for n in [0, 1, 5] {
        let rig = Rig::start(&format!("full{n}"), some_objects(), 60, false);
        let mut peer = rig.listener.accept(5 * SECOND).unwrap();
        let (link, layout) = peer.open(5 * SECOND).unwrap();
        let (_, mut copying) = Attached::new(link, layout, limits(), HostTimeouts::default())
            .begin(1)
            .unwrap();
        let error = copying.round(0, &one_by_one(&mut Full(n))).unwrap_err();
        assert!(matches!(error, HostError::Store(_)), "{error}");
        let attached = copying.resume().unwrap();
        let (_, copying) = attached.begin(2).unwrap();
        let refused = copying.stop(SECOND, &one_by_one(&mut Full(n))).unwrap_err();
        let attached = refused.session.expect("the link is well").resume().unwrap();
        peer.close(attached.into_link(), 5 * SECOND).unwrap();
    }
}

#[test]
fn a_command_out_of_state_is_refused_and_changes_nothing() {
    let rig = Rig::start("state", some_objects(), 60, false);
    let mut peer = rig.listener.accept(5 * SECOND).unwrap();
    let (link, layout) = peer.open(5 * SECOND).unwrap();
    let refused = Detached::new(link, layout, limits(), HostTimeouts::default())
        .restore(9, &Store::default(), &mut |_| ())
        .unwrap_err();
    assert!(
        matches!(&refused.error, HostError::Refused(why) if why.contains("running")),
        "{}",
        refused.error
    );
    peer.close(refused.session.unwrap().into_link(), 5 * SECOND)
        .unwrap();
    let (link, layout) = peer.open(5 * SECOND).unwrap();
    let (_, copying) = Attached::new(link, layout, limits(), HostTimeouts::default())
        .begin(1)
        .unwrap();
    peer.close(copying.into_link(), 5 * SECOND).unwrap();
}
