//! What a migration under way is at: `xl-gpu status --watch`, and the nodes below `control/gpu-migration/progress`.

use serde::{Deserialize, Serialize};

/// What the operator wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StandingOrder {
    /// What the policy says.
    #[default]
    None,
    /// Rounds, and no stop.
    Hold,
    /// Stop now.
    Force,
}

/// What a migration is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Sessions are being opened.
    Opening,
    /// A round is under way.
    Round,
    /// Between two rounds: memory's turn, or a hold.
    Between,
    /// The programs' GPU calls wait.
    Stop,
    /// The GPU state is in the stream, and the guest about to be suspended or so already.
    Left,
}

/// A migration under way, in bytes, bytes per second and milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// What the operator wants: `none`, `hold` or `force`.
    pub wish: StandingOrder,
    /// Number of the round, or of the last one.
    pub round: u32,
    /// Sent in this round, or in the stop, so far.
    pub bytes: u64,
    /// What that is expected to come to.
    pub expected: u64,
    /// Of `bytes`, what travelled as references to equal ones.
    pub copies: u64,
    /// Beside `bytes`, what was said to be zero in this round or in the stop so far.
    pub zero: u64,
    /// What may have changed again since it was sent, after the last round.
    pub dirty: Option<u64>,
    /// Device bytes that are left to drivers' own checkpoints: they go in the stop.
    #[serde(default)]
    pub left: u64,
    /// The last telling round's rate.
    pub rate: Option<u64>,
    /// The blackout if the programs were stopped now.
    pub predicted: Option<u64>,
    /// The blackout that is aimed at.
    pub budget: u64,
    /// Until the programs can be stopped; absent where that is out of reach.
    pub eta: Option<u64>,
    /// Since it began.
    pub elapsed: u64,
}
