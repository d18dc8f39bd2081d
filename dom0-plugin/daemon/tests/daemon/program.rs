//! A program whose GPU state is a map of byte vectors.

use channel::bus::Bus;
use channel::guest::{
    BatchSender, Begun, Fetched, Fetcher, KeepAlive, Opened, RoundDone, Session, StepError,
    Stopped, Unloaded, Workload,
};
use channel::image::{
    BufferEntry, Digest, Extent, MANIFEST_MINOR, MANIFEST_OBJECT, MANIFEST_VERSION, Manifest,
    SessionId,
};
use channel::link::{Announcement, LeftToDriver, Others, Residence};
use channel::loopback::LoopbackRendezvous;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a program does then.
type WhenReopened = Box<dyn Fn(&Program) + Send>;

pub type Objects = BTreeMap<u64, Vec<u8>>;

/// What the test and the program's session share.
#[derive(Default)]
pub struct State {
    /// `None` while the GPU state is in dom0.
    pub objects: Option<Objects>,
    /// Objects written since they were last sent.
    pub dirty: BTreeSet<u64>,
    pub blocked: Option<String>,
    pub others: Others,
    /// What it sees on its guest's PCI bus; it has no device files of its own open while it is detached.
    pub bus: Option<Bus>,
    /// Times that it was to look at it.
    pub looks: std::sync::atomic::AtomicU32,
    /// Times that it was to scan the bus.
    pub rescans: std::sync::atomic::AtomicU32,
    /// Left to a driver's own checkpoint.
    pub left: LeftToDriver,
    pub refuse_stop: bool,
    pub refuse_unload: bool,
    /// So many stops take too long.
    pub late_stops: u32,
    /// Called in the session's thread when a stop is taken back.
    pub when_reopened: Option<WhenReopened>,
    /// Stops that were taken back.
    pub reopened: u32,
    /// The manifest of a stop that was taken back has still to be dropped.
    pub sent_manifest: bool,
    /// Versions of the channel's protocol, where not all.
    pub speaks: Option<(u32, u32)>,
    /// GPU device nodes that stay open after an unload.
    pub keeps_nodes: u64,
    pub fail_restores: u32,
    /// Times that the gate was opened by a restore.
    pub opened: u32,
    /// Its contents do not come before this is over.
    pub hold_arrival: bool,
    /// A digest that is wrong goes with everything.
    pub lie: bool,
    /// Rounds do nothing until it is false again.
    pub stuck: bool,
    /// Each round leaves this object dirty.
    pub busy: Option<u64>,
}

#[derive(Clone)]
pub struct Program {
    pub id: SessionId,
    pub name: String,
    state: Arc<Mutex<State>>,
}

/// Objects of `count` sizes, different for each `seed`.
pub fn objects(seed: u64, count: u64) -> Objects {
    (1..=count)
        .map(|i| {
            let bytes = (0..i * i * 30_011).map(|n| ((n * i) ^ (n >> 8) ^ seed) as u8);
            (i, bytes.collect())
        })
        .collect()
}

/// Of a session that runs and has never moved.
pub fn announcement(session: SessionId, program: &str) -> Announcement {
    Announcement {
        session,
        protocol: (1, 2),
        pid: u32::from(session.0[0]),
        program: program.into(),
        state: Residence::Attached,
        generation: 0,
        blocked: None,
        others: Default::default(),
        bus: None,
        left: Default::default(),
    }
}

impl Program {
    pub fn start(socket: &Path, seed: u8, objects: Objects) -> Program {
        let program = Program {
            id: SessionId([seed; 16]),
            name: format!("program-{seed}"),
            state: Arc::default(),
        };
        program.state().objects = Some(objects);
        program.clone().run(socket);
        program
    }

    /// With another behaviour, set before the session is announced.
    pub fn start_with(
        socket: &Path,
        seed: u8,
        objects: Objects,
        set: impl FnOnce(&mut State),
    ) -> Program {
        let program = Program {
            id: SessionId([seed; 16]),
            name: format!("program-{seed}"),
            state: Arc::default(),
        };
        program.state().objects = Some(objects);
        set(&mut program.state());
        program.clone().run(socket);
        program
    }

    fn run(self, socket: &Path) {
        let socket = socket.to_owned();
        let mut announcement = announcement(self.id, &self.name);
        announcement.protocol = self.state().speaks.unwrap_or(announcement.protocol);
        std::thread::spawn(move || {
            let mut session = Session::new(Fake(self), announcement, 300);
            // As the shadow does: a daemon that has gone may come back.
            loop {
                if let Ok(mut rendezvous) = LoopbackRendezvous::connect(&socket) {
                    session.run(&mut rendezvous);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the program computes with now.
    pub fn bytes(&self) -> Option<Objects> {
        self.state().objects.clone()
    }

    /// The program writes.
    pub fn write(&self, object: u64, at: usize, value: u8) {
        let mut state = self.state();
        state.objects.as_mut().unwrap().get_mut(&object).unwrap()[at] = value;
        state.dirty.insert(object);
    }
}

struct Fake(Program);

pub struct Waiting(Vec<(u64, usize)>);

fn send(
    objects: &Objects,
    which: &BTreeSet<u64>,
    lie: bool,
    out: &mut BatchSender<'_>,
) -> Result<u64, StepError> {
    let mut sent = 0;
    for (&object, bytes) in objects.iter().filter(|(o, _)| which.contains(o)) {
        let mut offset = 0;
        while offset < bytes.len() {
            let slot = out.slot()?;
            let mut plan = out.plan();
            let len = (bytes.len() - offset).min(plan.room());
            let part = &bytes[offset..offset + len];
            let digest = match lie {
                true => Digest::of(b"another"),
                false => Digest::NONE,
            };
            let extent = Extent::data(
                object,
                bytes.len() as u64,
                offset as u64,
                len as u32,
                digest,
            );
            plan.push(extent).expect("room for one");
            out.payload(&slot).slice(0, len).unwrap().write(part);
            out.send(slot, &plan)?;
            offset += len;
            sent += len as u64;
        }
    }
    Ok(sent)
}

impl Fake {
    /// Sends what is dirty.
    fn flush(
        &mut self,
        everything: bool,
        out: &mut BatchSender<'_>,
    ) -> Result<(u64, u64), StepError> {
        let (objects, which, lie) = {
            let mut state = self.0.state();
            let objects = state.objects.clone().expect("attached");
            let mut which = std::mem::take(&mut state.dirty);
            if everything {
                which = objects.keys().copied().collect();
            }
            (objects, which, state.lie)
        };
        let sent = send(&objects, &which, lie, out)?;
        let mut state = self.0.state();
        let busy = state.busy;
        state.dirty.extend(busy);
        let dirty = state.dirty.iter().map(|o| objects[o].len() as u64).sum();
        Ok((sent, dirty))
    }

    fn manifest(&self, generation: u64, out: &mut BatchSender<'_>) -> Result<(), StepError> {
        let objects = self.0.bytes().expect("attached");
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            minor: MANIFEST_MINOR,
            program: self.0.name.clone(),
            pid: 1,
            generation,
            devices: Vec::new(),
            buffers: objects
                .iter()
                .map(|(id, b)| BufferEntry {
                    id: (*id).into(),
                    bytes: b.len() as u64,
                })
                .collect(),
        };
        let object = Objects::from([(MANIFEST_OBJECT, manifest.to_bytes().unwrap())]);
        send(&object, &BTreeSet::from([MANIFEST_OBJECT]), false, out).map(drop)
    }
}

impl Workload for Fake {
    type Copying = ();
    type Quiesced = ();
    type Detached = Waiting;
    type PostCopy = Waiting;

    fn blocked(&self) -> Option<String> {
        self.0.state().blocked.clone()
    }

    fn others(&self) -> Others {
        self.0.state().others.clone()
    }

    fn left_to_driver(&self) -> LeftToDriver {
        self.0.state().left
    }

    fn bus(&self, rescan: bool) -> Option<Bus> {
        let state = self.0.state();
        state.looks.fetch_add(1, Ordering::Relaxed);
        if rescan {
            state.rescans.fetch_add(1, Ordering::Relaxed);
        }
        let mut bus = state.bus.clone()?;
        if state.objects.is_none() {
            bus.own = 0;
        }
        Some(bus)
    }

    fn begin(&mut self, _: &mut KeepAlive<'_>) -> Result<(Begun, ()), StepError> {
        let objects = self.0.bytes().expect("attached");
        let left = self.left_to_driver();
        let begun = Begun {
            buffers: objects.len() as u64,
            bytes: objects.values().map(|b| b.len() as u64).sum(),
            contexts: left.contexts,
            left: left.bytes,
            pinned: left.pinned,
        };
        Ok((begun, ()))
    }

    fn round(
        &mut self,
        _: &mut (),
        number: u32,
        out: &mut BatchSender<'_>,
    ) -> Result<RoundDone, StepError> {
        while self.0.state().stuck {
            std::thread::sleep(Duration::from_millis(5));
        }
        if std::mem::take(&mut self.0.state().sent_manifest) {
            let slot = out.slot()?;
            let mut plan = out.plan();
            let drop = Extent::drop_object(MANIFEST_OBJECT);
            plan.push(drop).expect("room for one");
            out.send(slot, &plan)?;
        }
        let (bytes, dirty) = self.flush(number == 0, out)?;
        let left = self.left_to_driver();
        Ok(RoundDone {
            bytes,
            dirty,
            left: left.bytes,
            pinned: left.pinned,
            ..RoundDone::default()
        })
    }

    fn stop(
        &mut self,
        _: (),
        timeout: Duration,
        generation: u64,
        out: &mut BatchSender<'_>,
    ) -> Result<(Stopped, ()), ((), StepError)> {
        if self.0.state().refuse_stop {
            return Err(((), StepError::Failed("a kernel does not end".into())));
        }
        if self.0.state().late_stops > 0 {
            std::thread::sleep(timeout);
            self.0.state().late_stops -= 1;
            return Err(((), StepError::Failed("a kernel does not end".into())));
        }
        // A stop without rounds before it sends everything, as does one whose rounds were never asked for.
        let everything = self.0.state().dirty.is_empty();
        let (bytes, _) = self.flush(everything, out).map_err(|e| ((), e))?;
        self.manifest(generation, out).map_err(|e| ((), e))?;
        let stop = Stopped {
            bytes,
            buffers: self.0.bytes().map_or(0, |o| o.len() as u64),
            drain_ns: 1_000,
            ..Stopped::default()
        };
        Ok((stop, ()))
    }

    fn unload(&mut self, _: ()) -> Result<(Unloaded, Waiting), ((), StepError)> {
        let mut state = self.0.state();
        if state.refuse_unload {
            return Err(((), StepError::Failed("the driver does not go".into())));
        }
        let objects = state.objects.take().expect("attached");
        let waiting = objects.iter().map(|(id, b)| (*id, b.len())).collect();
        let unload = Unloaded {
            devices: state.keeps_nodes,
            ..Unloaded::default()
        };
        Ok((unload, Waiting(waiting)))
    }

    fn give_up(&mut self, _: ()) {}

    fn reopen(&mut self, _: ()) -> u64 {
        5_000
    }

    fn go_on(&mut self, (): ()) -> (u64, ()) {
        let mut state = self.0.state();
        state.reopened += 1;
        state.sent_manifest = true;
        let acts = state.when_reopened.take();
        drop(state);
        if let Some(acts) = acts {
            acts(&self.0);
        }
        (5_000, ())
    }

    fn restore(&mut self, detached: Waiting) -> Result<(Opened, Waiting), (Waiting, StepError)> {
        let mut state = self.0.state();
        if state.fail_restores > 0 {
            state.fail_restores -= 1;
            return Err((detached, StepError::Failed("there is no GPU here".into())));
        }
        state.opened += 1;
        let opened = Opened {
            blackout_ns: 30_000,
            downtime_ns: 20_000,
            reload_ns: 10_000,
        };
        Ok((opened, detached))
    }

    fn post_copy(
        &mut self,
        arriving: Waiting,
        inbox: &mut Fetcher<'_>,
    ) -> Result<Fetched, (Waiting, StepError)> {
        while self.0.state().hold_arrival {
            if let Err(e) = inbox.busy() {
                return Err((arriving, e.into()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match fetch(&arriving, inbox) {
            Ok((objects, bytes)) => {
                let mut state = self.0.state();
                state.objects = Some(objects);
                state.dirty.clear();
                Ok(Fetched { bytes })
            }
            Err(e) => Err((arriving, e)),
        }
    }
}

fn fetch(detached: &Waiting, inbox: &mut Fetcher<'_>) -> Result<(Objects, u64), StepError> {
    let mut objects: Objects = detached
        .0
        .iter()
        .map(|(id, len)| (*id, vec![0; *len]))
        .collect();
    let mut fetched = 0;
    let mut take = |inbox: &mut Fetcher<'_>| -> Result<u64, StepError> {
        let filled = inbox.wait()?;
        let at = filled.offset as usize;
        let object = objects.get_mut(&filled.object).unwrap();
        let to = &mut object[at..at + filled.len];
        match filled.zero {
            true => to.fill(0),
            false => inbox.payload(&filled).read(to),
        }
        let len = filled.len as u64;
        inbox.done(filled);
        Ok(len)
    };
    for (object, len) in &detached.0 {
        let mut offset = 0;
        while offset < *len {
            let n = (len - offset).min(inbox.payload_size());
            if inbox.fetch(*object, offset as u64, n)? {
                offset += n;
            } else {
                fetched += take(inbox)?;
            }
        }
    }
    while inbox.pending() > 0 {
        fetched += take(inbox)?;
    }
    Ok((objects, fetched))
}
