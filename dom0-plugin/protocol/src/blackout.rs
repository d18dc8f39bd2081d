//! Where the time of a blackout went: parts that add up to the whole.
//!
//! The parts are laps of one clock of dom0's: each ends where the next one begins, so none overlaps another. The whole is
//! the program's own figure, by a clock that goes on while the domain is moved. After a move that clock follows another
//! host, so the two need not agree: a part never takes more of the whole than is left of it, and what no part took is
//! the rest. So nothing is negative, and parts and rest are the whole, whatever the clocks say.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A part of a blackout, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// From the closed gate to idle queues.
    Drain,
    /// The last chunks.
    Copy,
    /// Sealing the stream and putting images on record.
    Seal,
    /// Releasing objects and unloading the driver.
    Unload,
    /// Unmapping pages, and the guest's ending its side.
    Close,
    /// Detaching PCI devices.
    Detach,
    /// Memory that is compared and copied while the domain runs without its GPU: next to nothing, unless PCI devices had
    /// to be detached before.
    Memory,
    /// Suspending the domain.
    Suspend,
    /// The rest of its memory, until the toolstack was done with it at the source.
    Transfer,
    /// From the whole stream, or a suspended domain that stays, to the first request to open the session: the toolstack
    /// builds and starts the domain.
    Resume,
    /// Opening the session again.
    Connect,
    /// Until the guest had its PCI devices again.
    Attach,
    /// Loading the driver and making objects again.
    Reload,
}

impl Part {
    /// All of them, in the order of time.
    pub const ALL: [Part; 13] = [
        Part::Drain,
        Part::Copy,
        Part::Seal,
        Part::Unload,
        Part::Close,
        Part::Detach,
        Part::Memory,
        Part::Suspend,
        Part::Transfer,
        Part::Resume,
        Part::Connect,
        Part::Attach,
        Part::Reload,
    ];

    /// Its name in a report, in seconds.
    pub fn field(self) -> &'static str {
        match self {
            Part::Drain => "drain_s",
            Part::Copy => "copy_s",
            Part::Seal => "seal_s",
            Part::Unload => "unload_s",
            Part::Close => "close_s",
            Part::Detach => "detach_s",
            Part::Memory => "memory_s",
            Part::Suspend => "suspend_s",
            Part::Transfer => "transfer_s",
            Part::Resume => "resume_s",
            Part::Connect => "connect_s",
            Part::Attach => "attach_s",
            Part::Reload => "reload_s",
        }
    }
}

const WHOLE: &str = "gpu_blackout_s";
const REST: &str = "rest_s";

/// How long a program's GPU calls were blocked, and by what, as one end knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blackout {
    whole: Option<Duration>,
    parts: BTreeMap<Part, Duration>,
}

impl Blackout {
    /// Parts of a blackout that is not over, or whose end is not seen here.
    pub fn so_far(parts: impl IntoIterator<Item = (Part, Duration)>) -> Self {
        let mut sums = BTreeMap::new();
        for (part, took) in parts {
            let sum: &mut Duration = sums.entry(part).or_default();
            *sum = sum.saturating_add(took);
        }
        Blackout {
            whole: None,
            parts: sums,
        }
    }

    /// A blackout that was `whole` to the program. It ended with the last part, so the earlier ones are cut where there
    /// is less than they take.
    pub fn of(whole: Duration, parts: impl IntoIterator<Item = (Part, Duration)>) -> Self {
        let mut blackout = Blackout::so_far(parts);
        blackout.whole = Some(whole);
        let mut left = whole;
        for took in blackout.parts.values_mut().rev() {
            *took = (*took).min(left);
            left -= *took;
        }
        blackout
    }

    /// The whole of it, where its end is known.
    pub fn whole(&self) -> Option<Duration> {
        self.whole
    }

    /// One part, where this end knows it.
    pub fn get(&self, part: Part) -> Option<Duration> {
        self.parts.get(&part).copied()
    }

    /// What the known parts come to.
    pub fn known(&self) -> Duration {
        let add = |sum: Duration, part: &Duration| sum.saturating_add(*part);
        self.parts.values().fold(Duration::ZERO, add)
    }

    /// What no part took, where the whole is known: at the destination, the source's end and the way.
    pub fn rest(&self) -> Option<Duration> {
        // Cut to fit: never negative.
        self.whole.map(|whole| whole.saturating_sub(self.known()))
    }
}

impl Serialize for Blackout {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let parts = Part::ALL.map(|part| (part.field(), self.get(part)));
        let ends = [(WHOLE, self.whole), (REST, self.rest())];
        let all = parts.into_iter().chain(ends);
        to.collect_map(all.map(|(name, time)| (name, time.map(|t| t.as_secs_f64()))))
    }
}

impl<'de> Deserialize<'de> for Blackout {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Among the other fields of a report.
        let fields = BTreeMap::<String, Value>::deserialize(from)?;
        // A negative time, of an earlier version, is none.
        let time = |name| Duration::try_from_secs_f64(fields.get(name)?.as_f64()?).ok();
        let part = |part: Part| Some((part, time(part.field())?));
        let parts = Part::ALL.into_iter().filter_map(part);
        Ok(match time(WHOLE) {
            Some(whole) => Blackout::of(whole, parts),
            None => Blackout::so_far(parts),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Parts in any order, also twice, and of any length that a guest may tell.
    fn parts() -> impl Strategy<Value = Vec<(Part, Duration)>> {
        let nanos = prop_oneof![0..10_000_000_000u64, Just(0), Just(u64::MAX)];
        let part = (0..Part::ALL.len()).prop_map(|n| Part::ALL[n]);
        vec((part, nanos.prop_map(Duration::from_nanos)), 0..20)
    }

    fn sum(blackout: &Blackout) -> Duration {
        let parts = Part::ALL.into_iter().filter_map(|p| blackout.get(p));
        parts.chain(blackout.rest()).sum()
    }

    proptest! {
        #[test]
        fn parts_and_rest_are_the_whole(parts in parts(), whole in 0..20_000_000_000u64) {
            let whole = Duration::from_nanos(whole);
            let blackout = Blackout::of(whole, parts.clone());
            prop_assert_eq!(sum(&blackout), whole);
            // Whatever order the figures came in.
            let turned = Blackout::of(whole, parts.into_iter().rev());
            prop_assert_eq!(turned, blackout);
        }

        #[test]
        fn a_report_keeps_it(parts in parts(), whole in 0..20_000_000_000u64) {
            for blackout in [
                Blackout::of(Duration::from_nanos(whole), parts.clone()),
                Blackout::so_far(parts.into_iter().filter(|(_, d)| d.as_secs() < 1000)),
            ] {
                let json = serde_json::to_value(&blackout).unwrap();
                let negative = |v: &serde_json::Value| v.as_f64().is_some_and(|s| s < 0.0);
                prop_assert!(!json.as_object().unwrap().values().any(negative));
                prop_assert_eq!(serde_json::from_value::<Blackout>(json).unwrap(), blackout);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_from_the_front() {
        let second = Duration::from_secs;
        let parts = [(Part::Seal, second(3)), (Part::Reload, second(2))];
        let blackout = Blackout::of(second(4), parts);
        assert_eq!(blackout.get(Part::Reload), Some(second(2)));
        assert_eq!(blackout.get(Part::Seal), Some(second(2)));
        assert_eq!(blackout.rest(), Some(Duration::ZERO));
        assert_eq!(Blackout::of(second(9), parts).rest(), Some(second(4)));
    }
}
