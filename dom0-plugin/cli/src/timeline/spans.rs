//! When what happened, from a report: seconds since the migration began.

use crate::show::part;
use protocol::blackout::Part;
use protocol::report::{Report, Role};
use protocol::text::{bytes, span};

/// Something that took a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub start: f64,
    pub took: f64,
    /// For its colour: rounds and passes have none.
    pub part: Option<Part>,
    pub about: String,
}

impl Span {
    /// When it was over.
    pub fn end(&self) -> f64 {
        self.start + self.took
    }
}

/// Lanes with a name each, in the order of the drawing; those in which nothing happened are left out.
#[derive(Debug, Default)]
pub struct Spans {
    pub lanes: Vec<(&'static str, Vec<Span>)>,
}

impl Spans {
    /// All that is known of when it was.
    pub fn of(report: &Report) -> Self {
        let mut spans = Spans::default();
        spans.lane("RAM passes", passes(report));
        spans.lane("GPU rounds", rounds(report));
        match report.role {
            Role::Destination => {
                let came = report.total_s.unwrap_or(0.0);
                let about = format!("records came for {}", span(came));
                spans.lane("records come", vec![plain(0.0, came, about)]);
                let parts = parts(report, came);
                let served = parts.iter().find(|s| s.part != Some(Part::Resume));
                let served = served.map_or(came, |first| first.start);
                spans.lane("programs wait", parts);
                let contents = report
                    .restore_s
                    .map(|took| plain(served, took, format!("contents came for {}", span(took))));
                spans.lane("contents come", contents.into_iter().collect());
            }
            Role::Source | Role::Rehearsal => {
                if let Some(start) = report.stop_start_s {
                    spans.lane("programs wait", parts(report, start));
                }
            }
        }
        spans
    }

    fn lane(&mut self, name: &'static str, spans: Vec<Span>) {
        if !spans.is_empty() {
            self.lanes.push((name, spans));
        }
    }

    /// When the last of it was over.
    pub fn end(&self) -> f64 {
        let all = self.lanes.iter().flat_map(|(_, spans)| spans);
        all.map(Span::end).fold(0.0, f64::max)
    }
}

fn plain(start: f64, took: f64, about: String) -> Span {
    Span {
        start,
        took,
        part: None,
        about,
    }
}

fn rounds(report: &Report) -> Vec<Span> {
    let rounds = report.precopy.iter().flat_map(|precopy| &precopy.rounds);
    rounds
        .enumerate()
        .map(|(number, round)| {
            let about = format!(
                "round {number}: {} in {}, {} dirty again",
                bytes(round.bytes),
                span(round.took_s),
                bytes(round.dirty_bytes)
            );
            plain(round.start_s, round.took_s, about)
        })
        .collect()
}

fn passes(report: &Report) -> Vec<Span> {
    let Some(ram) = &report.ram else {
        return Vec::new();
    };
    let passes = ram.figures.passes.iter().zip(&ram.pass_starts_s);
    passes
        .enumerate()
        .map(|(number, (pass, start))| {
            let (sent, took) = (bytes(pass.bytes), span(pass.seconds));
            plain(
                *start,
                pass.seconds,
                format!("pass {}: {sent} in {took}", number + 1),
            )
        })
        .collect()
}

/// The blackout's parts, one after the other. They are laps of one clock, so each begins where the last one ended.
fn parts(report: &Report, start: f64) -> Vec<Span> {
    let mut start = start;
    let known = Part::ALL.into_iter().filter_map(|part| {
        let took = report.blackout.get(part)?.as_secs_f64();
        Some((part, took))
    });
    known
        .map(|(part, took)| {
            let begun = start;
            start += took;
            Span {
                start: begun,
                took,
                part: Some(part),
                about: format!("{}: {}", part::name(part), span(took)),
            }
        })
        .collect()
}
