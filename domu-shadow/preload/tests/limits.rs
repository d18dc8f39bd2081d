//! A program that moves again and again (the storm) while it may have little more than it has: moves are refused where there
//! is no room for the way back, and the program goes on.
//!
//! `programs/limits.c` is the program. Needs a C compiler, OpenCL's headers, an ICD loader and a driver.

mod common;

use common::native;

/// A count in the storm's report.
fn count(report: &str, what: &str) -> u64 {
    let (_, rest) = report.split_once(&format!("\"{what}\":")).expect(report);
    let end = rest.find([',', '}']).expect(report);
    rest[..end].parse().expect(report)
}

#[test]
fn a_program_without_room_to_move_goes_on() {
    let program = native::compile("limits.c");
    let library = native::stress_folder();
    let report = program.path().with_file_name("report.json");
    for (what, room, moves) in [
        ("nofile", "0", false),
        ("nofile", "14", false),
        ("nofile", "48", true),
        ("as", "8", false),
        ("as", "48", false),
        ("as", "512", true),
    ] {
        let output = native::command(program.path(), Some(&library))
            .args([what, room])
            .env("XL_GPU_STORM", "calls=40")
            .env("XL_GPU_STORM_REPORT", &report)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what} {room}: {errors}");
        assert_eq!(text, "right\n", "{what} {room}: {errors}");
        let counts = std::fs::read_to_string(&report).unwrap();
        let refused = count(&counts, "failed") + count(&counts, "blocked");
        // Those before the limit, some ten calls, are none.
        assert_eq!(
            count(&counts, "moves") > 0,
            moves,
            "{what} {room}: {counts}"
        );
        assert_eq!(refused > 0, !moves, "{what} {room}: {counts} {errors}");
        std::fs::remove_file(&report).unwrap();
    }
}
