//! What the blackout consisted of, beside what was predicted when pre-copy ended. Both are to one scale.

use super::canvas::{Canvas, FAINT, LEFT, RIGHT, Rect, TEXT};
use crate::show::part;
use protocol::blackout::Part;
use protocol::report::Report;
use protocol::text::span;

const BAR: f64 = 24.0;
/// What no part took.
const REST: &str = "#bab0ac";

/// Of a part.
pub fn colour(part: Part) -> &'static str {
    match part {
        Part::Drain => "#f58518",
        Part::Copy => "#4c78a8",
        Part::Seal => "#83bcb6",
        Part::Unload => "#e45756",
        Part::Close => "#ffbf79",
        Part::Detach => "#b279a2",
        Part::Memory => "#9ecae9",
        Part::Suspend => "#54a24b",
        Part::Transfer => "#88d27a",
        Part::Resume => "#439894",
        Part::Connect => "#eeca3b",
        Part::Attach => "#d6a5c9",
        Part::Reload => "#ff9d98",
    }
}

/// A piece of a bar.
struct Piece {
    seconds: f64,
    colour: &'static str,
    name: &'static str,
}

/// Draws it, where anything is known of it.
pub fn draw(canvas: &mut Canvas, report: &Report) {
    let real = real(report);
    let predicted = predicted(report);
    let sum = |pieces: &[Piece]| pieces.iter().map(|p| p.seconds).sum::<f64>();
    let longest = sum(&real).max(sum(&predicted));
    if real.is_empty() || longest <= 0.0 {
        return;
    }
    let name = match report.blackout.whole() {
        Some(_) => "blackout",
        None => "blackout, here",
    };
    let top = canvas.take(24.0) + 20.0;
    canvas.text(20.0, top, 12.0, TEXT, "What programs waited for");
    for (name, pieces) in [(name, &real), ("predicted", &predicted)] {
        if pieces.is_empty() {
            continue;
        }
        let top = canvas.take(BAR + 8.0) + 8.0;
        canvas.text_to(LEFT - 10.0, top + 11.0, 12.0, TEXT, name);
        canvas.text_to(LEFT - 10.0, top + 23.0, 10.0, FAINT, &span(sum(pieces)));
        let mut x = LEFT;
        for piece in pieces {
            let width = (RIGHT - LEFT) * piece.seconds / longest;
            let rect = Rect {
                x,
                y: top,
                width,
                height: BAR,
            };
            let about = format!("{}: {}", piece.name, span(piece.seconds));
            canvas.rect(rect, piece.colour, &about);
            x += width;
        }
    }
    legend(canvas, &real);
}

fn real(report: &Report) -> Vec<Piece> {
    let parts = Part::ALL.into_iter().filter_map(|part| {
        Some(Piece {
            seconds: report.blackout.get(part)?.as_secs_f64(),
            colour: colour(part),
            name: part::name(part),
        })
    });
    let rest = report.blackout.rest().map(|rest| Piece {
        seconds: rest.as_secs_f64(),
        colour: REST,
        name: "elsewhere and in between",
    });
    parts.chain(rest).collect()
}

fn predicted(report: &Report) -> Vec<Piece> {
    let Some(precopy) = &report.precopy else {
        return Vec::new();
    };
    let predicted = precopy.predicted;
    [
        (predicted.drain_s, Part::Drain, "draining queues"),
        (predicted.copy_s, Part::Copy, "last chunks, memory's too"),
        (predicted.unload_s, Part::Unload, "seal, unload, unmap"),
        (predicted.detach_s, Part::Detach, "detaching PCI devices"),
        (predicted.paused_s, Part::Suspend, "VCPUs paused"),
        (predicted.arrive_s, Part::Reload, "arrival"),
    ]
    .into_iter()
    .filter(|(seconds, _, _)| *seconds > 0.0)
    .map(|(seconds, part, name)| Piece {
        seconds,
        colour: colour(part),
        name,
    })
    .collect()
}

fn legend(canvas: &mut Canvas, pieces: &[Piece]) {
    const ROW: f64 = 17.0;
    const COLUMNS: usize = 3;
    let rows = pieces.len().div_ceil(COLUMNS);
    let top = canvas.take(rows as f64 * ROW + 16.0) + 14.0;
    for (number, piece) in pieces.iter().enumerate() {
        let (column, row) = (number / rows, number % rows);
        let x = LEFT + column as f64 * 260.0;
        let y = top + row as f64 * ROW;
        let rect = Rect {
            x,
            y: y + 2.0,
            width: 10.0,
            height: 10.0,
        };
        canvas.rect(rect, piece.colour, piece.name);
        canvas.text(x + 16.0, y + 11.0, 11.0, TEXT, piece.name);
        canvas.text_to(x + 240.0, y + 11.0, 11.0, FAINT, &span(piece.seconds));
    }
}
