//! The platforms and root devices that were found. They are looked for once; after a move they get other driver handles.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use opencl_sys::CL_DEVICE_TYPE_ALL;

use super::device::Device;
use super::handle;
use super::platform::Platform;
use crate::driver::loader;
use runtime::locks::lock;

static PLATFORMS: OnceLock<Vec<Arc<Platform>>> = OnceLock::new();
/// Of all platforms.
static DEVICES: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());

/// For a fork: nothing here changes until this is dropped. `None` while another thread changes it.
pub fn hold() -> Option<MutexGuard<'static, impl Sized>> {
    runtime::locks::try_lock(&DEVICES)
}

/// All platforms; the first call loads the drivers and starts the session.
pub fn platforms() -> &'static [Arc<Platform>] {
    PLATFORMS.get_or_init(|| {
        let platforms = loader::platforms().into_iter().map(found).collect();
        runtime::session::start();
        platforms
    })
}

/// The platforms found so far; none if the program has not asked yet.
pub fn known_platforms() -> &'static [Arc<Platform>] {
    PLATFORMS.get().map_or(&[], Vec::as_slice)
}

fn found(real: *mut c_void) -> Arc<Platform> {
    let platform = Arc::new(Platform::of(real));
    handle::publish(Arc::clone(&platform));
    for device in loader::devices(real, CL_DEVICE_TYPE_ALL) {
        root_device(&platform, device);
    }
    platform
}

/// The shadow of one of a platform's root devices; `real` is the driver's.
pub fn root_device(platform: &Arc<Platform>, real: *mut c_void) -> Arc<Device> {
    let mut devices = lock(&DEVICES);
    let known = devices
        .iter()
        .find(|device| Arc::ptr_eq(&device.platform, platform) && device.real.get() == real);
    if let Some(device) = known {
        return Arc::clone(device);
    }
    let device = Arc::new(Device::of(Arc::clone(platform), real, None));
    handle::publish(Arc::clone(&device));
    devices.push(Arc::clone(&device));
    device
}

/// A platform's root devices.
pub fn root_devices(platform: &Platform) -> Vec<Arc<Device>> {
    let devices = lock(&DEVICES);
    let of_platform = devices
        .iter()
        .filter(|device| std::ptr::eq(&*device.platform, platform));
    of_platform.cloned().collect()
}
