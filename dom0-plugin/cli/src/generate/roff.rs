//! From the Markdown of `docs/` to what `man` reads: as much of either as those pages use.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::fmt::Write as _;

/// A manual page. Its first heading is `name(section)`.
pub fn page(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_DEFINITION_LIST;
    let mut page = Page::default();
    for event in Parser::new_ext(markdown, options) {
        page.event(event);
    }
    page.out
}

/// What text is in, and where it goes.
#[derive(Debug, Default)]
struct Page {
    out: String,
    /// Text of the block that is open.
    text: String,
    /// In the section NAME, which programs read: no font, a dash for a colon.
    is_name: bool,
    is_code_block: bool,
    /// Of the item or definition that has just begun: its first paragraph goes on the line of its tag.
    is_first: bool,
    /// Lists, definitions and items that are open.
    depth: usize,
    /// Cells of the row that is open.
    cells: Vec<String>,
    is_table_head: bool,
}

impl Page {
    fn event(&mut self, event: Event) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_code_block => self.text.push_str(&literal(&text)),
            Event::Text(text) => self.text.push_str(&escaped(&text)),
            Event::Code(code) if self.is_name => self.text.push_str(&literal(&code)),
            Event::Code(code) => {
                let _ = write!(self.text, "\\fB{}\\fR", literal(&code));
            }
            Event::SoftBreak | Event::HardBreak => self.text.push(' '),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag) {
        match tag {
            Tag::Emphasis => self.text.push_str("\\fI"),
            Tag::Strong => self.text.push_str("\\fB"),
            Tag::CodeBlock(_) => self.is_code_block = true,
            Tag::TableHead => self.is_table_head = true,
            Tag::DefinitionListDefinition | Tag::Item => {
                // An item whose text is no paragraph of its own, before a list within it.
                self.loose_text();
                if matches!(tag, Tag::Item) {
                    self.line(".IP \\(bu 2");
                }
                self.is_first = true;
                self.depth += 1;
            }
            Tag::List(_) => {
                self.loose_text();
                if self.depth > 0 {
                    self.line(".RS");
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong => self.text.push_str("\\fR"),
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph => self.paragraph(),
            TagEnd::CodeBlock => {
                self.is_code_block = false;
                let text = std::mem::take(&mut self.text);
                self.line(".PP\n.RS 4\n.nf");
                // A line that begins with a dot would be a request.
                for line in text.lines() {
                    let guard = if line.starts_with(['.', '\'']) {
                        "\\&"
                    } else {
                        ""
                    };
                    self.line(&format!("{guard}{line}"));
                }
                self.line(".fi\n.RE");
            }
            TagEnd::DefinitionListTitle => {
                let title = std::mem::take(&mut self.text);
                self.line(".TP");
                self.line(&guarded(&title));
            }
            TagEnd::DefinitionListDefinition | TagEnd::Item => {
                self.loose_text();
                self.depth -= 1;
                self.is_first = false;
            }
            TagEnd::List(_) if self.depth > 0 => self.line(".RE"),
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.text)),
            TagEnd::TableHead => {
                // Each row says it by itself: what it is about, and what there is to say.
                self.is_table_head = false;
                self.cells.clear();
            }
            TagEnd::TableRow => {
                let cells = std::mem::take(&mut self.cells);
                if let Some((last, before)) = cells.split_last() {
                    self.line(".TP");
                    self.line(&guarded(&before.join(": ")));
                    self.line(&guarded(last));
                }
            }
            _ => {}
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let text = std::mem::take(&mut self.text);
        match level {
            HeadingLevel::H1 => {
                let (name, section) = text
                    .trim_end_matches(')')
                    .split_once('(')
                    .unwrap_or((&text, "7"));
                let name = name.to_uppercase().replace("\\-", "-");
                let version = version::VERSION;
                self.line(&format!(
                    ".TH \"{name}\" \"{section}\" \"\" \"xl-gpu {version}\" \"xl-gpu\""
                ));
                // No line is broken within a word, and none is stretched.
                self.line(".nh\n.ad l");
            }
            HeadingLevel::H2 => {
                let text = text.to_uppercase();
                self.is_name = text == "NAME";
                self.line(&format!(".SH {text}"));
            }
            _ => self.line(&format!(".SS {text}")),
        }
    }

    fn paragraph(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        if self.is_name {
            text = text.replacen(": ", " \\- ", 1).replacen(" - ", " \\- ", 1);
            return self.line(&text);
        }
        let first = std::mem::replace(&mut self.is_first, false);
        match (self.depth > 0, first) {
            (true, true) => {}
            // Keeps the indentation of what it belongs to.
            (true, false) => self.line(".IP"),
            (false, _) => self.line(".PP"),
        }
        self.line(&guarded(&text));
    }

    /// Text that is in no paragraph: that of a tight list.
    fn loose_text(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.trim().is_empty() {
            self.is_first = false;
            self.line(&guarded(&text));
        }
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

/// Text in which a dash may be a hyphen. Not every roff reads UTF-8.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    out
}

/// Text to be typed as it stands: a dash is a dash, and quotes are straight.
fn literal(text: &str) -> String {
    escaped(text)
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
}

/// Text at the beginning of a line, where a dot or quote would make it a request.
fn guarded(text: &str) -> String {
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn markdown_becomes_roff() {
        let page = page(
            "# tool(8)\n\n## Name\n\n`tool-x`: does it\n\n## Use\n\nSee [that page](x.md) and *FILE*, `-v`.\n\n\
             `--name` *VALUE*\n: First\n  line.\n\n  Second:\n\n  - one\n  - two `.x`\n\n\
             ```sh\n.hidden 'a' \\ b\n```\n\n| a | b | c |\n|---|---|---|\n| `X` | `0` | text |\n",
        );
        let lines: Vec<&str> = page.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                ".nh",
                ".ad l",
                ".SH NAME",
                "tool\\-x \\- does it",
                ".SH USE",
                ".PP",
                "See that page and \\fIFILE\\fR, \\fB\\-v\\fR.",
                ".TP",
                "\\fB\\-\\-name\\fR \\fIVALUE\\fR",
                "First line.",
                ".IP",
                "Second:",
                ".RS",
                ".IP \\(bu 2",
                "one",
                ".IP \\(bu 2",
                "two \\fB.x\\fR",
                ".RE",
                ".PP",
                ".RS 4",
                ".nf",
                "\\&.hidden \\(aqa\\(aq \\e b",
                ".fi",
                ".RE",
                ".TP",
                "\\fBX\\fR: \\fB0\\fR",
                "text",
            ]
        );
        assert!(page.starts_with(".TH \"TOOL\" \"8\" "), "{page}");
    }

    #[test]
    fn a_line_of_text_is_no_request() {
        let page = page("# x(1)\n\n## Use\n\n'quoted' begins\n\n.so does this…\n");
        assert!(page.contains("\n\\&'quoted' begins\n"), "{page}");
        assert!(page.contains("\n\\&.so does this\\[u2026]\n"), "{page}");
    }
}
