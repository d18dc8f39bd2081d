//! How fast rounds and passes were, and how much was dirty after each round. The axis of time is that of the lanes.

use super::canvas::{Canvas, FAINT, GRID, LEFT, RIGHT, Rect, TEXT};
use super::lanes::{marks, x};
use super::spans::Spans;
use protocol::report::Report;
use protocol::text::{bytes, span};

const HEIGHT: f64 = 130.0;
const ROUND: &str = "#4c78a8";
const PASS: &str = "#9ecae9";
const DIRTY: &str = "#e45756";

struct Sent {
    start: f64,
    took: f64,
    bytes: u64,
    colour: &'static str,
    what: String,
}

impl Sent {
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.took.max(1e-9)
    }
}

/// Draws them, where there are any.
pub fn draw(canvas: &mut Canvas, report: &Report, spans: &Spans) {
    let sent = sent(report);
    let fastest = sent.iter().map(Sent::rate).fold(0.0, f64::max);
    if fastest <= 0.0 {
        return;
    }
    let end = spans.end();
    let top = canvas.take(HEIGHT + 60.0) + 24.0;
    let bottom = top + HEIGHT;
    canvas.text(20.0, top - 8.0, 12.0, TEXT, "Rate of each");
    legend(canvas, top - 8.0, &sent);
    for mark in marks(fastest) {
        let y = bottom - HEIGHT * mark / fastest;
        canvas.line(&[(LEFT, y), (RIGHT, y)], GRID, 1.0);
        let label = format!("{}/s", bytes(mark as u64));
        canvas.text_to(LEFT - 10.0, y + 4.0, 10.0, FAINT, &label);
    }
    for one in &sent {
        let (from, to) = (x(one.start, end), x(one.start + one.took, end));
        let height = HEIGHT * one.rate() / fastest;
        let rect = Rect {
            x: from,
            y: bottom - height,
            width: to - from,
            height,
        };
        let rate = bytes(one.rate() as u64);
        let (count, took) = (bytes(one.bytes), span(one.took));
        let about = format!("{}: {count} in {took}, {rate}/s", one.what);
        canvas.rect(rect, one.colour, &about);
    }
    dirty(canvas, report, end, top);
}

/// Rounds after passes, so that they are drawn over them.
fn sent(report: &Report) -> Vec<Sent> {
    let mut sent = Vec::new();
    if let Some(ram) = &report.ram {
        let passes = ram.figures.passes.iter().zip(&ram.pass_starts_s);
        sent.extend(passes.enumerate().map(|(number, (pass, start))| Sent {
            start: *start,
            took: pass.seconds,
            bytes: pass.bytes,
            colour: PASS,
            what: format!("RAM pass {}", number + 1),
        }));
    }
    let rounds = report.precopy.iter().flat_map(|precopy| &precopy.rounds);
    sent.extend(rounds.enumerate().map(|(number, round)| Sent {
        start: round.start_s,
        took: round.took_s,
        bytes: round.bytes,
        colour: ROUND,
        what: format!("GPU round {number}"),
    }));
    sent
}

fn legend(canvas: &mut Canvas, y: f64, sent: &[Sent]) {
    let has = |colour| sent.iter().any(|s| s.colour == colour);
    let entries = [
        (ROUND, "GPU rounds", has(ROUND)),
        (PASS, "RAM passes", has(PASS)),
        (
            DIRTY,
            "dirty after each round, to its own scale",
            has(ROUND),
        ),
    ];
    let mut x = LEFT;
    for (colour, name, _) in entries.into_iter().filter(|(_, _, there)| *there) {
        let rect = Rect {
            x,
            y: y - 9.0,
            width: 10.0,
            height: 10.0,
        };
        canvas.rect(rect, colour, name);
        canvas.text(x + 15.0, y, 11.0, FAINT, name);
        x += 110.0;
    }
}

/// A step for each round: what it left.
fn dirty(canvas: &mut Canvas, report: &Report, end: f64, top: f64) {
    let rounds = || report.precopy.iter().flat_map(|precopy| &precopy.rounds);
    let most = rounds().map(|round| round.dirty_bytes).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let y = |dirty: u64| top + HEIGHT * (1.0 - dirty as f64 / most as f64);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for round in rounds() {
        let at = x(round.start_s + round.took_s, end);
        if let Some((_, before)) = points.last() {
            points.push((at, *before));
        }
        points.push((at, y(round.dirty_bytes)));
    }
    if let (Some(stop), Some((_, last))) = (report.stop_start_s, points.last()) {
        points.push((x(stop, end), *last));
    }
    canvas.line(&points, DIRTY, 2.0);
    let label = format!("at most {} dirty", bytes(most));
    canvas.text_to(RIGHT, top - 8.0, 11.0, DIRTY, &label);
}
