//! When pre-copy is over: pure arithmetic over what the rounds did.
//!
//! The aim is a blackout within the operator's budget. What it would be if the programs were stopped now is
//! predicted from what is left to copy, the rate at which rounds have copied, and [`Costs`] that no round can
//! shorten. Rounds end when that is within the budget, when more of them would not bring it there, or at a limit;
//! [`PrecopyEnd`] says which, and stands in the report.

use protocol::progress::StandingOrder;
use protocol::report::{PrecopyEnd, Predicted};
use std::time::Duration;

/// Rounds in a row that did not help, until it is given up.
const USELESS: u32 = 2;
/// A round helps if the blackout predicted after it is shorter by this part than the shortest before.
const HELP: f64 = 0.05;
/// What is left to copy no longer matters where it adds less than this part to the other costs.
const NEGLIGIBLE: f64 = 0.05;
/// Rounds smaller than this part of the largest tell little about the rate: their fixed costs prevail.
const TELLING: f64 = 0.125;
/// Bytes per second that are assumed before anything was measured.
const DEFAULT_RATE: f64 = 1e9;

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The blackout that is aimed at.
    pub budget: Duration,
    /// Most rounds.
    pub rounds: u32,
    /// Longest pre-copy.
    pub time: Duration,
    /// Most bytes sent in rounds.
    pub bytes: u64,
}

/// Parts of a blackout that rounds cannot shorten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FixedCosts<T> {
    /// From the closed gate to idle queues.
    pub drain: T,
    /// Seal, images put on record, driver unloaded, pages unmapped.
    pub unload: T,
    /// PCI devices detached.
    pub detach: T,
    /// VCPUs paused.
    pub paused: T,
    /// From running VCPUs to the open gate: session opened, devices attached, driver loaded, contents.
    pub arrive: T,
}

/// The parts as expected.
pub type Costs = FixedCosts<Duration>;

impl<T> FixedCosts<T> {
    /// Each part and that of `other` made one by `f`.
    pub fn with<U, V>(self, other: FixedCosts<U>, f: impl Fn(T, U) -> V) -> FixedCosts<V> {
        FixedCosts {
            drain: f(self.drain, other.drain),
            unload: f(self.unload, other.unload),
            detach: f(self.detach, other.detach),
            paused: f(self.paused, other.paused),
            arrive: f(self.arrive, other.arrive),
        }
    }
}

impl Costs {
    /// All of them.
    pub fn total(&self) -> Duration {
        let rest = [self.unload, self.detach, self.paused, self.arrive];
        let add = |sum: Duration, part| sum.saturating_add(part);
        rest.into_iter().fold(self.drain, add)
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of buffers sent.
    pub bytes: u64,
    /// Bytes that may have changed again.
    pub dirty: u64,
    /// Bytes of the guest's memory that have to be sent again; `None` where that is not known (any more).
    pub memory: Option<u64>,
    /// How long it took.
    pub took: Duration,
    /// When it was over, since pre-copy began.
    pub at: Duration,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Another round.
    GoOn,
    /// Another round, and the stop has to wait even where everything else is ready for it.
    Hold,
    /// The stop, as soon as the guest's memory is ready for it too; at once where it is [`PrecopyEnd::Forced`].
    Stop(PrecopyEnd),
}

/// The blackout there would be if the programs were stopped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// Sending what is left: buffers and, where known, memory.
    pub copy: Duration,
    /// Everything else.
    pub costs: Costs,
}

impl Prediction {
    /// The whole of it.
    pub fn total(&self) -> Duration {
        self.copy.saturating_add(self.costs.total())
    }
}

impl From<Prediction> for Predicted {
    fn from(Prediction { copy, costs }: Prediction) -> Self {
        Predicted {
            copy_s: copy.as_secs_f64(),
            drain_s: costs.drain.as_secs_f64(),
            unload_s: costs.unload.as_secs_f64(),
            detach_s: costs.detach.as_secs_f64(),
            paused_s: costs.paused.as_secs_f64(),
            arrive_s: costs.arrive.as_secs_f64(),
        }
    }
}

/// The rounds of one migration so far.
#[derive(Debug, Clone)]
pub struct Rounds {
    bounds: Bounds,
    costs: Costs,
    /// Bytes of buffers when it began.
    resident: u64,
    count: u32,
    bytes: u64,
    last: Option<Sent>,
    /// Known at some time, where it is not known now.
    memory: u64,
    /// Bytes of the guest's memory that the stop itself will write: drivers' own checkpoints.
    image: u64,
    largest: u64,
    rate: Option<f64>,
    /// The least that was left to copy, in bytes.
    best: u64,
    useless: u32,
}

impl Rounds {
    /// Before the first round; `resident` is what it will have to send.
    pub fn new(bounds: Bounds, costs: Costs, resident: u64) -> Self {
        Rounds {
            bounds,
            costs,
            resident,
            count: 0,
            bytes: 0,
            last: None,
            memory: 0,
            image: 0,
            largest: 0,
            rate: None,
            best: u64::MAX,
            useless: 0,
        }
    }

    /// What the stop will cost beside copying, and how many bytes of the guest's memory it will write itself, from now on.
    pub fn expect(&mut self, costs: Costs, image: u64) {
        self.costs = costs;
        self.image = image;
    }

    /// Number of the coming round: how many there were.
    pub fn next(&self) -> u32 {
        self.count
    }

    /// Bytes the coming round is expected to send.
    pub fn expected(&self) -> u64 {
        self.last.map_or(self.resident, |last| last.dirty)
    }

    /// A round is over.
    pub fn record(&mut self, sent: Sent) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(sent.bytes);
        self.memory = sent.memory.unwrap_or(self.memory);
        self.last = Some(sent);
        self.largest = self.largest.max(sent.bytes);
        let telling = sent.bytes > 0 && sent.bytes as f64 >= self.largest as f64 * TELLING;
        if telling && !sent.took.is_zero() {
            self.rate = Some(sent.bytes as f64 / sent.took.as_secs_f64());
        }
        // At one and the same rate: a rate that changed is no help of this round's.
        let left = self.left();
        let now = self.seconds(left);
        let before = self.seconds(self.best);
        match self.count == 1 || before - now > HELP * before {
            true => self.useless = 0,
            false => self.useless += 1,
        }
        self.best = self.best.min(left);
    }

    /// Bytes that a stop would have to send now.
    fn left(&self) -> u64 {
        self.expected().saturating_add(self.memory)
    }

    /// The blackout with `left` bytes to send.
    fn seconds(&self, left: u64) -> f64 {
        left as f64 / self.rate() + self.fixed().as_secs_f64()
    }

    /// Sending so many bytes.
    fn sending(&self, bytes: u64) -> Duration {
        let seconds = bytes as f64 / self.rate();
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// What no round can shorten: the costs, and the guest's memory that the stop itself writes.
    fn fixed(&self) -> Duration {
        let costs = self.costs.total();
        costs.saturating_add(self.sending(self.image))
    }

    /// Bytes per second at which rounds copy, or a guess before the first.
    pub fn rate(&self) -> f64 {
        self.rate.unwrap_or(DEFAULT_RATE)
    }

    /// What the blackout would be now.
    pub fn prediction(&self) -> Prediction {
        Prediction {
            copy: self.sending(self.left().saturating_add(self.image)),
            costs: self.costs,
        }
    }

    /// What the policy says, whatever the operator wishes.
    fn end(&self) -> Option<PrecopyEnd> {
        let Bounds {
            budget,
            rounds,
            time,
            bytes,
        } = self.bounds;
        let Some(last) = self.last else {
            return (rounds == 0).then_some(PrecopyEnd::Rounds);
        };
        let (copy, fixed) = (self.sending(self.left()), self.fixed());
        if copy.saturating_add(fixed) <= budget {
            Some(PrecopyEnd::Budget)
        } else if fixed >= budget && copy.as_secs_f64() <= fixed.as_secs_f64() * NEGLIGIBLE {
            Some(PrecopyEnd::FixedCosts)
        } else if self.useless >= USELESS {
            Some(PrecopyEnd::NoHelp)
        } else if self.count >= rounds {
            Some(PrecopyEnd::Rounds)
        } else if last.at >= time {
            Some(PrecopyEnd::Time)
        } else if self.bytes >= bytes {
            Some(PrecopyEnd::Bytes)
        } else {
            None
        }
    }

    /// What is next.
    pub fn decide(&self, wish: StandingOrder) -> Decision {
        match (wish, self.end()) {
            (StandingOrder::Force, _) => Decision::Stop(PrecopyEnd::Forced),
            (StandingOrder::Hold, _) => Decision::Hold,
            (StandingOrder::None, Some(end)) => Decision::Stop(end),
            (StandingOrder::None, None) => Decision::GoOn,
        }
    }

    /// Whether another round makes the stop shorter, or keeps it short while memory needs more time.
    pub fn is_of_use(&self, wish: StandingOrder) -> bool {
        match self.decide(wish) {
            Decision::GoOn | Decision::Hold => true,
            Decision::Stop(PrecopyEnd::Budget | PrecopyEnd::FixedCosts) => {
                self.count < self.bounds.rounds && self.bytes < self.bounds.bytes
            }
            Decision::Stop(_) => false,
        }
    }

    /// Time until the programs can be stopped, if each round leaves the same part of what it sent; `None` where the
    /// budget is out of reach like that.
    pub fn eta(&self) -> Option<Duration> {
        if self.end().is_some() {
            return Some(Duration::ZERO);
        }
        let fixed = self.fixed();
        let spare = self.bounds.budget.saturating_sub(fixed).as_secs_f64();
        let spare = spare.max(fixed.as_secs_f64() * NEGLIGIBLE);
        let enough = (spare * self.rate() - self.memory as f64).max(0.0);
        let mut left = self.expected() as f64;
        // Of the first round it is not known what it will leave.
        let shrinks = self
            .last
            .map_or(0.0, |l| l.dirty as f64 / l.bytes.max(1) as f64);
        let mut seconds = 0.0;
        for _ in self.count..self.bounds.rounds {
            seconds += left / self.rate();
            left *= shrinks;
            if left <= enough {
                return Duration::try_from_secs_f64(seconds).ok();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
