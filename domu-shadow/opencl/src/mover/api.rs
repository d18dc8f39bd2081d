//! OpenCL as one of the process's APIs.

use channel::image::Api;
use runtime::gpu_api::{self, ApiCapture, GpuApi};
use runtime::locks::Held;
use runtime::mover::{MoveError, Summary};

use super::capture::Capture;
use super::lanes::root_buffers;
use crate::core::command::deferred_commands;
use crate::core::inventory;
use crate::core::queue::Queue;
use crate::core::{cells, handle, obstacles, open_user_events, retired_queues, svm};
use crate::table;

struct OpenCl;

runtime::at_load!(register);

fn register() {
    gpu_api::register(&OpenCl);
}

impl GpuApi for OpenCl {
    fn api(&self) -> Api {
        Api::OPENCL
    }

    fn prepare(&self) {
        cells::prepare(table::table());
    }

    fn hold_locks(&'static self, in_call: bool) -> Option<Held> {
        let mut held: Held = vec![Box::new(svm::hold()?), Box::new(cells::hold()?)];
        if !in_call {
            held.push(Box::new(inventory::hold()?));
            held.push(Box::new(deferred_commands::hold()?));
            held.push(Box::new(open_user_events::hold()?));
            held.push(Box::new(retired_queues::hold()?));
        }
        Some(held)
    }

    fn blocked(&self) -> Option<String> {
        obstacles::blocked().map(str::to_owned)
    }

    fn summarize(&self, summary: &mut Summary) {
        let platforms = inventory::known_platforms();
        let names = platforms.iter().map(|platform| platform.name.clone());
        summary.platforms.extend(names);
        let devices = platforms
            .iter()
            .flat_map(|platform| inventory::root_devices(platform));
        let names = devices.map(|device| device.name.clone());
        summary.devices.extend(names);
        let buffers = root_buffers();
        summary.buffers += buffers.len() as u64;
        summary.bytes += buffers.iter().map(|mem| mem.size as u64).sum::<u64>();
        summary.queues += handle::all::<Queue>().len() as u64;
    }

    fn begin(&'static self) -> Result<Box<dyn ApiCapture>, MoveError> {
        Ok(Box::new(Capture::begin()))
    }
}
