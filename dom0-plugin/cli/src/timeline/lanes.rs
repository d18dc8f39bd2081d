//! What happened when, on one axis of time.

use super::blackout::colour;
use super::canvas::{Canvas, FAINT, GRID, LEFT, RIGHT, Rect, TEXT};
use super::spans::Spans;
use protocol::text::span;

const LANE: f64 = 26.0;
const BAR: f64 = 18.0;
/// Rounds and passes.
const PLAIN: &str = "#4c78a8";

/// From a time to its place.
pub fn x(seconds: f64, end: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * (seconds / end.max(1e-9)).clamp(0.0, 1.0)
}

/// Marks of an axis that ends at `end`: at most nine, at 1, 2 or 5 times a power of ten.
pub fn marks(end: f64) -> Vec<f64> {
    if end <= 0.0 || !end.is_finite() {
        return vec![0.0];
    }
    let power = 10f64.powf((end / 8.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    let step = steps.into_iter().find(|step| end / step <= 8.0);
    let step = step.unwrap_or(10.0 * power);
    (0..=8)
        .map(|n| f64::from(n) * step)
        .take_while(|mark| *mark <= end)
        .collect()
}

/// Draws them.
pub fn draw(canvas: &mut Canvas, spans: &Spans) {
    if spans.lanes.is_empty() {
        return;
    }
    let end = spans.end();
    let height = LANE * spans.lanes.len() as f64;
    let top = canvas.take(height + 44.0) + 16.0;
    for mark in marks(end) {
        let x = x(mark, end);
        canvas.line(&[(x, top), (x, top + height)], GRID, 1.0);
        let label = match mark {
            0.0 => "0".to_owned(),
            mark => span(mark),
        };
        canvas.text(x + 2.0, top + height + 12.0, 10.0, FAINT, &label);
    }
    for (number, (name, lane)) in spans.lanes.iter().enumerate() {
        let y = top + LANE * number as f64;
        canvas.text_to(LEFT - 10.0, y + 15.0, 12.0, TEXT, name);
        for one in lane {
            let (from, to) = (x(one.start, end), x(one.end(), end));
            let rect = Rect {
                x: from,
                y: y + (LANE - BAR) / 2.0,
                width: to - from,
                height: BAR,
            };
            canvas.rect(rect, one.part.map_or(PLAIN, colour), &one.about);
        }
    }
}
