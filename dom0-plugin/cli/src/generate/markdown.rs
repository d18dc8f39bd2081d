//! `docs/xl-gpu.8.md`: what the command line's definition says, and around it what only a manual page has.

use crate::arguments::Arguments;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write as _;

const TEMPLATE: &str = include_str!("xl-gpu.8.in");
/// Characters of a line.
const WIDTH: usize = 130;

/// The page.
pub fn markdown() -> String {
    let mut command = Arguments::command();
    // Tells each command its full name.
    command.build();
    let (mut synopsis, mut commands) = (String::new(), String::new());
    for leaf in leaves(&command) {
        let _ = writeln!(synopsis, "{}", usage(leaf));
        describe(&mut commands, leaf);
    }
    let global = command.get_arguments().filter(|a| a.is_global_set());
    let options = definitions(global);
    TEMPLATE
        .replace("{{synopsis}}", synopsis.trim_end())
        .replace("{{commands}}", commands.trim_end())
        .replace("{{options}}", options.trim_end())
}

/// Commands that do something, in the order of `--help`.
fn leaves(command: &Command) -> Vec<&Command> {
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    let below: Vec<_> = command.get_subcommands().filter(shown).collect();
    match below.is_empty() {
        true => vec![command],
        false => below.into_iter().flat_map(leaves).collect(),
    }
}

fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let arguments = command.get_arguments();
    arguments.filter(|a| !a.is_global_set() && !matches!(a.get_id().as_str(), "help" | "version"))
}

fn full_name(command: &Command) -> &str {
    command.get_bin_name().unwrap_or(command.get_name())
}

fn usage(command: &Command) -> String {
    let mut usage = full_name(command).to_owned();
    for argument in own(command) {
        let name = spelled(argument, "", "");
        let _ = match argument.is_required_set() {
            true => write!(usage, " {name}"),
            false => write!(usage, " [{name}]"),
        };
    }
    usage
}

/// `--output FILE`, or `DOMAIN`, or the words that there are to choose from; each within marks.
fn spelled(argument: &Arg, code: &str, emphasis: &str) -> String {
    let words: Vec<String> = match argument.get_long() {
        Some(_) => Vec::new(),
        None => {
            let words = argument.get_possible_values();
            words
                .iter()
                .map(|word| word.get_name().to_owned())
                .collect()
        }
    };
    if !words.is_empty() {
        return format!("{code}{}{code}", words.join("|"));
    }
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.filter(|_| argument.get_action().takes_values());
    let value = value.map(|value| format!("{emphasis}{value}{emphasis}"));
    match (argument.get_long(), value) {
        (Some(long), None) => format!("{code}--{long}{code}"),
        (Some(long), Some(value)) => format!("{code}--{long}{code} {value}"),
        (None, value) => value.unwrap_or_else(|| argument.get_id().to_string()),
    }
}

fn describe(out: &mut String, command: &Command) {
    let _ = writeln!(out, "### {}\n", full_name(command));
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    for (number, paragraph) in about.split("\n\n").enumerate() {
        // The first one is a heading in `--help`.
        let end = if number == 0 && !paragraph.ends_with('.') {
            "."
        } else {
            ""
        };
        let _ = writeln!(out, "{}\n", wrapped(&format!("{paragraph}{end}"), ""));
    }
    let _ = writeln!(out, "{}", definitions(own(command)));
}

fn definitions<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut out = String::new();
    for argument in arguments {
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "{}", spelled(argument, "`", "*"));
        for (number, paragraph) in help.split("\n\n").enumerate() {
            let lead = if number == 0 { ": " } else { "\n  " };
            let end = if paragraph.ends_with(['.', ']']) {
                ""
            } else {
                "."
            };
            let text = wrapped(&format!("{paragraph}{end}"), "  ");
            let _ = writeln!(out, "{lead}{text}");
        }
        out.push('\n');
    }
    out
}

/// In lines; all but the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut column = indent.len();
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column + 1 + length > WIDTH && column > indent.len() {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else if column > indent.len() {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
