//! The parts of a blackout, as people call them.

use protocol::blackout::Part;

/// Its name.
pub fn name(part: Part) -> &'static str {
    match part {
        Part::Drain => "draining queues",
        Part::Copy => "last chunks",
        Part::Seal => "seal and record",
        Part::Unload => "unloading the driver",
        Part::Close => "unmapping pages",
        Part::Detach => "detaching PCI devices",
        Part::Memory => "memory without the GPU",
        Part::Suspend => "suspending",
        Part::Transfer => "the rest of memory",
        Part::Resume => "resuming",
        Part::Connect => "opening sessions",
        Part::Attach => "attaching PCI devices",
        Part::Reload => "loading the driver again",
    }
}
