//! The devices: identity, and how much of their memory is in use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::abi::*;
use crate::lock::lock;
use crate::node;
use crate::options::in_force;

/// A device that the driver found at `cuInit`.
pub struct Device {
    /// What `cuDeviceGet` calls it.
    pub ordinal: usize,
    /// The number of its node at `cuInit`.
    pub number: usize,
    gpu: Mutex<Gpu>,
    used: AtomicU64,
}

/// A GPU that can stand behind a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    pub number: usize,
    pub uuid: CUuuid,
    pub name: String,
}

static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();

/// Looks for devices, once.
///
/// # Errors
/// `CUDA_ERROR_NO_DEVICE` where there are none.
pub fn find() -> Outcome<()> {
    let gpus = present();
    if gpus.is_empty() {
        return Err(CUDA_ERROR_NO_DEVICE);
    }
    DEVICES.get_or_init(|| {
        let device = |(ordinal, gpu): (usize, Gpu)| Device {
            ordinal,
            number: gpu.number,
            gpu: Mutex::new(gpu),
            used: AtomicU64::new(0),
        };
        gpus.into_iter().enumerate().map(device).collect()
    });
    Ok(())
}

pub fn all() -> &'static [Device] {
    DEVICES.get().map_or(&[], |devices| devices)
}

/// # Errors
/// `CUDA_ERROR_INVALID_DEVICE`.
pub fn get(device: CUdevice) -> Outcome<&'static Device> {
    usize::try_from(device)
        .ok()
        .and_then(|ordinal| all().get(ordinal))
        .ok_or(CUDA_ERROR_INVALID_DEVICE)
}

/// The GPUs that are there now.
pub fn present() -> Vec<Gpu> {
    let options = in_force();
    let lines = options.uuids.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    (0..options.devices)
        .filter(|&number| node::is_present(number))
        .filter_map(|number| match &lines {
            Some(lines) => gpu(number, lines.get(number)?),
            None => Some(Gpu {
                number,
                uuid: default_uuid(number),
                name: options.name.clone(),
            }),
        })
        .collect()
}

/// A line of the file of UUIDs: 32 hexadecimal digits, with or without dashes and `GPU-`; then the name, where another.
fn gpu(number: usize, line: &str) -> Option<Gpu> {
    let (uuid, name) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let digits: String = uuid
        .strip_prefix("GPU-")
        .unwrap_or(uuid)
        .chars()
        .filter(|c| *c != '-')
        .collect();
    let value = u128::from_str_radix(&digits, 16).ok();
    let name = match name.trim() {
        "" => &in_force().name,
        name => name,
    };
    Some(Gpu {
        number,
        uuid: CUuuid(value.filter(|_| digits.len() == 32)?.to_be_bytes()),
        name: name.to_owned(),
    })
}

fn default_uuid(number: usize) -> CUuuid {
    let mut uuid = *b"xl-gpu-stub-cud0";
    uuid[15] += number as u8;
    CUuuid(uuid)
}

impl Device {
    pub fn gpu(&self) -> Gpu {
        lock(&self.gpu).clone()
    }

    /// Another GPU stands behind the device from now on.
    pub fn set_gpu(&self, gpu: Gpu) {
        *lock(&self.gpu) = gpu;
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// Takes memory.
    ///
    /// # Errors
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub fn take(&self, bytes: u64) -> Outcome<()> {
        let fits = |used: u64| {
            used.checked_add(bytes)
                .filter(|&sum| sum <= in_force().memory)
        };
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits)
            .map(drop)
            .map_err(|_| CUDA_ERROR_OUT_OF_MEMORY)
    }

    pub fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// `0000:01:00.0`: fixed at `cuInit`.
    pub fn pci_bus_id(&self) -> String {
        format!("0000:{:02x}:00.0", self.number + 1)
    }
}
