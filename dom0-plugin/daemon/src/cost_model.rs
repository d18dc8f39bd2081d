//! What a blackout costs beside copying, as earlier ones here have shown.
//!
//! Learnt for each session, and for the host as a whole: a session that has come from elsewhere is expected to cost
//! what the last one did. A host that has learnt nothing expects [`DEFAULTS`].

use super::rounds::{Costs, FixedCosts};
use channel::image::SessionId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Before anything was measured: what releasing, unloading, detaching and loading again take with NVIDIA's driver
/// (`docs/performance.md`, "Fixed costs"), buffers' memory left out.
const DEFAULTS: Costs = Costs {
    drain: Duration::from_millis(10),
    unload: Duration::from_millis(160),
    detach: Duration::from_millis(400),
    paused: Duration::from_millis(50),
    arrive: Duration::from_millis(270),
};

/// What the unload takes longer for each GiB of buffers: drivers free them one by one (same place).
const FREEING: Duration = Duration::from_micros(900);

/// How much of the unload goes into freeing `bytes` of buffers.
fn freeing(bytes: u64) -> Duration {
    let gib = bytes as f64 / (1u64 << 30) as f64;
    // Nothing has so much memory that this would not fit; a guest may say it has.
    Duration::try_from_secs_f64(FREEING.as_secs_f64() * gib).unwrap_or(Duration::MAX)
}

/// Most sessions that are remembered one by one.
const MAX_SESSIONS: usize = 1024;

/// What a part has cost; `None` where that was never seen.
pub type Seen = FixedCosts<Option<Duration>>;

/// The most of a part that is expected of a session because another one has shown it: parts are what guests tell, and one
/// must not spoil the predictions for all others.
const MOST_OF_OTHERS: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Book {
    host: Seen,
    sessions: BTreeMap<SessionId, Seen>,
}

/// What was learnt, by session.
#[derive(Debug, Default)]
pub struct CostModel(Mutex<Book>);

impl CostModel {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sessions, with their bytes of buffers, that were moved together have cost `seen`.
    pub fn learn(&self, sessions: impl IntoIterator<Item = (SessionId, u64)>, seen: Seen) {
        let sessions: Vec<_> = sessions.into_iter().collect();
        // The session with most took longest.
        let most = sessions.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let fixed = |unload: Duration| unload.saturating_sub(freeing(most));
        let seen = Seen {
            unload: seen.unload.map(fixed),
            ..seen
        };
        let mut book = self.book();
        let newer = |new: Option<Duration>, old| new.or(old);
        let at_most = |new: Option<Duration>, old| newer(new.map(|t| t.min(MOST_OF_OTHERS)), old);
        book.host = seen.with(book.host, at_most);
        for (session, _) in sessions {
            let known = book.sessions.get(&session).copied().unwrap_or_default();
            if book.sessions.len() >= MAX_SESSIONS {
                book.sessions.pop_first();
            }
            book.sessions.insert(session, seen.with(known, newer));
        }
    }

    /// What moving these sessions, with their bytes of buffers, together will cost: they run side by side, so the longest
    /// counts. `devices`: PCI devices have to be detached, too.
    pub fn expect(
        &self,
        sessions: impl IntoIterator<Item = (SessionId, u64)>,
        devices: bool,
    ) -> Costs {
        let book = self.book();
        let mut most = 0;
        let mut longest = Seen::default();
        for (session, bytes) in sessions {
            most = most.max(bytes);
            let seen = book.sessions.get(&session).copied().unwrap_or_default();
            longest = longest.with(seen, Ord::max);
        }
        let costs = longest
            .with(book.host, Option::or)
            .with(DEFAULTS, Option::unwrap_or);
        Costs {
            unload: costs.unload.saturating_add(freeing(most)),
            detach: if devices {
                costs.detach
            } else {
                Duration::ZERO
            },
            ..costs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const NOBODY: [(SessionId, u64); 0] = [];

    fn unload(time: Duration) -> Seen {
        Seen {
            unload: Some(time),
            ..Seen::default()
        }
    }

    #[test]
    fn a_session_costs_what_it_has_cost_else_what_another_has() {
        let [a, b, c] = [1, 2, 3].map(|n| SessionId([n; 16]));
        let costs = CostModel::default();
        assert_eq!(costs.expect([(a, 0)], false).unload, DEFAULTS.unload);
        costs.learn([(a, 0)], unload(3 * S));
        costs.learn([(b, 0)], unload(2 * S));
        assert_eq!(costs.expect([(a, 0)], false).unload, 3 * S);
        assert_eq!(costs.expect([(b, 0)], false).unload, 2 * S);
        assert_eq!(costs.expect([(c, 0)], false).unload, 2 * S, "the last one");
        assert_eq!(
            costs.expect([(a, 0), (b, 0)], false).unload,
            3 * S,
            "the longest"
        );
        costs.learn(
            [(a, 0)],
            Seen {
                drain: Some(S),
                ..Seen::default()
            },
        );
        let costs = costs.expect([(a, 0)], false);
        assert_eq!((costs.drain, costs.unload), (S, 3 * S), "parts are kept");
    }

    #[test]
    fn what_one_session_tells_hardly_matters_to_others() {
        let [liar, other] = [1, 2].map(|n| SessionId([n; 16]));
        let costs = CostModel::default();
        costs.learn([(liar, 0)], unload(3600 * S));
        assert_eq!(costs.expect([(liar, 0)], false).unload, 3600 * S);
        assert_eq!(costs.expect([(other, 0)], false).unload, MOST_OF_OTHERS);
    }

    #[test]
    fn buffers_take_their_time_to_be_freed() {
        const GIB: u64 = 1 << 30;
        let [a, b] = [1, 2].map(|n| SessionId([n; 16]));
        let costs = CostModel::default();
        let first = costs.expect([(a, 100 * GIB)], false).unload;
        assert_eq!(first, DEFAULTS.unload + 100 * FREEING);
        costs.learn([(a, 100 * GIB), (b, GIB)], unload(S));
        assert_eq!(costs.expect([(a, 100 * GIB)], false).unload, S);
        let small = costs.expect([(b, GIB)], false).unload;
        assert_eq!(small, S - 99 * FREEING);
        let absurd = costs.expect([(b, u64::MAX)], false).unload;
        assert!(absurd > 3600 * S, "{absurd:?}");
    }

    #[test]
    fn devices_cost_where_there_are_any() {
        let costs = CostModel::default();
        assert_eq!(costs.expect(NOBODY, false).detach, Duration::ZERO);
        assert_eq!(costs.expect(NOBODY, true).detach, DEFAULTS.detach);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let costs = CostModel::default();
        for n in 0..2 * MAX_SESSIONS as u64 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            costs.learn([(SessionId(id), 0)], unload(S));
        }
        assert!(costs.book().sessions.len() <= MAX_SESSIONS);
    }
}
