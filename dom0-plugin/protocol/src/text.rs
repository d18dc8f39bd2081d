//! Text for people: what comes from a guest, made fit for logs, terminals and XenStore; sizes.

use channel::link::LeftToDriver;

/// Longest text of a guest that is shown, in characters.
pub const SHOWN: usize = 200;

/// `text` without control or formatting characters (escape sequences, line breaks, bidirectional marks), and
/// not longer than [`SHOWN`].
pub fn clean(text: &str) -> String {
    let mut chars = text.chars();
    let mut clean: String = chars
        .by_ref()
        .take(SHOWN)
        .map(|c| if is_harmless(c) { c } else { '?' })
        .collect();
    if chars.next().is_some() {
        clean.push('…');
    }
    clean
}

/// A number of bytes as people read it.
pub fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} B"),
        10_000..10_240_000 => format!("{:.1} KiB", n as f64 / 1024.0),
        10_240_000..10_737_418_240 => format!("{:.1} MiB", n as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", n as f64 / f64::from(1 << 30)),
    }
}

/// A length of time as people read it.
pub fn span(seconds: f64) -> String {
    // More than anybody waits; what is not a number is none.
    let whole = seconds.max(0.0) as u64;
    match whole {
        0 if seconds < 0.01 => format!("{:.1} ms", seconds.max(0.0) * 1e3),
        0 => format!("{:.0} ms", seconds * 1e3),
        1..10 => format!("{seconds:.2} s"),
        10..120 => format!("{seconds:.1} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        7200..172_800 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// What a session leaves to its driver's own checkpoint, as people read it; nothing where that is nothing.
pub fn left_to_driver(left: LeftToDriver) -> Option<String> {
    if left == LeftToDriver::default() {
        return None;
    }
    let mut text = format!("left to the driver: {}", bytes(left.bytes));
    if left.contexts > 1 {
        text += &format!(" of {} contexts", left.contexts);
    }
    if left.pinned > 0 {
        text += &format!("; pinned in the guest: {}", bytes(left.pinned));
    }
    Some(text)
}

fn is_harmless(c: char) -> bool {
    let hidden = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_letters() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{202e}d\u{9b}e"), "a?[31mb??c?d?e");
        assert_eq!(clean("größe 42 %"), "größe 42 %");
    }

    #[test]
    fn times_have_as_many_digits_as_they_deserve() {
        for (seconds, text) in [
            (0.0, "0.0 ms"),
            (0.00123, "1.2 ms"),
            (0.3124, "312 ms"),
            (2.5, "2.50 s"),
            (45.25, "45.2 s"),
            (605.0, "10 min 5 s"),
            (7384.0, "2 h 3 min"),
            (200_000.0, "2 d 7 h"),
            (-1.0, "0.0 ms"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn what_is_left_to_the_driver_is_told_where_there_is_any() {
        let mut left = LeftToDriver::default();
        assert_eq!(left_to_driver(left), None);
        left.contexts = 1;
        left.bytes = 12 << 30;
        assert_eq!(
            left_to_driver(left).unwrap(),
            "left to the driver: 12.0 GiB"
        );
        left.contexts = 2;
        left.pinned = 14 << 30;
        assert_eq!(
            left_to_driver(left).unwrap(),
            "left to the driver: 12.0 GiB of 2 contexts; pinned in the guest: 14.0 GiB"
        );
    }

    #[test]
    fn long_texts_are_cut() {
        let shown = clean(&"x".repeat(100_000));
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}
