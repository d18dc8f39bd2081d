//! Shared pages that the driver has pinned, so that transfers into and out of them run at the bus's rate, beside each other.

use channel::memory::SharedPages;

use super::home::{Home, call, complain};
use crate::abi::*;

/// The pages, pinned for all contexts. Transfers must have ended when it is dropped.
pub struct Pin {
    home: Home,
    // Unmapped no earlier than the driver has let go.
    pages: SharedPages,
}

impl Pin {
    /// `None` where the driver refuses: transfers work without, through its own copies.
    pub fn new(home: &Home, pages: &SharedPages) -> Option<Pin> {
        let (at, bytes) = (pages.as_ptr().cast(), pages.len());
        let pinned = home
            .enter()
            .and_then(|_here| call!(cuMemHostRegister_v2(at, bytes, CU_MEMHOSTREGISTER_PORTABLE)));
        match pinned {
            Ok(()) => Some(Pin {
                home: home.clone(),
                pages: pages.clone(),
            }),
            Err(error) => {
                log::info!("{bytes} shared bytes are not pinned: {error}");
                None
            }
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let at = self.pages.as_ptr().cast();
        let here = self.home.enter();
        let unpinned = call!(cuMemHostUnregister(at));
        // With the context it was pinned in the driver lets go by itself.
        if let (Ok(_), Err(error)) = (here, unpinned) {
            complain("", &error);
        }
    }
}
