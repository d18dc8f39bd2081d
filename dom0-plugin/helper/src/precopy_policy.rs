//! When to stop the pre-copy: GPU and memory together.

use std::ffi::c_int;

use protocol::helper::Next;
use xen_bindings::guest::{
    PrecopyStats, XGS_POLICY_ABORT, XGS_POLICY_CONTINUE_PRECOPY, XGS_POLICY_STOP_AND_COPY,
};

pub const ABORT: c_int = XGS_POLICY_ABORT;
pub const CONTINUE: c_int = XGS_POLICY_CONTINUE_PRECOPY as c_int;
pub const STOP: c_int = XGS_POLICY_STOP_AND_COPY as c_int;

/// How often the GPU side can put off the stop once memory is ready for it, more than `precopy_rounds` can ask for:
/// a faulty daemon does not keep the guest.
const MOST_DEFERRALS: u32 = 1100;

/// libxc's own policy (`simple_precopy_policy` in `xg_sr_save.c`): stop with fewer than 50 dirty pages, or after 5
/// rounds.
pub fn libxc_default(stats: PrecopyStats) -> c_int {
    if (0..50).contains(&stats.dirty_count) || stats.iteration >= 5 {
        STOP
    } else {
        CONTINUE
    }
}

/// The decision for both sides.
#[derive(Debug, Default)]
pub struct JointPolicy {
    deferrals: u32,
}

impl JointPolicy {
    /// `memory` is the decision of libxl's or libxc's policy. Stops when both sides want to; the operator may hold it
    /// for as long as he likes, or force it.
    pub fn decide(&mut self, memory: c_int, gpu: Next) -> c_int {
        match gpu {
            _ if memory == ABORT => ABORT,
            Next::Force => STOP,
            Next::Hold => CONTINUE,
            Next::Round if memory == STOP && self.deferrals < MOST_DEFERRALS => {
                self.deferrals += 1;
                CONTINUE
            }
            Next::Round | Next::Stop => memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(iteration: u32, dirty_count: i64) -> PrecopyStats {
        PrecopyStats {
            iteration,
            total_written: 0,
            dirty_count,
        }
    }

    #[test]
    fn default_policy_is_libxc_s() {
        assert_eq!(libxc_default(stats(0, 65536)), CONTINUE);
        assert_eq!(libxc_default(stats(1, -1)), CONTINUE);
        assert_eq!(libxc_default(stats(1, 50)), CONTINUE);
        assert_eq!(libxc_default(stats(1, 49)), STOP);
        assert_eq!(libxc_default(stats(1, 0)), STOP);
        assert_eq!(libxc_default(stats(5, -1)), STOP);
    }

    #[test]
    fn stops_only_when_both_want_to() {
        let mut joint = JointPolicy::default();
        assert_eq!(joint.decide(CONTINUE, Next::Stop), CONTINUE);
        assert_eq!(joint.decide(STOP, Next::Round), CONTINUE);
        assert_eq!(joint.decide(STOP, Next::Stop), STOP);
    }

    #[test]
    fn the_operator_holds_and_forces() {
        let mut joint = JointPolicy::default();
        assert_eq!(joint.decide(CONTINUE, Next::Force), STOP);
        for _ in 0..2 * MOST_DEFERRALS {
            assert_eq!(joint.decide(STOP, Next::Hold), CONTINUE);
        }
        assert_eq!(joint.decide(STOP, Next::Round), CONTINUE);
    }

    #[test]
    fn abort_is_never_put_off() {
        for gpu in [Next::Round, Next::Hold, Next::Stop, Next::Force] {
            assert_eq!(JointPolicy::default().decide(ABORT, gpu), ABORT);
        }
    }

    #[test]
    fn the_gpu_cannot_put_off_the_stop_for_ever() {
        let mut joint = JointPolicy::default();
        let asked = (1..)
            .find(|_| joint.decide(STOP, Next::Round) == STOP)
            .unwrap();
        assert_eq!(asked, MOST_DEFERRALS + 1);
    }
}
