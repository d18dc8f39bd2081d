//! Questions about devices.

use std::ffi::{c_char, c_int, c_uint};

use crate::abi::*;
use crate::call::entry_points;
use crate::device;
use crate::ffi::{put, put_text, text};
use crate::options::in_force;

/// Compute capability.
const CAPABILITY: (c_int, c_int) = (9, 0);

entry_points! {
    fn cuDeviceGet(out: *mut CUdevice, ordinal: c_int) {
        put(out, device::get(ordinal)?.ordinal as CUdevice)
    }

    fn cuDeviceGetCount(count: *mut c_int) {
        put(count, device::all().len() as c_int)
    }

    fn cuDeviceGetName(name: *mut c_char, room: c_int, dev: CUdevice) {
        put_text(name, room.max(0) as usize, &device::get(dev)?.gpu().name)
    }

    fn cuDeviceGetUuid(uuid: *mut CUuuid, dev: CUdevice) {
        put(uuid, device::get(dev)?.gpu().uuid)
    }

    fn cuDeviceGetUuid_v2(uuid: *mut CUuuid, dev: CUdevice) {
        put(uuid, device::get(dev)?.gpu().uuid)
    }

    fn cuDeviceTotalMem(bytes: *mut c_uint, dev: CUdevice) {
        device::get(dev)?;
        put(bytes, in_force().memory.min(u32::MAX.into()) as c_uint)
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice) {
        device::get(dev)?;
        put(bytes, in_force().memory as usize)
    }

    fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, dev: CUdevice) {
        device::get(dev)?;
        put(major, CAPABILITY.0)?;
        put(minor, CAPABILITY.1)
    }

    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, dev: CUdevice) {
        let device = device::get(dev)?;
        put(value, attribute_of(attribute, device.number).ok_or(CUDA_ERROR_INVALID_VALUE)?)
    }

    fn cuDeviceGetPCIBusId(id: *mut c_char, room: c_int, dev: CUdevice) {
        put_text(id, room.max(0) as usize, &device::get(dev)?.pci_bus_id())
    }

    fn cuDeviceGetByPCIBusId(out: *mut CUdevice, id: *const c_char) {
        let id = text(id)?;
        let mut devices = device::all().iter();
        let found = devices.find(|device| {
            let own = device.pci_bus_id();
            own == id || own.strip_prefix("0000:") == Some(id)
        });
        put(out, found.ok_or(CUDA_ERROR_INVALID_DEVICE)?.ordinal as CUdevice)
    }

    fn cuDeviceCanAccessPeer(can: *mut c_int, dev: CUdevice, peer: CUdevice) {
        let (dev, peer) = (device::get(dev)?, device::get(peer)?);
        put(can, c_int::from(dev.ordinal != peer.ordinal))
    }

    fn cuDeviceGetP2PAttribute(value: *mut c_int, attribute: c_uint, source: CUdevice, target: CUdevice) {
        if device::get(source)?.ordinal == device::get(target)?.ordinal {
            return Err(CUDA_ERROR_INVALID_DEVICE);
        }
        put(value, c_int::from(matches!(attribute, 2..=4)))
    }
}

/// `CU_DEVICE_ATTRIBUTE_*`.
fn attribute_of(attribute: c_uint, number: usize) -> Option<c_int> {
    let options = in_force();
    Some(match attribute {
        1..=3 => [1024, 1024, 64][attribute as usize - 1],
        4 => i32::MAX,
        5..=7 => [i32::MAX, 65535, 65535][attribute as usize - 5],
        8 => 48 << 10,
        9 => 64 << 10,
        10 => 32,
        11 => i32::MAX,
        12 | 82 => 65536,
        13 => 1_000_000,
        14 | 30 => 512,
        15 => 1,
        16 => 4,
        17 | 20 | 35 | 84 | 85 | 86 | 87 | 88 | 91 | 98 | 100 | 101 | 104 | 105 | 107 | 110
        | 112 => 0,
        18 => c_int::from(options.integrated),
        19 | 31 | 32 | 41 | 78 | 79 | 80 | 83 | 90 | 92..=95 | 99 | 102 | 103 | 115 => 1,
        21..=29 | 42..=49 | 52..=74 | 77 => 16384,
        33 => number as c_int + 1,
        34 | 50 => 0,
        36 => 1_000_000,
        37 => 4096,
        38 => 4 << 20,
        39 => 2048,
        40 => 3,
        51 => 32,
        75 => CAPABILITY.0,
        76 => CAPABILITY.1,
        81 => 228 << 10,
        89 => 1,
        96 => 1,
        97 => 227 << 10,
        106 => 32,
        108 | 109 => 0,
        111 => 1024,
        113 => 1,
        114 | 116 | 117 | 118 => 0,
        119 => 1,
        120 | 121 => 0,
        122 | 123 => 1,
        124 | 127 | 128 | 132 => 0,
        125 => 1,
        126 => 1,
        129 => 1,
        130 => 0,
        131 => -1,
        133 => c_int::from(options.mps),
        134 => 0,
        135..=161 => 0,
        _ => return None,
    })
}
