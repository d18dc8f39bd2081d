//! What a blackout costs beside copying, as earlier ones here have shown.
//!
//! Learnt for each session, and for the host as a whole: a session that has come from elsewhere is expected to cost
//! what the last one did. A host that has learnt nothing expects [`DEFAULTS`].

use super::driver_costs::Way;
use super::rounds::{Costs, FixedCosts};
use channel::image::SessionId;
use channel::link::LeftToDriver;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Before anything was measured: what releasing, unloading, detaching and loading again take with NVIDIA's driver
/// (`docs/performance.md`, "Fixed costs"), buffers' memory and what is left to the driver's own checkpoint left out.
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

/// What a session has, as far as the costs of a stop depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes of buffers.
    pub bytes: u64,
    /// What is left to its driver's own checkpoint.
    pub left: LeftToDriver,
}

impl Load {
    /// One of several whose drivers move `all` bytes together.
    fn beside(self, all: u64) -> Load {
        let bytes = if self.left.bytes > 0 { all } else { 0 };
        let left = LeftToDriver { bytes, ..self.left };
        Load { left, ..self }
    }
}

/// Bytes left to the drivers of all.
fn all_left(sessions: &[(SessionId, Load)]) -> u64 {
    let add = |sum: u64, (_, load): &(SessionId, Load)| sum.saturating_add(load.left.bytes);
    sessions.iter().fold(0, add)
}

/// Most sessions that are remembered one by one.
const MAX_SESSIONS: usize = 1024;

/// What a part has cost; `None` where that was never seen.
pub type Seen = FixedCosts<Option<Duration>>;

/// The most of a part that is expected of a session because another one has shown it: parts are what guests tell, and one
/// must not spoil the predictions for all others.
const MOST_OF_OTHERS: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Book {
    host: Seen,
    sessions: BTreeMap<SessionId, Seen>,
    checkpoint: Way,
    restore: Way,
}

impl Default for Book {
    fn default() -> Self {
        Book {
            host: Seen::default(),
            sessions: BTreeMap::new(),
            checkpoint: Way::CHECKPOINT,
            restore: Way::RESTORE,
        }
    }
}

impl Book {
    /// What a session's stop costs whatever it has.
    fn fixed(&self, session: &SessionId) -> Costs {
        let seen = self.sessions.get(session).copied().unwrap_or_default();
        seen.with(self.host, Option::or)
            .with(DEFAULTS, Option::unwrap_or)
    }

    /// How long the unload takes for what a session has.
    fn unload(&self, load: Load) -> Duration {
        freeing(load.bytes).saturating_add(self.checkpoint.cost(load.left))
    }

    /// How fast the driver is, where these sessions have enough for it. The one that takes longest was seen.
    fn learn_rates(&mut self, sessions: &[(SessionId, Load)], seen: &Seen) {
        let longest = sessions.iter().max_by_key(|(_, load)| self.unload(*load));
        let Some((session, load)) = longest else {
            return;
        };
        let load = load.beside(all_left(sessions));
        let fixed = self.fixed(session);
        if let Some(took) = seen.unload {
            let others = fixed.unload.saturating_add(freeing(load.bytes));
            self.checkpoint
                .learn(load.left, took.saturating_sub(others));
        }
        if let Some(took) = seen.arrive {
            self.restore
                .learn(load.left, took.saturating_sub(fixed.arrive));
        }
    }
}

/// What was learnt, by session.
#[derive(Debug, Default)]
pub struct CostModel(Mutex<Book>);

impl CostModel {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sessions that were moved together have cost `seen`.
    pub fn learn(&self, sessions: impl IntoIterator<Item = (SessionId, Load)>, seen: Seen) {
        let sessions: Vec<_> = sessions.into_iter().collect();
        let mut book = self.book();
        book.learn_rates(&sessions, &seen);
        let all = all_left(&sessions);
        let loads = || sessions.iter().map(|(_, load)| load.beside(all));
        // The session with most took longest.
        let unload = loads().map(|load| book.unload(load)).max();
        let restore = loads().map(|load| book.restore.cost(load.left)).max();
        let fixed =
            |took: Duration, of: Option<Duration>| took.saturating_sub(of.unwrap_or_default());
        let seen = Seen {
            unload: seen.unload.map(|took| fixed(took, unload)),
            arrive: seen.arrive.map(|took| fixed(took, restore)),
            ..seen
        };
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

    /// What moving these sessions together will cost: they run side by side, so the longest counts, but drivers share the bus.
    /// `devices`: PCI devices have
    /// to be detached, too.
    pub fn expect(
        &self,
        sessions: impl IntoIterator<Item = (SessionId, Load)>,
        devices: bool,
    ) -> Costs {
        let book = self.book();
        let sessions: Vec<_> = sessions.into_iter().collect();
        let all = all_left(&sessions);
        let of_session = |(session, load): (SessionId, Load)| {
            let load = load.beside(all);
            let fixed = book.fixed(&session);
            let restore = book.restore.cost(load.left);
            Costs {
                unload: fixed.unload.saturating_add(book.unload(load)),
                arrive: fixed.arrive.saturating_add(restore),
                ..fixed
            }
        };
        let all = sessions.into_iter().map(of_session);
        let longest = all.reduce(|all, one| all.with(one, Ord::max));
        let costs = longest.unwrap_or_else(|| book.host.with(DEFAULTS, Option::unwrap_or));
        Costs {
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
    const NOBODY: [(SessionId, Load); 0] = [];

    fn buffers(bytes: u64) -> Load {
        Load {
            bytes,
            ..Load::default()
        }
    }

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
        assert_eq!(
            costs.expect([(a, buffers(0))], false).unload,
            DEFAULTS.unload
        );
        costs.learn([(a, buffers(0))], unload(3 * S));
        costs.learn([(b, buffers(0))], unload(2 * S));
        assert_eq!(costs.expect([(a, buffers(0))], false).unload, 3 * S);
        assert_eq!(costs.expect([(b, buffers(0))], false).unload, 2 * S);
        assert_eq!(
            costs.expect([(c, buffers(0))], false).unload,
            2 * S,
            "the last one"
        );
        assert_eq!(
            costs
                .expect([(a, buffers(0)), (b, buffers(0))], false)
                .unload,
            3 * S,
            "the longest"
        );
        costs.learn(
            [(a, buffers(0))],
            Seen {
                drain: Some(S),
                ..Seen::default()
            },
        );
        let costs = costs.expect([(a, buffers(0))], false);
        assert_eq!((costs.drain, costs.unload), (S, 3 * S), "parts are kept");
    }

    #[test]
    fn what_one_session_tells_hardly_matters_to_others() {
        let [liar, other] = [1, 2].map(|n| SessionId([n; 16]));
        let costs = CostModel::default();
        costs.learn([(liar, buffers(0))], unload(3600 * S));
        assert_eq!(costs.expect([(liar, buffers(0))], false).unload, 3600 * S);
        assert_eq!(
            costs.expect([(other, buffers(0))], false).unload,
            MOST_OF_OTHERS
        );
    }

    #[test]
    fn buffers_take_their_time_to_be_freed() {
        const GIB: u64 = 1 << 30;
        let [a, b] = [1, 2].map(|n| SessionId([n; 16]));
        let costs = CostModel::default();
        let first = costs.expect([(a, buffers(100 * GIB))], false).unload;
        assert_eq!(first, DEFAULTS.unload + 100 * FREEING);
        costs.learn([(a, buffers(100 * GIB)), (b, buffers(GIB))], unload(S));
        assert_eq!(costs.expect([(a, buffers(100 * GIB))], false).unload, S);
        let small = costs.expect([(b, buffers(GIB))], false).unload;
        assert_eq!(small, S - 99 * FREEING);
        let absurd = costs.expect([(b, buffers(u64::MAX))], false).unload;
        assert!(absurd > 3600 * S, "{absurd:?}");
    }

    #[test]
    fn what_is_left_to_the_driver_takes_its_time() {
        const GIB: u64 = 1 << 30;
        let [a, b] = [1, 2].map(|n| SessionId([n; 16]));
        let cuda = |gib: u64| Load {
            bytes: 0,
            left: LeftToDriver {
                contexts: 1,
                bytes: gib * GIB,
                pinned: 0,
            },
        };
        let costs = CostModel::default();
        let empty = costs.expect([(a, cuda(0))], false);
        assert_eq!(empty.unload, DEFAULTS.unload + Duration::from_millis(310));
        assert_eq!(empty.arrive, DEFAULTS.arrive + Duration::from_millis(260));
        let guessed = costs.expect([(a, cuda(6))], false);
        // Twice as fast as expected, both ways.
        let seen = Seen {
            unload: Some(empty.unload + (guessed.unload - empty.unload) / 2),
            arrive: Some(empty.arrive + (guessed.arrive - empty.arrive) / 2),
            ..Seen::default()
        };
        costs.learn([(a, cuda(6))], seen);
        let near = |one: Duration, other: Duration| one.abs_diff(other) < Duration::from_millis(1);
        let again = costs.expect([(a, cuda(6))], false);
        assert!(near(again.unload, seen.unload.unwrap()), "{again:?}");
        assert!(near(again.arrive, seen.arrive.unwrap()), "{again:?}");
        let other = costs.expect([(b, cuda(12))], false);
        assert!(near(other.unload, guessed.unload), "{other:?}");
        assert!(near(other.arrive, guessed.arrive), "{other:?}");
        assert!(near(
            costs.expect([(b, cuda(0))], false).unload,
            empty.unload
        ));
        let both = costs.expect([(a, cuda(6)), (b, cuda(6))], false);
        assert!(near(both.unload, guessed.unload), "{both:?}");
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
            costs.learn([(SessionId(id), buffers(0))], unload(S));
        }
        assert!(costs.book().sessions.len() <= MAX_SESSIONS);
    }
}
