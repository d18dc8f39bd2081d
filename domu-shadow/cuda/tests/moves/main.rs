//! Whole moves of a CUDA program within its own process, over the stub driver; the tests play dom0.
//!
//! The stub's options hold for a process: each case is a process of its own, which is this test binary again.

mod calls;
mod child;
mod dom0;
mod faults;
mod gpus;
mod program;
mod scenarios;

use child::{CASE, Case};

#[test]
fn contents_survive_moves_with_and_without_rounds() {
    Case::new("there_and_back").passes();
}

#[test]
fn a_program_that_frees_and_allocates_meanwhile() {
    Case::new("busy").passes();
}

#[test]
fn a_restore_that_fails_is_tried_again() {
    Case::new("there_and_back")
        .options("restore_fails=2")
        .passes();
}

#[test]
fn a_capture_of_a_stream_goes_on() {
    Case::new("capturing").passes();
}

#[test]
fn memory_for_comparing_is_the_programs_when_it_needs_it() {
    Case::new("gives_way").options("memory=160M").passes();
}

/// Each call that a move makes fails once, in a process of its own.
#[test]
fn whatever_fails_once_the_program_goes_on() {
    faults::each_call_fails_once();
}

#[test]
fn a_driver_that_takes_no_kernels_has_all_sent_whole() {
    Case::new("sent_whole")
        .options("fail=cuModuleLoadData:*:INVALID_PTX")
        .passes();
}

#[test]
fn a_device_without_room_has_all_sent_whole() {
    Case::new("sent_whole").options("memory=40M").passes();
}

#[test]
fn managed_memory_refuses_before_anything_stops() {
    Case::new("refused").passes();
}

#[test]
fn nodes_that_a_checkpoint_leaves_behind_are_named() {
    Case::new("left_behind")
        .options("leak_fds=1,leak_maps=1")
        .with_nodes(1)
        .passes();
}

#[test]
fn memory_that_was_not_sent_is_not_taken_away() {
    Case::new("unsent").passes();
}

#[test]
fn a_checkpoint_that_the_driver_refuses_is_its_last() {
    Case::new("spoilt")
        .options("fail=cuCheckpointProcessCheckpoint:1:NOT_SUPPORTED")
        .passes();
}

#[test]
fn work_that_does_not_end_in_time_goes_on() {
    Case::new("not_at_rest")
        .options("slow=cuCtxSynchronize:400ms")
        .passes();
}

#[test]
fn a_stop_is_taken_back_while_work_waits_for_a_value_of_the_programs() {
    Case::new("waits_for_a_value").passes();
}

#[test]
fn another_gpu_of_the_model_takes_the_place() {
    gpus::another_takes_the_place();
}

#[test]
fn a_gpu_of_another_model_is_waited_out() {
    gpus::another_model_is_refused();
}

#[test]
#[ignore = "run by the others, with the driver's options"]
fn case() {
    scenarios::run(&std::env::var(CASE).expect("run by another test"));
}
