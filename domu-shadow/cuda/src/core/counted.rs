//! What belongs to the program and has no contents of ours: counted, because the driver's checkpoint carries it, or held against a move.

use std::collections::BTreeMap;

use runtime::blocked::Hold;

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
    /// `cuMemPoolImportPointer`, by address.
    PoolMemory,
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
    /// What keeps the process from moving. The driver gives some twice, and takes each back once.
    pub held: Holds,
}

/// Holds by what they are for.
#[derive(Debug, Default)]
pub struct Holds(Named<(Held, u64), Vec<Hold>>);

impl Holds {
    pub fn add(&mut self, name: (Held, u64), context: usize, hold: Hold) {
        let held = self.0.remove(name);
        let (context, mut holds) = held.unwrap_or((context, Vec::new()));
        holds.push(hold);
        self.0.add(name, context, holds);
    }

    /// Takes one out, with the context that it goes with.
    pub fn remove(&mut self, name: (Held, u64)) -> Option<(usize, Hold)> {
        let (context, mut holds) = self.0.remove(name)?;
        let hold = holds.pop();
        if !holds.is_empty() {
            self.0.add(name, context, holds);
        }
        Some((context, hold?))
    }

    fn remove_context(&mut self, context: usize) {
        self.0.remove_context(context);
    }
}

impl Counted {
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
