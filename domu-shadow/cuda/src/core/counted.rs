//! What belongs to the program and has no contents of ours: counted, because the driver's checkpoint carries it, or held against a move.

use std::collections::BTreeMap;

use runtime::blocked::{Hold, Obstacle};

/// Things of a kind by the driver's names for them, with the context that they go with; 0: none.
#[derive(Debug)]
pub struct Named<N, T> {
    things: BTreeMap<N, (usize, T)>,
}

impl<N, T> Default for Named<N, T> {
    fn default() -> Named<N, T> {
        Named {
            things: BTreeMap::new(),
        }
    }
}

impl<N: Ord + Copy, T> Named<N, T> {
    pub fn add(&mut self, name: N, context: usize, thing: T) {
        self.things.insert(name, (context, thing));
    }

    pub fn remove(&mut self, name: N) -> Option<(usize, T)> {
        self.things.remove(&name)
    }

    pub fn put_back(&mut self, name: N, thing: (usize, T)) {
        self.things.insert(name, thing);
    }

    fn remove_context(&mut self, context: usize) {
        self.things.retain(|_, (of, _)| *of != context);
    }

    fn things(&self) -> impl Iterator<Item = &T> {
        self.things.values().map(|(_, thing)| thing)
    }
}

/// A variable of a module or library.
#[derive(Debug)]
pub struct Variable {
    pub bytes: u64,
    /// Where it is managed memory.
    pub hold: Option<Hold>,
}

/// What can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// `cuImportExternalMemory`.
    ExternalMemory,
    /// `cuImportExternalSemaphore`.
    ExternalSemaphore,
    /// `cuIpcOpenMemHandle`, by address.
    IpcMemory,
    /// `cuIpcOpenEventHandle`.
    IpcEvent,
    /// `cuMemPoolImportFromShareableHandle`, or one of managed memory.
    Pool,
}

#[derive(Debug, Default)]
pub struct Counted {
    /// Arrays and mipmapped arrays, bytes.
    pub arrays: Named<u64, u64>,
    /// By module or library, and address.
    pub variables: Named<(usize, u64), Variable>,
    /// Memory of stream-ordered pools, bytes by address.
    pub pooled: Named<u64, u64>,
    /// Pinned host memory, bytes by address.
    pub host: Named<u64, u64>,
    /// What keeps the process from moving.
    pub held: Named<(Held, u64), Hold>,
}

impl Counted {
    /// The program has got something that keeps the process from moving.
    pub fn hold(&mut self, kind: Held, name: u64, context: usize, obstacle: &'static Obstacle) {
        self.held.add((kind, name), context, obstacle.hold());
    }

    /// The program unloads a module or library.
    pub fn unloaded(&mut self, module: usize) {
        self.variables.things.retain(|(of, _), _| *of != module);
    }

    /// A context goes, with what is in it.
    pub fn remove_context(&mut self, context: usize) {
        self.arrays.remove_context(context);
        self.variables.remove_context(context);
        self.pooled.remove_context(context);
        self.host.remove_context(context);
        self.held.remove_context(context);
    }

    /// Bytes of device memory.
    pub fn device_bytes(&self) -> u64 {
        let variables = self.variables.things().map(|variable| variable.bytes);
        let sums = [&self.arrays, &self.pooled];
        let others = sums.into_iter().flat_map(|sum| sum.things().copied());
        variables.chain(others).sum()
    }

    /// Bytes of pinned host memory.
    pub fn host_bytes(&self) -> u64 {
        self.host.things().sum()
    }
}
