//! How much of everything a user has.

use std::time::{Duration, Instant};

/// What one agent serves.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sessions of all users. dom0 looks at 64 of a guest: root's own, which need no agent, have the rest.
    pub sessions: usize,
    /// Sessions of one user.
    pub sessions_of_user: usize,
    /// Pages that one session may be lent, 4 KiB each.
    pub pages: usize,
    /// Messages that a client may send at once.
    pub burst: u32,
    /// Messages that it may send each second, on average.
    pub rate: u32,
    /// How long a session's nodes stay when its process has hung up and goes on; it may run another program by now. A session whose GPU
    /// state is at dom0 has no such limit.
    pub reconnect: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 48,
            sessions_of_user: 16,
            pages: 8192,
            burst: 100,
            rate: 10,
            reconnect: Duration::from_secs(60),
        }
    }
}

/// How many pages the guest grants in all, of all its programs.
const GRANTS_LIMIT: &str = "/sys/module/xen_gntalloc/parameters/limit";

impl Limits {
    /// With pages for a session as this guest's own limit allows: a quarter.
    #[must_use]
    pub fn of_this_guest(self) -> Limits {
        const FEW: usize = 263;
        let limit = std::fs::read_to_string(GRANTS_LIMIT).unwrap_or_default();
        let quarter = limit.trim().parse::<usize>().map(|limit| limit / 4);
        Limits {
            pages: quarter.unwrap_or(self.pages).clamp(FEW, self.pages),
            ..self
        }
    }
}

/// A client's messages.
pub(crate) struct Allowance {
    left: f64,
    burst: f64,
    rate: f64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Allowance {
        Allowance {
            left: limits.burst.into(),
            burst: limits.burst.into(),
            rate: limits.rate.into(),
            at: now,
        }
    }

    /// What dom0 has asked for is answered with a few messages.
    pub(crate) fn asked(&mut self) {
        const ANSWERS: f64 = 4.0;
        self.left = (self.left + ANSWERS).min(self.burst);
    }

    /// Takes one; false where there is none left.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + since * self.rate).min(self.burst);
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let limits = Limits {
            burst: 3,
            rate: 2,
            ..Limits::default()
        };
        let start = Instant::now();
        let mut allowance = Allowance::new(&limits, start);
        let taken = |allowance: &mut Allowance, at: Duration| {
            (0..99).take_while(|_| allowance.take(start + at)).count()
        };
        assert_eq!(taken(&mut allowance, Duration::ZERO), 3);
        assert_eq!(taken(&mut allowance, Duration::from_secs(1)), 2);
        assert_eq!(
            taken(&mut allowance, Duration::from_secs(99)),
            3,
            "no more is saved up"
        );
        allowance.asked();
        assert_eq!(taken(&mut allowance, Duration::from_secs(99)), 3);
    }
}
