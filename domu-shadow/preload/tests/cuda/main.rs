//! CUDA programs of all kinds over the stub driver: plain, under the shadow and while they are moved; the same results.
//!
//! Needs `cc`. The programs are in `tests/programs/cuda`; they run on a GPU as well. Rates are for some ten moves a program.

mod blocked;
#[allow(dead_code, reason = "each test binary uses a part")]
#[path = "../common/native.rs"]
mod native;
mod rig;

use rig::User;

#[test]
fn memory_of_many_sizes_made_and_freed_all_the_time() {
    User {
        arguments: &["150", "2200000"],
        rates: &["calls=40", "ms=20"],
        ..User::new("memory")
    }
    .runs();
}

#[test]
fn structures_that_hold_device_addresses() {
    User {
        rates: &["calls=41"],
        ..User::new("lists")
    }
    .runs();
}

#[test]
fn mappings_of_the_programs_own() {
    User {
        rates: &["calls=29"],
        ..User::new("vmm")
    }
    .runs();
}

#[test]
fn stream_ordered_memory() {
    User {
        rates: &["calls=17"],
        ..User::new("pools")
    }
    .runs();
}

#[test]
fn arrays() {
    User {
        rates: &["calls=11"],
        ..User::new("arrays")
    }
    .runs();
}

#[test]
fn host_memory_that_the_device_reaches() {
    User {
        rates: &["calls=13"],
        ..User::new("host")
    }
    .runs();
}

/// A stream that waits for a value which the program writes later cannot come to rest before: those moves are given up.
#[test]
fn streams_events_and_host_functions() {
    User {
        arguments: &["5"],
        rates: &["calls=11,drain-ms=50"],
        ..User::new("streams")
    }
    .runs();
}

#[test]
fn graphs_launched_with_the_pointers_of_before() {
    User {
        rates: &["calls=7"],
        ..User::new("graphs")
    }
    .runs();
}

#[test]
fn modules_with_variables() {
    User {
        rates: &["calls=9"],
        ..User::new("modules")
    }
    .runs();
}

#[test]
fn every_way_to_launch() {
    User {
        rates: &["calls=10"],
        ..User::new("launches")
    }
    .runs();
}

#[test]
fn contexts_made_destroyed_and_reset() {
    User {
        rates: &["calls=17"],
        ..User::new("contexts")
    }
    .runs();
}

#[test]
fn threads_with_contexts_and_streams_of_their_own() {
    User {
        rates: &["calls=11"],
        ..User::new("threads")
    }
    .runs();
}

#[test]
fn tiny_launches_as_fast_as_they_go() {
    User {
        arguments: &["20000"],
        rates: &["calls=1600", "ms=30"],
        ..User::new("tiny")
    }
    .runs();
}

#[test]
fn a_program_that_does_nothing() {
    User {
        arguments: &["600", "2"],
        rates: &["ms=20"],
        ..User::new("idle")
    }
    .runs();
}

#[test]
fn kernels_that_take_long() {
    User {
        rates: &["calls=4"],
        ..User::new("longer")
    }
    .runs();
}

#[test]
fn a_device_that_is_nearly_full() {
    User {
        arguments: &["98", "16", "3"],
        rates: &["calls=10"],
        options: "memory=64M",
        ..User::new("full")
    }
    .runs();
}

#[test]
fn children_that_do_not_use_it() {
    User {
        rates: &["calls=5"],
        ..User::new("forks")
    }
    .runs();
}

#[test]
fn a_program_that_opens_the_library() {
    User {
        rates: &["calls=11"],
        ..User::new("looks_up")
    }
    .runs();
}

#[test]
fn a_program_that_asks_for_every_function() {
    User {
        rates: &["calls=8"],
        ..User::new("proc_address")
    }
    .runs();
}

#[test]
fn questions_about_pointers() {
    User {
        rates: &["calls=90"],
        ..User::new("pointers")
    }
    .runs();
}

#[test]
fn mistakes() {
    User {
        rates: &["calls=5"],
        ..User::new("errors")
    }
    .runs();
}

#[test]
fn exits_in_the_middle_of_things() {
    const WAYS: [&[&str]; 6] = [
        &["return"],
        &["exit"],
        &["_exit"],
        &["thread"],
        &["handler"],
        &["pthread_exit"],
    ];
    for way in WAYS {
        User {
            arguments: way,
            rates: &["calls=41"],
            // Without handlers there is no report.
            moves: way != ["_exit"],
            ..User::new("exits")
        }
        .runs();
    }
}

/// Each has a session of its own, and moves on its own; the report is that of the one that ends last.
#[test]
fn two_processes_on_one_device() {
    User {
        rates: &["calls=11"],
        ..User::new("two")
    }
    .runs();
}
