//! Programs of the kinds that users of other tools bring: plain, under the shadow and while they are moved; the same results.
//!
//! Needs `cc`, an ICD loader and pocl.

mod common;

use common::native::{self, Folder};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Whether pocl 3.1 itself copes; where it does not, the result is known all the same.
enum Plain {
    Copes,
    Fails { result: &'static str },
}

struct User {
    name: &'static str,
    /// A library to preload.
    preload: Option<&'static str>,
    /// A library that it opens.
    opens: Option<&'static str>,
    /// As `XL_GPU_STORM`.
    rates: &'static [&'static str],
    plain: Plain,
    variables: &'static [(&'static str, &'static str)],
}

impl User {
    const fn new(name: &'static str) -> User {
        User {
            name,
            preload: None,
            opens: None,
            rates: &["calls=13"],
            plain: Plain::Copes,
            variables: &[],
        }
    }

    fn runs(&self) {
        let program = native::compile(&format!("users/{}.c", self.name));
        let library = |name| native::compile_library(&format!("users/{name}.c"));
        let (preload, opens) = (self.preload.map(library), self.opens.map(library));
        let shadow = native::stress_folder();
        let run = |shadow: Option<&Folder>, rate: Option<&str>| {
            let mut command = native::command(program.path(), shadow);
            command.envs(self.variables.iter().copied());
            command.args(opens.iter().map(native::Program::path));
            if let Some(preload) = &preload {
                command.env("LD_PRELOAD", preload.path());
            }
            let report = program.path().with_extension("report");
            if let Some(rate) = rate {
                command.env("XL_GPU_STORM", rate);
                command.env("XL_GPU_STORM_REPORT", &report);
            }
            let text = output(command);
            if let Some(rate) = rate {
                let report = std::fs::read_to_string(&report).unwrap();
                assert!(!report.contains("\"moves\":0,"), "{rate}: {report}");
            }
            text
        };
        let expected = match self.plain {
            Plain::Copes => run(None, None),
            Plain::Fails { result } => result.to_owned(),
        };
        assert_eq!(run(Some(&shadow), None), expected);
        for rate in self.rates {
            assert_eq!(run(Some(&shadow), Some(rate)), expected, "{rate}");
        }
    }
}

/// What it prints; it must end well, and not hang.
fn output(mut command: Command) -> String {
    const AGES: Duration = Duration::from_secs(300);
    let seconds = AGES.as_secs().to_string();
    let mut limited = Command::new("timeout");
    limited
        .args(["--kill-after=5", &seconds])
        .arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    command = limited;
    let output = command.output().expect("timeout(1) runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    text
}

#[test]
fn a_callback_that_waits_for_another() {
    User {
        // Calls it on the thread that enqueues.
        plain: Plain::Fails {
            result: "round 0\nround 1\nround 2\nround 3\nround 4\n",
        },
        ..User::new("callback_waits")
    }
    .runs();
}

#[test]
fn callbacks_that_release_their_events() {
    User {
        // Uses the event behind the callback.
        plain: Plain::Fails {
            result: "200 events\n",
        },
        ..User::new("callback_releases")
    }
    .runs();
}

#[test]
fn maps_of_one_offset_unmapped_in_any_order() {
    User {
        // Counts an unmapping down some time after it is complete.
        plain: Plain::Fails {
            result: "kind 0: 2351372003\nkind 1: 404791276\n",
        },
        ..User::new("maps")
    }
    .runs();
}

#[test]
fn pinned_memory_as_source_and_target() {
    User::new("pinned").runs();
}

#[test]
fn markers_that_are_never_flushed() {
    User::new("marker").runs();
}

#[test]
fn a_library_that_hooks_dlsym() {
    User {
        preload: Some("dlsym_hook"),
        ..User::new("looks_up")
    }
    .runs();
}

#[test]
fn a_plugin_opened_with_deepbind() {
    User {
        opens: Some("plugin"),
        ..User::new("deepbind")
    }
    .runs();
}

#[test]
fn releases_in_an_exit_handler() {
    User {
        rates: &["calls=13", "ms=1"],
        ..User::new("at_exit")
    }
    .runs();
}

#[test]
fn signals_that_interrupt_system_calls() {
    User {
        rates: &["calls=13", "ms=1"],
        ..User::new("signals")
    }
    .runs();
}

#[test]
fn many_threads_with_a_queue_each() {
    User {
        rates: &["calls=2000"],
        ..User::new("threads")
    }
    .runs();
}

#[test]
fn a_cache_of_binaries_older_than_the_driver() {
    User::new("binaries").runs();
}

/// On pocl's device without threads of its own, which works in a child.
#[test]
fn children_by_fork_at_any_moment() {
    User {
        rates: &["calls=50", "ms=1"],
        variables: &[("POCL_DEVICES", "basic")],
        ..User::new("forks")
    }
    .runs();
}

/// pocl's device without threads is not made for a second thread at a queue, as one of ours would be.
#[test]
fn blocking_calls_where_commands_run_inside_calls() {
    User {
        rates: &["ms=1"],
        variables: &[("POCL_DEVICES", "basic")],
        ..User::new("one_queue")
    }
    .runs();
}

/// The linker initialises preloaded libraries that nothing depends on in an order of its own.
#[test]
fn a_constructor_of_another_preloaded_library() {
    let early = native::compile_library("users/early.c");
    let run = |first: &Path| {
        let mut command = Command::new("true");
        let preload = format!("{}:{}", first.display(), early.path().display());
        command.env("LD_PRELOAD", preload);
        output(command)
    };
    let expected = run(Path::new("libOpenCL.so.1"));
    assert!(expected.starts_with("0, platforms: "), "{expected}");
    assert_eq!(run(&native::library()), expected);
}
