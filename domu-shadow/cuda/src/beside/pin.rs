//! Shared pages that the driver has pinned, so that transfers into and out of them run at the bus's rate, beside each other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use channel::memory::SharedPages;
use runtime::poll::by_deadline;

use super::aside::Aside;
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

/// How long a session waits for pages to be let go of: longer than most kernels run.
const PATIENCE: Duration = Duration::from_millis(250);

/// Pages that are being let go of.
static ENDING: AtomicUsize = AtomicUsize::new(0);

/// Whether all pages have been let go of whose [`Pin`] was dropped. False at the deadline.
pub fn have_ended(deadline: Instant) -> bool {
    by_deadline(deadline, || ENDING.load(Ordering::Acquire) == 0)
}

impl Drop for Pin {
    /// The driver lets go no earlier than the program's work ends. That may wait for a call of the program's, or for ever: the session
    /// goes on meanwhile, and the pages stay mapped.
    fn drop(&mut self) {
        ENDING.fetch_add(1, Ordering::AcqRel);
        let (home, pages) = (self.home.clone(), self.pages.clone());
        match Aside::start("xl-gpu-unpin", move || let_go(&home, pages)) {
            Ok(_) => _ = have_ended(Instant::now() + PATIENCE),
            Err(_) => let_go(&self.home, self.pages.clone()),
        }
    }
}

fn let_go(home: &Home, pages: SharedPages) {
    let at = pages.as_ptr().cast();
    let here = home.enter();
    let unpinned = call!(cuMemHostUnregister(at));
    // With the context it was pinned in the driver lets go by itself.
    if let (Ok(_), Err(error)) = (here, unpinned) {
        complain("", &error);
    }
    drop(pages);
    ENDING.fetch_sub(1, Ordering::AcqRel);
}
