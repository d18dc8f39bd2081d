//! Private copies of a guest's pages.

use super::error::RamError;
use super::page::{BATCH, PAGE};
use xen_bindings::ForeignMemory;

/// What a thread works with: 4 MiB of memory.
pub struct PageCopier {
    memory: ForeignMemory,
    pages: Vec<u8>,
}

impl PageCopier {
    pub fn new() -> Result<Self, RamError> {
        Ok(Self {
            memory: ForeignMemory::open()?,
            pages: vec![0; BATCH * PAGE],
        })
    }

    /// Copies the wanted ones of a batch's pages, and calls `each` with their index, the copy and how many copies were
    /// kept before it; it says whether this one is to be kept. The copies kept, one after the other.
    pub fn copy(
        &mut self,
        domid: u32,
        wanted: &[(usize, u64)],
        mut each: impl FnMut(usize, &[u8; PAGE]) -> bool,
    ) -> Result<&[u8], RamError> {
        let frames: Vec<u64> = wanted.iter().map(|(_, frame)| *frame).collect();
        let mut kept = 0;
        if !frames.is_empty() {
            let map = self.memory.map(domid, &frames)?;
            for (place, (index, _)) in wanted.iter().enumerate() {
                let page: &mut [u8; PAGE] = (&mut self.pages[kept * PAGE..][..PAGE])
                    .try_into()
                    .expect("a page");
                if map.read(place, page) && each(*index, page) {
                    kept += 1;
                }
            }
        }
        Ok(&self.pages[..kept * PAGE])
    }
}
