//! CUDA as one of the process's APIs.

use channel::image::Api;
use channel::link::LeftToDriver;
use runtime::gpu_api::{self, ApiCapture, GpuApi};
use runtime::locks::Held;
use runtime::mover::{MoveError, Summary};

use super::capture::Capture;
use super::gpus;
use crate::core::{self, memory, obstacles};
use crate::delta::modules;
use crate::driver::library;
use crate::front::{marks, unknown};

struct Cuda;

runtime::at_load!(register);

fn register() {
    gpu_api::register(&Cuda);
}

impl GpuApi for Cuda {
    fn api(&self) -> Api {
        Api::CUDA
    }

    fn prepare(&self) {}

    fn hold_locks(&'static self, in_call: bool) -> Option<Held> {
        let mut held = core::hold_locks(in_call)?;
        if !in_call {
            held.push(Box::new(library::hold()?));
            held.push(Box::new(unknown::hold()?));
            held.push(Box::new(modules::hold()?));
            held.push(Box::new(gpus::hold()?));
        }
        Some(held)
    }

    fn blocked(&self) -> Option<String> {
        obstacles::blocked()
            .or_else(marks::used)
            .or_else(unknown::used)
    }

    fn summarize(&self, summary: &mut Summary) {
        let models = gpus::models();
        if models.is_empty() {
            return;
        }
        summary.platforms.push(gpus::PLATFORM.to_owned());
        summary.devices.extend(models);
        let blocks = memory::blocks();
        summary.buffers += blocks.len() as u64;
        summary.bytes += blocks.iter().map(|block| block.size()).sum::<u64>();
    }

    fn left_to_driver(&self) -> LeftToDriver {
        let left = memory::left();
        LeftToDriver {
            contexts: left.contexts,
            bytes: left.device,
            pinned: left.host,
        }
    }

    fn begin(&'static self) -> Result<Box<dyn ApiCapture>, MoveError> {
        Ok(Box::new(Capture::default()))
    }
}
