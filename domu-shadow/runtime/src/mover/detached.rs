//! Without a driver: releasing everything, and making it again.

use super::capture::Capture;
use super::error::MoveError;
use super::headroom::Headroom;
use super::postcopy::{Blackout, PostCopy};
use crate::gate::Closed;
use crate::vendor::unload::Holders;

/// No object of a driver exists and the drivers are unloaded. The contents of the buffers are only where the capture
/// sent them: dropping this value would open the gate to a program whose GPU state is gone.
pub struct Detached {
    closed: Closed,
    capture: Capture,
    headroom: Box<Headroom>,
    since: u64,
    holders: Box<Holders>,
}

pub(super) fn unload(
    closed: Closed,
    mut capture: Capture,
    mut headroom: Box<Headroom>,
    since: u64,
) -> Detached {
    let holders = headroom.while_unloading(|| capture.parts.release_driver());
    for library in &holders.libraries {
        log::info!("still loaded: {library}");
    }
    for device in &holders.devices {
        log::warn!("still held: {device}");
    }
    Detached {
        closed,
        capture,
        headroom,
        since,
        holders: Box::new(holders),
    }
}

impl Detached {
    /// When the gate closed, `CLOCK_BOOTTIME` ns.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Libraries that stay loaded, with the reason. Harmless where no device is held.
    pub fn libraries_held(&self) -> &[String] {
        &self.holders.libraries
    }

    /// Device nodes that the process still holds: while there are any, the GPU can't be taken away.
    pub fn devices_held(&self) -> &[String] {
        &self.holders.devices
    }

    /// A link to dom0 is about to be opened: what was kept for that is free.
    pub fn make_room_for_link(&mut self) {
        self.headroom.make_room_for_link();
    }

    /// Loads the drivers, makes every object again, on devices like those before, and opens the gate: the contents
    /// have to come now.
    ///
    /// # Errors
    /// `NoDevice`, or the driver's. Everything is released again, and it can be tried later.
    pub fn reload(mut self) -> Result<(PostCopy, Blackout), (Detached, MoveError)> {
        self.headroom.make_room_for_driver();
        let made = self.capture.parts.recreate();
        let Detached {
            closed,
            capture,
            headroom,
            since,
            ..
        } = self;
        match made {
            Ok(()) => Ok(PostCopy::open(closed, capture, since)),
            Err(error) => Err((unload(closed, capture, headroom, since), error)),
        }
    }
}
