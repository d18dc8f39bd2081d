//! The calls that the stub driver has logged.

use std::fs;
use std::path::Path;

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct Line {
    pub function: String,
    pub answer: i32,
    /// It was made by another thread than the process's first, which is the program's: by the mover.
    pub is_movers: bool,
}

/// What stands there now, but for a line that is being written.
pub fn read(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let fields: Vec<&str> = text.split('\t').collect();
    let [process, thread, function, answer] = fields[..] else {
        panic!("{text:?} is no line of the log");
    };
    Line {
        function: function.to_owned(),
        answer: answer.parse().unwrap(),
        is_movers: process != thread,
    }
}
