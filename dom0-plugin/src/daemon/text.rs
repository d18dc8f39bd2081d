//! Text that comes from a guest, made fit for logs, terminals and XenStore.

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
    fn long_texts_are_cut() {
        let shown = clean(&"x".repeat(100_000));
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}
