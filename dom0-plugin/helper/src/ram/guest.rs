//! A guest's pages: which there are, of what kind, and where.

use xen_bindings::guest::{
    XEN_DOMCTL_PFINFO_LTAB_MASK, XEN_DOMCTL_PFINFO_NOTAB, XEN_DOMCTL_PFINFO_XTAB,
};

use super::calls::{Calls, Meminfo};
use super::error::RamError;
use super::page::BATCH;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Ordinary memory, which travels as it is; the frame to map.
    Plain(u64),
    /// Nothing: ballooned out, a hole, or not this guest's.
    Hole,
    /// A page table, which travels in another form, or a broken page: libxc's business.
    Other,
}

/// A guest that is being saved.
#[derive(Debug)]
pub struct Guest {
    calls: &'static Calls,
    xch: usize,
    domid: u32,
    /// PVH too: its page numbers are its frames.
    translated: bool,
    pfns: usize,
}

impl Guest {
    pub fn open(xch: usize, domid: u32) -> Result<Self, RamError> {
        let calls = Calls::get().ok_or(RamError::NoFunction)?;
        let translated = calls.is_hvm(xch, domid);
        let mut guest = Self {
            calls,
            xch,
            domid,
            translated,
            pfns: 0,
        };
        guest.pfns = match translated {
            true => calls.nr_gpfns(xch, domid).map_err(RamError::Size)?,
            // The same computation on the same words as libxc's for the stream: the receiver of a paravirtual guest
            // refuses pages beyond what the stream has announced.
            false => guest.meminfo()?.len(),
        };
        Ok(guest)
    }

    pub fn domid(&self) -> u32 {
        self.domid
    }

    /// Pages have numbers below this.
    pub fn pfns(&self) -> usize {
        self.pfns
    }

    /// Whether a hole needs no record: the receiver of such a guest has none where it was told nothing.
    pub fn holes_need_no_record(&self) -> bool {
        self.translated
    }

    /// Its pages as they are now. A paravirtual guest may exchange the frames of its table, so each pass looks anew.
    pub fn look(&self) -> Result<View<'_>, RamError> {
        let table = match self.translated {
            true => None,
            false => Some(self.meminfo()?),
        };
        match &table {
            Some(table) if table.len() != self.pfns => Err(RamError::Resized {
                now: table.len(),
                before: self.pfns,
            }),
            _ => Ok(View { guest: self, table }),
        }
    }

    fn meminfo(&self) -> Result<Meminfo, RamError> {
        self.calls
            .map_meminfo(self.xch, self.domid)
            .map_err(RamError::P2m)
    }
}

/// A guest's pages at one time.
#[derive(Debug)]
pub struct View<'g> {
    guest: &'g Guest,
    table: Option<Meminfo>,
}

impl View<'_> {
    /// What the pages from `first` on are, [`BATCH`] of them or up to the last.
    pub fn batch(&self, first: usize) -> Result<Vec<Page>, RamError> {
        let count = BATCH.min(self.guest.pfns - first);
        if let Some(table) = &self.table {
            return Ok((first..first + count)
                .map(|pfn| match table.frame(pfn) {
                    Some(frame) => kind(table.kind(pfn), frame),
                    None => Page::Hole,
                })
                .collect());
        }
        let mut kinds: Vec<u64> = (first as u64..(first + count) as u64).collect();
        self.guest
            .calls
            .types(self.guest.xch, self.guest.domid, &mut kinds)
            .map_err(|error| RamError::Types { first, error })?;
        let numbered = kinds.into_iter().zip(first as u64..);
        Ok(numbered.map(|(k, frame)| kind(k, frame)).collect())
    }
}

/// Of a page's type as Xen tells it.
fn kind(told: u64, frame: u64) -> Page {
    match told as u32 & XEN_DOMCTL_PFINFO_LTAB_MASK {
        XEN_DOMCTL_PFINFO_NOTAB => Page::Plain(frame),
        XEN_DOMCTL_PFINFO_XTAB => Page::Hole,
        _ => Page::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_pages_are_plain() {
        assert_eq!(kind(0, 5), Page::Plain(5));
        assert_eq!(kind(0xf000_0000, 5), Page::Hole);
        // Page tables of each level, pinned or not; a pinned one without a type; allocate-only; broken.
        for told in [1u64, 2, 3, 4, 9, 0xa, 0xb, 0xc, 8, 0xe, 0xd] {
            assert_eq!(kind(told << 28, 5), Page::Other, "{told:x}");
        }
    }
}
