//! An API that keeps its contents in a map, tells what it is asked, and fails where it is told to.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use channel::BoxError;
use channel::guest::StepError;
use channel::guest::Whole;
use channel::image::{Api, ObjectId};
use channel::memory::SharedPages;
use xl_gpu_runtime::delta::Sink;
use xl_gpu_runtime::gate::Draining;
use xl_gpu_runtime::gpu_api::{self, ApiCapture, GpuApi, Rounds, Stop, Transfers};
use xl_gpu_runtime::locks::Held;

use xl_gpu_runtime::mover::memory::{get, put};
use xl_gpu_runtime::mover::transfer::Pending;
use xl_gpu_runtime::mover::{HostBytes, MoveError, Program, Region, Round, Sent, Summary};
use xl_gpu_runtime::phase_timer::PhaseTimer;
use xl_gpu_runtime::residency::{Residency, Resident};

/// What is asked of an API, in words.
pub type Asked = (&'static str, &'static str);

struct Object {
    id: u64,
    bytes: Mutex<Vec<u8>>,
    residency: Residency,
}

impl Resident for Object {
    fn id(&self) -> u64 {
        self.id
    }

    fn bytes(&self) -> u64 {
        lock(&self.bytes).len() as u64
    }

    fn residency(&self) -> &Residency {
        &self.residency
    }
}

pub struct Fake {
    api: Api,
    name: &'static str,
    objects: Mutex<BTreeMap<u64, Arc<Object>>>,
}

pub static A: Fake = Fake::new(Api(0), "A");
pub static B: Fake = Fake::new(Api(7), "B");

static LOG: Mutex<Vec<Asked>> = Mutex::new(Vec::new());
/// Where to fail, once each and in this order.
static FAIL: Mutex<Vec<Asked>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was asked since the last time.
pub fn asked() -> Vec<Asked> {
    std::mem::take(&mut *lock(&LOG))
}

pub fn fail_at(api: &'static str, what: &'static str) {
    lock(&FAIL).push((api, what));
}

/// Both, registered once, with an object each.
pub fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        gpu_api::register(&A);
        gpu_api::register(&B);
        A.add(3, b"contents of A's");
        B.add(3, b"what B has under the same number");
    });
    asked();
}

impl Fake {
    const fn new(api: Api, name: &'static str) -> Fake {
        Fake {
            api,
            name,
            objects: Mutex::new(BTreeMap::new()),
        }
    }

    /// The id of the API's object with this number.
    pub fn id(&self, number: u64) -> u64 {
        ObjectId::new(self.api, number).into()
    }

    fn add(&self, number: u64, bytes: &[u8]) {
        let id = self.id(number);
        let object = Object {
            id,
            bytes: Mutex::new(bytes.to_vec()),
            residency: Residency::default(),
        };
        lock(&self.objects).insert(id, Arc::new(object));
    }

    pub fn contents(&self, number: u64) -> Vec<u8> {
        lock(&lock(&self.objects)[&self.id(number)].bytes).clone()
    }

    fn ask(&self, what: &'static str) -> Result<(), MoveError> {
        lock(&LOG).push((self.name, what));
        let mut fail = lock(&FAIL);
        if fail.first() != Some(&(self.name, what)) {
            return Ok(());
        }
        fail.remove(0);
        Err(MoveError::Driver {
            api: self.api,
            what,
            code: -1,
        })
    }

    fn object(&self, id: u64) -> Result<Arc<Object>, MoveError> {
        let object = lock(&self.objects).get(&id).cloned();
        object.ok_or(MoveError::Gone(id))
    }
}

impl GpuApi for Fake {
    fn api(&self) -> Api {
        self.api
    }

    fn prepare(&self) {}

    fn hold_locks(&'static self, _in_call: bool) -> Option<Held> {
        Some(vec![Box::new(self.objects.try_lock().ok()?)])
    }

    fn blocked(&self) -> Option<String> {
        let answer = self.ask("blocked");
        answer.err().map(|_| format!("{} blocks", self.name))
    }

    fn summarize(&self, summary: &mut Summary) {
        summary.devices.push(format!("{}'s device", self.name));
        summary.buffers += lock(&self.objects).len() as u64;
    }

    fn begin(&'static self) -> Result<Box<dyn ApiCapture>, MoveError> {
        self.ask("begin")?;
        Ok(Box::new(FakeCapture(self)))
    }
}

struct FakeCapture(&'static Fake);

impl Drop for FakeCapture {
    fn drop(&mut self) {
        let _ = self.0.ask("end");
    }
}

struct Done;

impl Pending for Done {
    fn is_done(&self) -> bool {
        true
    }

    fn wait(&mut self) -> Result<(), MoveError> {
        Ok(())
    }
}

impl Rounds for FakeCapture {
    fn compare(&mut self) {}

    fn prepare(&mut self, _go_on: &dyn Fn() -> bool) {}

    fn round(&mut self, program: Program, round: &mut Round) {
        let _ = self.0.ask(match program {
            Program::Runs => "round",
            Program::Waits => "last round",
        });
        let all = self.objects().into_iter();
        let all = all.map(|(id, size)| Region::all_of(id, size));
        round.regions.extend(all);
        round.compare(vec![self.0.name]);
    }

    fn send_changed(
        &mut self,
        round: &Round,
        _program: Program,
        _sink: &mut dyn Sink,
        sent: &mut Sent,
    ) -> Result<(), MoveError> {
        self.0.ask("send")?;
        assert!(!round.compared::<&str>().is_empty());
        sent.report.extents += 1;
        Ok(())
    }

    fn start_over(&mut self) {
        let _ = self.0.ask("start over");
    }

    fn dirty_bytes(
        &mut self,
        alive: &mut dyn FnMut() -> Result<(), StepError>,
    ) -> Result<u64, MoveError> {
        alive()?;
        Ok(10)
    }

    fn whole(&self) -> (u64, Whole) {
        match self.0.api.0 {
            0 => (1, Whole::Driver),
            _ => (2, Whole::NoKernels),
        }
    }
}

impl Transfers for FakeCapture {
    fn objects(&self) -> Vec<(u64, u64)> {
        let objects = lock(&self.0.objects);
        objects.values().map(|it| (it.id(), it.bytes())).collect()
    }

    fn pin(&mut self, _pages: Option<&SharedPages>) {}

    unsafe fn start_read(
        &self,
        object: u64,
        offset: u64,
        to: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let object = self.0.object(object)?;
        let from = offset as usize..offset as usize + to.len();
        put(to, 0, &lock(&object.bytes)[from]);
        Ok(Box::new(Done))
    }

    unsafe fn start_write(
        &self,
        object: u64,
        offset: u64,
        from: &dyn HostBytes,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let object = self.0.object(object)?;
        let to = offset as usize..offset as usize + from.len();
        get(from, 0, &mut lock(&object.bytes)[to]);
        Ok(Box::new(Done))
    }

    fn start_zero(
        &self,
        object: u64,
        offset: u64,
        len: u64,
    ) -> Result<Box<dyn Pending>, MoveError> {
        let object = self.0.object(object)?;
        lock(&object.bytes)[offset as usize..(offset + len) as usize].fill(0);
        Ok(Box::new(Done))
    }
}

impl Stop for FakeCapture {
    fn quiesce(&mut self, _gate: &Draining, _deadline: Instant) -> Result<(), BoxError> {
        Ok(self.0.ask("quiesce")?)
    }

    fn settle(&mut self, _deadline: Instant) -> Result<bool, BoxError> {
        self.0.ask("settle")?;
        // Where that "fails" something has begun to run.
        Ok(self.0.ask("settled").is_ok())
    }

    fn resume(&mut self) {
        let _ = self.0.ask("resume");
    }

    fn release_driver(&mut self, _timer: &mut PhaseTimer) -> Vec<String> {
        let held = self.0.ask("release");
        let objects = lock(&self.0.objects);
        objects.values().for_each(|it| lock(&it.bytes).fill(0));
        Vec::from_iter(held.err().map(|_| format!("{}'s node", self.0.name)))
    }

    fn recreate(&mut self, _timer: &mut PhaseTimer) -> Result<(), MoveError> {
        self.0.ask("recreate")
    }

    fn awaited(&mut self) -> Vec<Arc<dyn Resident>> {
        let objects = lock(&self.0.objects);
        objects.values().map(|it| Arc::clone(it) as _).collect()
    }
}
