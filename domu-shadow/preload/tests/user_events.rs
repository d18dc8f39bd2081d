//! Programs that use user events, many times over: they end under the shadow as they do with a plain loader.
//!
//! Needs a C compiler, OpenCL's headers, an ICD loader and a driver.

mod common;

use common::native;

fn ends_well_each_time(source: &str, times: u32) {
    let program = native::compile(source);
    let library = native::library_folder();
    for time in 1..=times {
        let mut command = native::command(program.path(), Some(&library));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "run {time}: {}\n{text}",
            output.status
        );
    }
}

/// Each callback sets the user event that the next command waits for; the events are released as soon as they were waited for.
#[test]
fn chains_of_callbacks_and_user_events() {
    ends_well_each_time("user_event_chain.c", 12);
}

/// Commands behind a user event that fails, while nothing runs in front of them.
#[test]
fn user_events_that_fail() {
    ends_well_each_time("user_event_fails.c", 12);
}
