//! Manual pages and completions, for packages: `xl-gpu generate`. The command line's definition is their source, and
//! that of `docs/xl-gpu.8.md`; the other pages are the documents in `docs/`.

mod markdown;
mod roff;

use crate::arguments::Arguments;
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::Path;

pub use markdown::markdown;

/// Manual pages that are written by hand, by their file names.
const PAGES: [(&str, &str); 3] = [
    ("xl-gpud.8", include_str!("../../../../docs/xl-gpud.8.md")),
    (
        "xl-gpu.conf.5",
        include_str!("../../../../docs/xl-gpu.conf.5.md"),
    ),
    (
        "xl-gpu-shadow.7",
        include_str!("../../../../docs/xl-gpu-shadow.7.md"),
    ),
];

/// Writes all manual pages into `folder`.
pub fn man(folder: &Path) -> anyhow::Result<()> {
    write(folder, "xl-gpu.8", &roff::page(&markdown()))?;
    PAGES
        .iter()
        .try_for_each(|(name, page)| write(folder, name, &roff::page(page)))
}

/// Writes completions into `folder`, under the names by which the shells look for them.
pub fn completions(folder: &Path) -> anyhow::Result<()> {
    let shells = [
        (Shell::Bash, "xl-gpu"),
        (Shell::Zsh, "_xl-gpu"),
        (Shell::Fish, "xl-gpu.fish"),
    ];
    shells
        .into_iter()
        .try_for_each(|(shell, name)| write(folder, name, &completion(shell)))
}

fn completion(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(
        shell,
        &mut visible(&Arguments::command()),
        "xl-gpu",
        &mut text,
    );
    String::from_utf8_lossy(&text).into_owned()
}

/// Without what is hidden, which would be offered otherwise.
fn visible(command: &clap::Command) -> clap::Command {
    let subcommands = command.get_subcommands().filter(|c| !c.is_hide_set());
    let subcommands: Vec<_> = subcommands.map(visible).collect();
    let mut shown = clap::Command::new(command.get_name().to_owned())
        .args(command.get_arguments().cloned())
        .subcommands(subcommands);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let made = std::fs::create_dir_all(folder);
    made.with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_command_line_says() {
        let committed = include_str!("../../../../docs/xl-gpu.8.md");
        assert_eq!(
            markdown(),
            committed,
            "write it anew: cargo run -p xl-gpu -- generate markdown >docs/xl-gpu.8.md"
        );
    }

    #[test]
    fn completions_offer_what_is_not_hidden() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completion(shell);
            for word in [
                "status",
                "history",
                "migrate-loopback",
                "verify",
                "svg",
                "checkpoint",
            ] {
                assert!(text.contains(word), "{shell}: {word}");
            }
            assert!(!text.contains("generate"), "{shell}");
        }
    }

    /// Every page, as `man` gets it.
    #[test]
    fn pages_have_a_title_a_name_and_no_markdown_left() {
        let own = ("xl-gpu.8", &*markdown());
        for (name, page) in PAGES.into_iter().chain([own]) {
            let roff = roff::page(page);
            let (title, section) = name.rsplit_once('.').unwrap();
            let first = format!(".TH \"{}\" \"{section}\"", title.to_uppercase());
            assert!(roff.starts_with(&first), "{name}: {roff:.80}");
            // What apropos(1) reads.
            let names = roff.lines().skip_while(|l| *l != ".SH NAME").nth(1);
            let names = names.unwrap();
            assert!(
                names.replace("\\-", "-").starts_with(title),
                "{name}: {names}"
            );
            assert!(names.contains(" \\- "), "{name}: {names}");
            for left in ["](", "```", "**", "\n: "] {
                assert!(!roff.contains(left), "{name}: {left} in\n{roff}");
            }
            assert!(roff.contains(".SH SEE ALSO"), "{name}");
        }
    }
}
