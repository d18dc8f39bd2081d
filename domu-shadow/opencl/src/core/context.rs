//! Contexts: made from the devices and properties as the program gave them, with the handles translated.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard};

use opencl_sys::{
    CL_CONTEXT_INTEROP_USER_SYNC, CL_CONTEXT_PLATFORM, CL_INVALID_CONTEXT, CL_INVALID_OPERATION,
    CL_INVALID_PROPERTY, cl_context_properties,
};

use super::destructor_callbacks::DestructorCallbacks;
use super::device::{Device, driver_handles};
use super::driver_handle::DriverHandle;
use super::handle::{Slot, object};
use super::usm::Allocations;
use crate::CLResult;
use crate::driver::dispatch::{create, released, status};
use crate::driver::functions::Functions;
use runtime::blocked;
use runtime::locks::lock;
use runtime::vendor::loaded;

/// The program's error callback: `pfn_notify` of `clCreateContext`.
pub type Notify = unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void);

/// `cl_khr_gl_sharing`, from `CL_GL_CONTEXT_KHR` to `CL_CGL_SHAREGROUP_KHR` (cl_gl.h).
const GRAPHICS_PROPERTIES: std::ops::RangeInclusive<cl_context_properties> = 0x2008..=0x200C;

pub struct Context {
    slot: Slot<Context>,
    pub real: DriverHandle,
    pub devices: Vec<Arc<Device>>,
    /// As the program passed them, ending zero included; `None` where it passed NULL.
    pub properties: Option<Vec<cl_context_properties>>,
    /// Leaked: a driver may call until long after the release, and these are few and small.
    notify: Option<&'static (Notify, usize)>,
    pub destructors: DestructorCallbacks,
    /// The driver's extension functions.
    pub functions: Functions,
    pub usm: Allocations,
    /// By device id: the id of the queue that `clSetDefaultDeviceCommandQueue` set last.
    default_queues: Mutex<BTreeMap<u64, u64>>,
}

object!(Context, CL_INVALID_CONTEXT);

impl Context {
    /// # Errors
    /// The driver's.
    pub fn create(
        properties: Option<Vec<cl_context_properties>>,
        devices: Vec<Arc<Device>>,
        notify: Option<(Notify, usize)>,
    ) -> CLResult<Arc<Context>> {
        let context = Context {
            slot: Slot::reserve(),
            real: DriverHandle::new(std::ptr::null_mut()),
            devices,
            properties,
            notify: notify.map(|pair| &*Box::leak(Box::new(pair))),
            destructors: DestructorCallbacks::default(),
            functions: Functions::default(),
            usm: Allocations::default(),
            default_queues: Mutex::default(),
        };
        if context.wants_graphics() {
            return Err(CL_INVALID_PROPERTY);
        }
        context.recreate()?;
        if context.shares_with_others() {
            blocked::block("a context shares objects with another API (context properties)");
        }
        Ok(Arc::new(context))
    }

    /// Makes the driver's context: at creation, and again after a move.
    ///
    /// # Errors
    /// The driver's.
    pub fn recreate(&self) -> CLResult<()> {
        let device = self.devices.first().ok_or(CL_INVALID_OPERATION)?;
        let properties = self.real_properties();
        let properties = properties
            .as_ref()
            .map_or(std::ptr::null(), |list| list.as_ptr());
        let devices = driver_handles(&self.devices);
        let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let notify = self.notify.map(|_| notified as Notify);
        let user = self.notify.map_or(std::ptr::null_mut(), |pair| {
            std::ptr::from_ref(pair).cast_mut().cast()
        });
        let real = loaded::opening(|| {
            create!(
                device.real.get(),
                clCreateContext(properties, count, devices.as_ptr(), notify, user)
            )
        })?;
        self.real.set(real);
        Ok(())
    }

    fn real_properties(&self) -> Option<Vec<cl_context_properties>> {
        let mut list = self.properties.clone()?;
        for pair in list.chunks_exact_mut(2) {
            if pair[0] == CL_CONTEXT_PLATFORM {
                // After a move the devices may be another platform's.
                pair[1] = self.devices.first()?.platform.real.get() as cl_context_properties;
            }
        }
        Some(list)
    }

    /// "`CL_INVALID_PROPERTY` if context property name in properties is not a supported property name": those of the
    /// sharing extensions, which are not offered.
    fn wants_graphics(&self) -> bool {
        self.properties.as_ref().is_some_and(|list| {
            list.chunks_exact(2)
                .any(|pair| GRAPHICS_PROPERTIES.contains(&pair[0]))
        })
    }

    fn shares_with_others(&self) -> bool {
        self.properties.as_ref().is_some_and(|list| {
            list.chunks_exact(2).any(|pair| {
                pair[0] != CL_CONTEXT_PLATFORM && pair[0] != CL_CONTEXT_INTEROP_USER_SYNC
            })
        })
    }

    /// Remembers a device's default queue, by its id.
    pub fn set_default_queue(&self, device: &Device, queue: u64) {
        self.default_queues().insert(device.slot.id(), queue);
    }

    /// The id of the queue that `clSetDefaultDeviceCommandQueue` set last for a device.
    pub fn default_queue(&self, device: &Device) -> Option<u64> {
        self.default_queues().get(&device.slot.id()).copied()
    }

    fn default_queues(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        lock(&self.default_queues)
    }

    /// A device of the driver's, by which its extension functions are found.
    #[inline]
    pub fn first_device(&self) -> *mut c_void {
        let first = self.devices.first();
        first.map_or(std::ptr::null_mut(), |device| device.real.get())
    }

    /// The program's handle of a driver's device of this context, NULL if it is none; `real` as in the answer to a query.
    pub fn shadow_of(&self, real: u64) -> *mut c_void {
        let mut devices = self.devices.iter();
        let device = devices.find(|device| device.real.get() as u64 == real);
        device.map_or(std::ptr::null_mut(), |device| device.slot.handle())
    }

    /// Releases the driver's context; made again by [`Context::recreate`].
    pub fn release_driver(&self) {
        self.functions.forget();
        if let Some(real) = self.real.take() {
            released("a context", status!(real, clReleaseContext(real)));
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.release_driver();
        self.destructors.take(self.slot.handle()).call();
    }
}

/// The texts live only for this call, so they are copied for the callback thread.
unsafe extern "C" fn notified(
    text: *const c_char,
    private: *const c_void,
    bytes: usize,
    user: *mut c_void,
) {
    // SAFETY: `user` is the pair leaked when the context was created.
    let (call, data) = unsafe { *user.cast::<(Notify, usize)>() };
    // SAFETY: the driver gives a zero-ended text, or NULL.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned());
    // SAFETY: the driver gives `bytes` bytes of its own, or NULL.
    let private = (!private.is_null())
        .then(|| unsafe { std::slice::from_raw_parts(private.cast::<u8>(), bytes) }.to_vec());
    runtime::callbacks::run(move || {
        let text = text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        let private = private
            .as_ref()
            .map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast());
        // SAFETY: the program gave this function for these arguments.
        unsafe { call(text, private, bytes, data as *mut c_void) };
    });
}
