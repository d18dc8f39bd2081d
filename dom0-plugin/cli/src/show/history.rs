//! `xl-gpu history`.

use super::page::{Table, Width, cut, left, right};
use super::style::{BAD, FAINT, GOOD, ODD};
use anstyle::Style;
use protocol::history::{History, Outcome};
use protocol::report::Role;
use protocol::text::{bytes, span};
use std::time::{Duration, UNIX_EPOCH};

/// A moment for people, in UTC, to the minute.
pub fn moment(seconds: u64) -> String {
    // The last moment that can be written so.
    let since = Duration::from_secs(seconds.min(253_402_300_799));
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
    text[..16].replace('T', " ")
}

/// One line for each, the newest last; below it why it did not go through.
pub fn text(history: &History, width: Width) -> String {
    if history.migrations.is_empty() {
        return "no migrations\n".into();
    }
    let mut table = Table::new([
        left("BEGUN (UTC)"),
        cut("DOMAIN"),
        left("WAY"),
        left("END"),
        right("GPU"),
        right("BLACKOUT"),
        right("LENGTH"),
    ]);
    let plain = |text: String| (text, Style::new());
    let seconds = |time: Option<f64>| plain(time.map_or_else(|| "-".into(), span));
    for migration in &history.migrations {
        let way = match migration.role {
            Role::Source => "out",
            Role::Destination => "in",
            Role::Rehearsal => "here",
        };
        let style = match migration.outcome {
            Outcome::Ok => GOOD,
            Outcome::Failed => BAD,
            Outcome::Refused => ODD,
        };
        table.row([
            (moment(migration.started), FAINT),
            plain(migration.name.clone()),
            plain(way.into()),
            (migration.outcome.to_string(), style),
            plain(bytes(migration.gpu_bytes)),
            seconds(migration.blackout_s),
            seconds(migration.duration_s),
        ]);
        if let Some(error) = &migration.error {
            table.below(error);
        }
    }
    table.text(width, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;
    use protocol::history::Migration;
    use protocol::report::Report;

    #[test]
    fn a_line_says_how_it_went_and_why_not() {
        let mut report = Report::new(Role::Source, 5);
        (report.name, report.started) = ("a-name-that-is-long".into(), 1_796_081_400);
        report.ok = Some(true);
        report.gpu_bytes.stop = 12 << 30;
        report.total_s = Some(45.25);
        let mut other = report.clone();
        (other.ok, other.refused) = (Some(false), true);
        other.error = Some("spool: no room ".repeat(10));
        let migrations = [report, other];
        let history = History {
            migrations: migrations.iter().filter_map(Migration::of).collect(),
        };
        let shown = strip_str(&text(&history, Width::TERMINAL)).to_string();
        assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        let line = shown.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2], ["2026-11-30", "23:30"], "{shown}");
        assert_eq!(words[3..], ["out", "ok", "12.0", "GiB", "-", "45.2", "s"]);
        assert!(shown.contains("refused"), "{shown}");
        assert!(shown.contains("\n  spool: no room"), "{shown}");
        assert_eq!(
            text(&History::default(), Width::TERMINAL),
            "no migrations\n"
        );
    }
}
