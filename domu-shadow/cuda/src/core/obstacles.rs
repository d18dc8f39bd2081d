//! What keeps the process from moving.

use runtime::blocked::Obstacle;

/// `cuMemAllocManaged`: the driver's checkpoint cannot carry it, and spoils the process.
pub static MANAGED: Obstacle = Obstacle::new("managed memory (cuMemAllocManaged)");

static ALL: [&Obstacle; 1] = [&MANAGED];

/// Why the process cannot be moved for now, if so.
pub fn blocked() -> Option<String> {
    let reason = ALL.iter().find_map(|obstacle| obstacle.blocks());
    reason.map(str::to_owned)
}
