//! A report as a drawing: `xl-gpu report --svg`.
//!
//! | module | draws |
//! |---|---|
//! | [`canvas`] | shapes and text |
//! | [`span`](mod@spans) | when what happened, from the report |
//! | [`lanes`] | that, on one axis of time |
//! | [`rates`] | how fast rounds and passes were, and what was dirty after them |
//! | [`blackout`] | what the blackout consisted of, beside what was predicted |

mod blackout;
mod canvas;
mod lanes;
mod rates;
mod spans;

use crate::show::history::moment;
use crate::show::report::why;
use canvas::{Canvas, FAINT, TEXT};
use protocol::report::Report;
use protocol::text::{bytes, span};
use spans::Spans;

/// The drawing.
pub fn svg(report: &Report) -> String {
    let mut canvas = Canvas::default();
    heading(&mut canvas, report);
    let spans = Spans::of(report);
    lanes::draw(&mut canvas, &spans);
    rates::draw(&mut canvas, report, &spans);
    blackout::draw(&mut canvas, report);
    canvas.finish()
}

fn heading(canvas: &mut Canvas, report: &Report) {
    let outcome = match (report.ok, &report.error) {
        (Some(true), _) => "went through".to_owned(),
        (Some(false), Some(error)) => format!("failed: {error}"),
        (Some(false), None) => "failed".to_owned(),
        (None, _) => "under way".to_owned(),
    };
    let name = match report.name.is_empty() {
        true => format!("domain {}", report.domid),
        false => format!("{} ({})", report.name, report.domid),
    };
    let top = canvas.take(28.0);
    canvas.text(
        20.0,
        top + 20.0,
        16.0,
        TEXT,
        &format!("{name}, {}", report.role),
    );
    let top = canvas.take(20.0);
    let when = moment(report.started);
    canvas.text(
        20.0,
        top + 12.0,
        12.0,
        TEXT,
        &format!("{when} UTC, {outcome}"),
    );
    let mut facts = vec![format!("{} sessions", report.sessions.len())];
    let precopy = report
        .gpu_bytes
        .precopy
        .iter()
        .fold(0u64, |sum, b| sum.saturating_add(*b));
    facts.push(format!(
        "{} of buffers before the stop, {} in it",
        bytes(precopy),
        bytes(report.gpu_bytes.stop)
    ));
    facts.extend(report.total_s.map(|total| format!("{} here", span(total))));
    let whole = report.blackout.whole();
    facts.extend(whole.map(|whole| format!("GPU calls blocked {}", span(whole.as_secs_f64()))));
    let top = canvas.take(18.0);
    canvas.text(20.0, top + 11.0, 12.0, FAINT, &facts.join("; "));
    if let Some(ended) = report.precopy.as_ref().and_then(|precopy| precopy.ended) {
        let top = canvas.take(18.0);
        let text = format!("pre-copy ended: {}", why(ended));
        canvas.text(20.0, top + 11.0, 12.0, FAINT, &text);
    }
}

#[cfg(test)]
mod tests;
