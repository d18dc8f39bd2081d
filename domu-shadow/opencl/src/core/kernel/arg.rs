//! Kernel arguments as the program set them, to set them again and to know which buffers a kernel may write.
//!
//! Setting one is on the program's hottest path: a few relaxed stores, no lock. Two threads that set the same
//! argument at once (which the specification forbids) get one of the values or a mix, never a bad pointer.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::arg_kind::ArgKind;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgValue {
    Unset,
    /// The buffer's handle and id. The kernel holds no reference to it, as the specification says.
    Mem {
        handle: usize,
        id: u64,
    },
    /// The sampler's handle and id; no reference is held here either.
    Sampler {
        handle: usize,
        id: u64,
    },
    /// The device queue's handle and id.
    Queue {
        handle: usize,
        id: u64,
    },
    /// A pointer to shared virtual memory.
    Svm {
        address: usize,
    },
    /// A pointer by `cl_intel_unified_shared_memory`, to memory of that kind or any other.
    Usm {
        address: usize,
    },
    /// A size without a value: `__local` memory, or a NULL buffer.
    Size {
        bytes: usize,
    },
    Bytes(Vec<u8>),
}

const UNSET: u32 = 0;
const MEM: u32 = 1;
const SIZE: u32 = 2;
const BYTES: u32 = 3;
const BIG: u32 = 4;
const SAMPLER: u32 = 5;
const QUEUE: u32 = 6;
const SVM: u32 = 7;
const USM: u32 = 8;
/// Bytes kept in place; longer values (structures) go to the heap.
const INLINE: usize = 64;

#[derive(Debug)]
pub struct Arg {
    pub kind: ArgKind,
    state: AtomicU32,
    size: AtomicUsize,
    words: [AtomicU64; INLINE / 8],
    big: AtomicPtr<Vec<u8>>,
}

impl Arg {
    pub fn new(kind: ArgKind) -> Arg {
        Arg {
            kind,
            state: AtomicU32::new(UNSET),
            size: AtomicUsize::new(0),
            words: Default::default(),
            big: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    #[inline]
    pub fn set_mem(&self, handle: usize, id: u64) {
        self.words[0].store(handle as u64, Ordering::Relaxed);
        self.words[1].store(id, Ordering::Relaxed);
        self.state.store(MEM, Ordering::Relaxed);
    }

    pub fn set_sampler(&self, handle: usize, id: u64) {
        self.set_mem(handle, id);
        self.state.store(SAMPLER, Ordering::Relaxed);
    }

    pub fn set_queue(&self, handle: usize, id: u64) {
        self.set_mem(handle, id);
        self.state.store(QUEUE, Ordering::Relaxed);
    }

    pub fn set_svm(&self, address: usize) {
        self.set_mem(address, 0);
        self.state.store(SVM, Ordering::Relaxed);
    }

    pub fn set_usm(&self, address: usize) {
        self.set_mem(address, 0);
        self.state.store(USM, Ordering::Relaxed);
    }

    /// It was set to what does not outlast a move.
    pub fn forget(&self) {
        self.state.store(UNSET, Ordering::Relaxed);
    }

    #[inline]
    pub fn set_size(&self, bytes: usize) {
        self.size.store(bytes, Ordering::Relaxed);
        self.state.store(SIZE, Ordering::Relaxed);
    }

    #[inline]
    pub fn set_bytes(&self, bytes: &[u8]) {
        // Most values are an `int`, a `float` or eight bytes.
        if let Ok(value) = bytes.try_into() {
            self.words[0].store(
                u64::from(u32::from_le_bytes(value)).to_le(),
                Ordering::Relaxed,
            );
        } else if let Ok(value) = bytes.try_into() {
            self.words[0].store(u64::from_ne_bytes(value), Ordering::Relaxed);
        } else if bytes.len() > INLINE {
            return self.set_big(bytes);
        } else {
            self.set_words(bytes);
        }
        self.size.store(bytes.len(), Ordering::Relaxed);
        self.state.store(BYTES, Ordering::Relaxed);
    }

    fn set_words(&self, bytes: &[u8]) {
        let mut chunks = bytes.chunks(8);
        for word in &self.words[..bytes.len().div_ceil(8)] {
            let chunk = chunks.next().unwrap_or(&[]);
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
    }

    #[cold]
    fn set_big(&self, bytes: &[u8]) {
        let new = Box::into_raw(Box::new(bytes.to_vec()));
        let old = self.big.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the swap made this the only owner of a box stored here before; readers run with the gate
            // closed or on the thread that sets arguments.
            drop(unsafe { Box::from_raw(old) });
        }
        self.state.store(BIG, Ordering::Release);
    }

    /// The buffer's handle and id, if the argument is one: the short cut for marking.
    #[inline]
    pub fn mem(&self) -> Option<(usize, u64)> {
        (self.state.load(Ordering::Relaxed) == MEM).then(|| {
            (
                self.words[0].load(Ordering::Relaxed) as usize,
                self.words[1].load(Ordering::Relaxed),
            )
        })
    }

    /// What the program set last.
    pub fn value(&self) -> ArgValue {
        let size = self.size.load(Ordering::Relaxed);
        let handle = self.words[0].load(Ordering::Relaxed) as usize;
        let id = self.words[1].load(Ordering::Relaxed);
        match self.state.load(Ordering::Acquire) {
            MEM => ArgValue::Mem { handle, id },
            SAMPLER => ArgValue::Sampler { handle, id },
            QUEUE => ArgValue::Queue { handle, id },
            SVM => ArgValue::Svm { address: handle },
            USM => ArgValue::Usm { address: handle },
            SIZE => ArgValue::Size { bytes: size },
            BYTES => {
                let words = self
                    .words
                    .iter()
                    .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
                ArgValue::Bytes(words.take(size.min(INLINE)).collect())
            }
            BIG => {
                // SAFETY: `BIG` is only stored after a box was; see `set_big` for who may replace it.
                unsafe { self.big.load(Ordering::Acquire).as_ref() }
                    .map_or(ArgValue::Unset, |bytes| ArgValue::Bytes(bytes.clone()))
            }
            _ => ArgValue::Unset,
        }
    }

    /// Takes over another argument's value: for `clCloneKernel`.
    pub fn copy_from(&self, other: &Arg) {
        match other.value() {
            ArgValue::Unset => {}
            ArgValue::Mem { handle, id } => self.set_mem(handle, id),
            ArgValue::Sampler { handle, id } => self.set_sampler(handle, id),
            ArgValue::Queue { handle, id } => self.set_queue(handle, id),
            ArgValue::Size { bytes } => self.set_size(bytes),
            ArgValue::Bytes(bytes) => self.set_bytes(&bytes),
            ArgValue::Svm { address } => self.set_svm(address),
            ArgValue::Usm { address } => self.set_usm(address),
        }
    }
}

impl Drop for Arg {
    fn drop(&mut self) {
        let big = *self.big.get_mut();
        if !big.is_null() {
            // SAFETY: stored by `set_big`, and `&mut self` makes this the only owner.
            drop(unsafe { Box::from_raw(big) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_what_was_set_last() {
        let arg = Arg::new(ArgKind::Value);
        assert_eq!(arg.value(), ArgValue::Unset);
        for length in [1, 4, 8, 12, 63, 64, 65, 300] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
            arg.set_bytes(&bytes);
            assert_eq!(arg.value(), ArgValue::Bytes(bytes));
        }
        arg.set_size(256);
        assert_eq!(arg.value(), ArgValue::Size { bytes: 256 });
        arg.set_mem(0x1000, 9);
        assert_eq!(
            arg.value(),
            ArgValue::Mem {
                handle: 0x1000,
                id: 9
            }
        );
        assert_eq!(arg.mem(), Some((0x1000, 9)));
        arg.set_sampler(0x2000, 10);
        assert_eq!(arg.mem(), None);
        assert_eq!(
            arg.value(),
            ArgValue::Sampler {
                handle: 0x2000,
                id: 10
            }
        );
        let clone = Arg::new(ArgKind::Value);
        clone.copy_from(&arg);
        assert_eq!(clone.value(), arg.value());
    }
}
