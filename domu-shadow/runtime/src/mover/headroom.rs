//! Room that the way back needs; without it a move is refused.

use super::error::MoveError;
use crate::reserve::{Reserve, Room};

/// Held from the closing gate to the driver's return.
pub(super) struct Headroom {
    /// For another link to dom0, as this one ends before the domain is suspended.
    link: Reserve,
    /// For the driver, and for looking after it.
    driver: Reserve,
    /// What drivers have freed, at most.
    freed: Room,
}

impl Headroom {
    /// # Errors
    /// `NoHeadroom` where the process may not have so much.
    pub(super) fn take() -> Result<Box<Headroom>, MoveError> {
        let take = |room| Reserve::take(room).map_err(MoveError::NoHeadroom);
        Ok(Box::new(Headroom {
            link: take(Room::LINK)?,
            driver: take(Room::WORK)?,
            freed: Room::default(),
        }))
    }

    /// Another link is about to be opened.
    pub(super) fn make_room_for_link(&mut self) {
        self.link = Reserve::default();
    }

    /// The driver is about to be loaded.
    pub(super) fn make_room_for_driver(&mut self) {
        self.driver = Reserve::default();
    }

    /// Unloads the driver, and takes what that frees.
    pub(super) fn while_unloading<T>(&mut self, unload: impl FnOnce() -> T) -> T {
        self.make_room_for_driver();
        let before = Room::in_use();
        let done = unload();
        // A driver that could not be loaded wholly frees less than it needs.
        if let (Some(before), Some(now)) = (before, Room::in_use()) {
            self.freed = self.freed.max(before.without(now));
        }
        self.driver = Reserve::at_most(Room::WORK.and(self.freed));
        done
    }
}

/// Whether the process may not have what a move needs, now.
pub fn lacks_headroom() -> bool {
    Headroom::take().is_err()
}
