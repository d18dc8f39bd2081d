//! Clocks over a suspend, and how long the VCPUs stood still.
//!
//! Over a suspend `CLOCK_BOOTTIME` goes on and `CLOCK_MONOTONIC` does not (clock_gettime(2)), so the
//! growth of their difference is the time the domain was paused, as the guest's kernel saw it.

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    boot_ns: u64,
    running_ns: u64,
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` has room for the answer; both clocks always exist on Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// `CLOCK_BOOTTIME`, ns: the clock that goes on over a suspend.
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

impl Moment {
    pub fn now() -> Moment {
        Moment {
            boot_ns: boot_ns(),
            running_ns: read(libc::CLOCK_MONOTONIC),
        }
    }

    /// Nanoseconds since then, pauses included.
    pub fn elapsed_ns(&self) -> u64 {
        boot_ns().saturating_sub(self.boot_ns)
    }

    /// Nanoseconds of pause since then.
    pub fn paused_ns(&self) -> u64 {
        let now = Moment::now();
        let all = now.boot_ns.saturating_sub(self.boot_ns);
        all.saturating_sub(now.running_ns.saturating_sub(self.running_ns))
    }
}
