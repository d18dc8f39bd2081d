//! Text on a terminal: lines that do not exceed its width, and tables.

use super::style::{HEADING, paint};
use anstyle::Style;

/// A terminal's lines are used up to here: longer ones are hard to read.
const WIDEST: usize = 80;
/// On a narrower terminal lines are broken by itself.
const NARROWEST: usize = 40;

/// Characters of a line; none where no terminal breaks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width(Option<usize>);

impl Width {
    /// Of the terminal that standard output is, if it is one.
    pub fn of_stdout() -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stdout());
        Width(size.ok().map(|size| match size.ws_col {
            // What a serial line says that knows no better.
            0 => WIDEST,
            columns => usize::from(columns).clamp(NARROWEST, WIDEST),
        }))
    }

    /// As long as they come.
    #[cfg(test)]
    pub const ENDLESS: Width = Width(None);
    /// Those of a terminal.
    #[cfg(test)]
    pub const TERMINAL: Width = Width(Some(WIDEST));

    /// `text` in lines that begin with `indent` spaces.
    pub fn wrap(self, indent: usize, text: &str) -> String {
        let mut out = String::new();
        let mut column = 0;
        for word in text.split_whitespace() {
            let length = word.chars().count();
            let too_long = self.0.is_some_and(|width| column + 1 + length > width);
            if column == 0 || (too_long && column > indent) {
                if column > 0 {
                    out.push('\n');
                }
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
        out
    }
}

/// A column's heading and how it is set.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Left,
    Right,
    /// Left, and cut where the line would be too long.
    Cut,
}

/// Words.
pub const fn left(title: &'static str) -> Column {
    let set = Set::Left;
    Column { title, set }
}

/// Numbers.
pub const fn right(title: &'static str) -> Column {
    let set = Set::Right;
    Column { title, set }
}

/// Words of which the beginning is enough.
pub const fn cut(title: &'static str) -> Column {
    let set = Set::Cut;
    Column { title, set }
}

/// The least that is left of a column that is cut.
const CUT_TO: usize = 8;
/// Between columns.
const GAP: usize = 2;

/// A table, with lines of text below some of its rows.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<(String, Style)>,
    below: Vec<String>,
}

impl Table {
    /// Without rows it is not shown.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Table {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    /// Appends a row: as many cells as there are columns.
    pub fn row(&mut self, cells: impl Into<Vec<(String, Style)>>) {
        let (cells, below) = (cells.into(), Vec::new());
        self.rows.push(Row { cells, below });
    }

    /// Text that concerns the last row.
    pub fn below(&mut self, text: impl Into<String>) {
        if let Some(row) = self.rows.last_mut() {
            row.below.push(text.into());
        }
    }

    /// The table's lines, `indent` from the left.
    pub fn text(&self, width: Width, indent: usize) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.widths(width, indent);
        let titles = self.columns.iter().map(|c| (c.title.to_owned(), HEADING));
        let mut out = self.line(&widths, indent, &titles.collect::<Vec<_>>());
        for row in &self.rows {
            out += &self.line(&widths, indent, &row.cells);
            for text in &row.below {
                out += &width.wrap(indent + 2, text);
            }
        }
        out
    }

    fn widths(&self, width: Width, indent: usize) -> Vec<usize> {
        let longest = |(index, column): (usize, &Column)| {
            let cells = self
                .rows
                .iter()
                .map(|row| row.cells[index].0.chars().count());
            cells
                .chain([column.title.chars().count()])
                .max()
                .unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(longest).collect();
        if let Some(room) = width.0 {
            let gaps = GAP * (widths.len().saturating_sub(1));
            let all = indent + gaps + widths.iter().sum::<usize>();
            let mut over = all.saturating_sub(room);
            for (width, column) in widths.iter_mut().zip(&self.columns) {
                if column.set == Set::Cut {
                    let less = over.min(width.saturating_sub(CUT_TO));
                    *width -= less;
                    over -= less;
                }
            }
        }
        widths
    }

    fn line(&self, widths: &[usize], indent: usize, cells: &[(String, Style)]) -> String {
        let mut out = " ".repeat(indent);
        let last = widths.len() - 1;
        for (index, ((text, style), width)) in cells.iter().zip(widths).enumerate() {
            let text = fit(text, *width);
            let pad = " ".repeat(width - text.chars().count());
            let text = paint(*style, &text);
            out += &match self.columns[index].set {
                Set::Right => format!("{pad}{text}"),
                _ if index == last => text,
                _ => format!("{text}{pad}"),
            };
            if index < last {
                out += &" ".repeat(GAP);
            }
        }
        out + "\n"
    }
}

fn fit(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        false => text.to_owned(),
        true => {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            kept + "…"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::adapter::strip_str;

    fn table(program: &str) -> Table {
        let mut table = Table::new([left("SESSION"), cut("PROGRAM"), right("PID")]);
        let plain = |text: &str| (text.to_owned(), Style::new());
        table.row([plain(&"07".repeat(16)), plain(program), plain("12")]);
        table.below("cannot be moved: ".to_owned() + &"a word ".repeat(20));
        table
    }

    #[test]
    fn a_table_fits_a_terminal() {
        let shown = table(&"python3 ".repeat(20)).text(Width::TERMINAL, 2);
        let shown = strip_str(&shown).to_string();
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(shown.contains('…'), "{shown}");
        assert!(shown.contains(&"07".repeat(16)), "an id is never cut");
    }

    #[test]
    fn nothing_is_cut_for_a_file() {
        let program = "python3 ".repeat(20);
        let shown = table(&program).text(Width::ENDLESS, 2);
        assert!(shown.contains(&program), "{shown}");
        assert_eq!(shown.lines().count(), 3);
    }

    #[test]
    fn a_long_word_is_left_whole() {
        let path = "/a".repeat(60);
        let shown = Width::TERMINAL.wrap(4, &format!("see {path} there"));
        assert_eq!(shown, format!("    see\n    {path}\n    there\n"));
    }

    #[test]
    fn without_rows_there_is_no_heading() {
        assert_eq!(Table::new([left("A")]).text(Width::TERMINAL, 0), "");
    }
}
