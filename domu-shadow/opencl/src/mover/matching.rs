//! Which device takes which one's place after a move.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::Arc;

use channel::image::Api;
use opencl_sys::{
    CL_DEVICE_NAME, CL_DEVICE_TYPE, CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_DEFAULT, CL_PLATFORM_NAME,
};
use runtime::mover::MoveError;

use crate::core::context::Context;
use crate::core::device::Device;
use crate::core::handle::{self, Object};
use crate::core::inventory;
use crate::driver::{loader, query};

/// A device that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    platform: usize,
    platform_name: String,
    device: usize,
    name: String,
    device_type: u64,
}

/// A device that the program knows.
#[derive(Clone, Debug)]
struct Wanted {
    platform_name: String,
    name: String,
    device_type: u64,
    /// Part of a context: it must be found.
    in_use: bool,
}

/// Set to 1, a device of another type may take one's place: a program that began on a CPU goes on on a GPU, or back.
/// Otherwise that is refused, as an administrator who forgot a driver would find the programs on a CPU, hundreds of
/// times slower.
const ANY_DEVICE_ENV: &str = "XL_GPU_ANY_DEVICE";

/// For each wanted device the index of a candidate: the same device of the same platform, each once; for those in use
/// that have none, any device of the same type (or of any type, with `any`), unused ones first.
fn choose(wanted: &[Wanted], candidates: &[Candidate], any: bool) -> Vec<Option<usize>> {
    let mut taken = BTreeSet::new();
    let mut chosen: Vec<Option<usize>> = wanted
        .iter()
        .map(|wish| {
            let same = |at: &usize| {
                let candidate = &candidates[*at];
                candidate.platform_name == wish.platform_name
                    && candidate.name == wish.name
                    && !taken.contains(at)
            };
            let found = (0..candidates.len()).find(same);
            taken.extend(found);
            found
        })
        .collect();
    let types: &[u64] = if any {
        &[!CL_DEVICE_TYPE_DEFAULT, CL_DEVICE_TYPE_ALL]
    } else {
        &[!CL_DEVICE_TYPE_DEFAULT]
    };
    for (wish, found) in wanted.iter().zip(&mut chosen) {
        for mask in types {
            if found.is_some() || !wish.in_use {
                break;
            }
            let fits = |at: &usize| {
                *mask == CL_DEVICE_TYPE_ALL
                    || candidates[*at].device_type & wish.device_type & mask != 0
            };
            *found = (0..candidates.len())
                .find(|at| fits(at) && !taken.contains(at))
                .or_else(|| (0..candidates.len()).find(fits));
            taken.extend(*found);
        }
    }
    chosen
}

fn candidates() -> Vec<Candidate> {
    let of_platform = |platform: *mut c_void| {
        let platform_name = query::platform_text(platform, CL_PLATFORM_NAME).unwrap_or_default();
        loader::devices(platform, CL_DEVICE_TYPE_ALL)
            .into_iter()
            .map(move |device| Candidate {
                platform: platform as usize,
                platform_name: platform_name.clone(),
                device: device as usize,
                name: query::device_text(device, CL_DEVICE_NAME).unwrap_or_default(),
                device_type: query::device_number(device, CL_DEVICE_TYPE).unwrap_or_default(),
            })
    };
    loader::platforms()
        .into_iter()
        .flat_map(of_platform)
        .collect()
}

fn root_of(device: &Arc<Device>) -> &Arc<Device> {
    device.parent().map_or(device, root_of)
}

/// Loads the drivers and gives every shadow device its real one.
///
/// # Errors
/// `NoDevice` if one in use has none.
pub(super) fn load() -> Result<(), MoveError> {
    let contexts = handle::all::<Context>();
    let in_use: BTreeSet<u64> = contexts
        .iter()
        .flat_map(|context| &context.devices)
        .map(|device| root_of(device).slot().id())
        .collect();
    let devices: Vec<Arc<Device>> = inventory::known_platforms()
        .iter()
        .flat_map(|platform| inventory::root_devices(platform))
        .collect();
    let wanted: Vec<Wanted> = devices
        .iter()
        .map(|device| Wanted {
            platform_name: device.platform.name.clone(),
            name: device.name.clone(),
            device_type: device.device_type,
            in_use: in_use.contains(&device.slot().id()),
        })
        .collect();
    let candidates = candidates();
    let any = std::env::var_os(ANY_DEVICE_ENV).is_some_and(|value| value == "1");
    for ((device, wish), found) in
        devices
            .iter()
            .zip(&wanted)
            .zip(choose(&wanted, &candidates, any))
    {
        match found {
            Some(at) => {
                if candidates[at].name != wish.name {
                    log::warn!(
                        "device \"{}\" takes the place of \"{}\"",
                        candidates[at].name,
                        wish.name
                    );
                }
                device.real.set(candidates[at].device as *mut c_void);
                if device.platform.real.get().is_null()
                    || candidates[at].platform_name == wish.platform_name
                {
                    device
                        .platform
                        .real
                        .set(candidates[at].platform as *mut c_void);
                }
            }
            None if wish.in_use => {
                return Err(MoveError::NoDevice {
                    api: Api::OPENCL,
                    name: wish.name.clone(),
                    platform: wish.platform_name.clone(),
                });
            }
            None => log::warn!(
                "device \"{}\" is not here any more; the program does not use it",
                wish.name
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: u64 = opencl_sys::CL_DEVICE_TYPE_CPU;
    const GPU: u64 = opencl_sys::CL_DEVICE_TYPE_GPU;

    fn candidate(platform_name: &str, name: &str, device_type: u64) -> Candidate {
        Candidate {
            platform: 1,
            platform_name: platform_name.into(),
            device: 2,
            name: name.into(),
            device_type,
        }
    }

    fn wanted(platform_name: &str, name: &str, device_type: u64, in_use: bool) -> Wanted {
        Wanted {
            platform_name: platform_name.into(),
            name: name.into(),
            device_type,
            in_use,
        }
    }

    #[test]
    fn the_same_device_first_then_one_of_its_type() {
        let here = [
            candidate("pocl", "cpu", CPU),
            candidate("NV", "H200", GPU),
            candidate("NV", "H200", GPU),
        ];
        let two = [
            wanted("NV", "H200", GPU, true),
            wanted("NV", "H200", GPU, true),
        ];
        assert_eq!(choose(&two, &here, false), [Some(1), Some(2)]);
        let other = [
            wanted("NV", "H100", GPU, true),
            wanted("pocl", "cpu", CPU, true),
        ];
        assert_eq!(choose(&other, &here, false), [Some(1), Some(0)]);
        let unused = [
            wanted("AMD", "MI", GPU, false),
            wanted("NV", "H200", GPU, true),
        ];
        assert_eq!(choose(&unused, &here, false), [None, Some(1)]);
        let none = [wanted(
            "X",
            "fpga",
            opencl_sys::CL_DEVICE_TYPE_ACCELERATOR,
            true,
        )];
        assert_eq!(choose(&none, &here, false), [None]);
        assert_eq!(choose(&none, &here, true), [Some(0)]);
        let moved = [wanted("NV", "H200", GPU, true)];
        assert_eq!(choose(&moved, &here[..1], false), [None]);
        assert_eq!(choose(&moved, &here[..1], true), [Some(0)]);
    }
}
