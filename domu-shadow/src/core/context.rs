//! Contexts: made from the devices and properties as the program gave them, with the handles translated.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use opencl_sys::{
    CL_CONTEXT_INTEROP_USER_SYNC, CL_CONTEXT_PLATFORM, CL_INVALID_CONTEXT, CL_INVALID_OPERATION,
    cl_context_properties, cl_int,
};

use super::device::Device;
use super::handle::{Kind, Object, Slot};
use super::real::Real;
use super::{CLResult, movable};
use crate::driver::dispatch::{create, status};

/// The program's error callback: `pfn_notify` of `clCreateContext`.
pub type Notify = unsafe extern "C" fn(*const c_char, *const c_void, usize, *mut c_void);
/// `clSetContextDestructorCallback`'s function: context, user data.
pub type Destructor = unsafe extern "C" fn(*mut c_void, *mut c_void);

pub struct Context {
    slot: Slot<Context>,
    pub real: Real,
    pub devices: Vec<Arc<Device>>,
    /// As the program passed them, ending zero included; `None` where it passed NULL.
    pub properties: Option<Vec<cl_context_properties>>,
    /// Leaked: a driver may call until long after the release, and these are few and small.
    notify: Option<&'static (Notify, usize)>,
    destructors: Mutex<Vec<(Destructor, usize)>>,
}

impl Object for Context {
    const KIND: Kind = Kind::Context;
    const INVALID: cl_int = CL_INVALID_CONTEXT;
    fn slot(&self) -> &Slot<Self> {
        &self.slot
    }
}

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
            real: Real::new(std::ptr::null_mut()),
            devices,
            properties,
            notify: notify.map(|pair| &*Box::leak(Box::new(pair))),
            destructors: Mutex::new(Vec::new()),
        };
        context.make()?;
        if context.shares_with_others() {
            movable::block("a context shares objects with another API (context properties)");
        }
        Ok(Arc::new(context))
    }

    /// Makes the driver's context: at creation, and again after a move.
    ///
    /// # Errors
    /// The driver's.
    pub fn make(&self) -> CLResult<()> {
        let device = self.devices.first().ok_or(CL_INVALID_OPERATION)?;
        let properties = self.real_properties();
        let properties = properties
            .as_ref()
            .map_or(std::ptr::null(), |list| list.as_ptr());
        let devices: Vec<*mut c_void> = self
            .devices
            .iter()
            .map(|device| device.real.get())
            .collect();
        let count = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let notify = self.notify.map(|_| notified as Notify);
        let user = self.notify.map_or(std::ptr::null_mut(), |pair| {
            std::ptr::from_ref(pair).cast_mut().cast()
        });
        let real = create!(
            device.real.get(),
            clCreateContext(properties, count, devices.as_ptr(), notify, user)
        )?;
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

    fn shares_with_others(&self) -> bool {
        self.properties.as_ref().is_some_and(|list| {
            list.chunks_exact(2).any(|pair| {
                pair[0] != CL_CONTEXT_PLATFORM && pair[0] != CL_CONTEXT_INTEROP_USER_SYNC
            })
        })
    }

    /// Registers a destructor callback; they run last registered first.
    pub fn on_destruction(&self, call: Destructor, user: usize) {
        self.destructors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((call, user));
    }

    /// Releases the driver's context; made again by [`Context::make`].
    pub fn unmake(&self) {
        if let Some(real) = self.real.take()
            && let Err(code) = status!(real, clReleaseContext(real))
        {
            log::warn!("a driver refused to release a context: error {code}");
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.unmake();
        let calls = std::mem::take(
            self.destructors
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let handle = self.slot.handle() as usize;
        for (call, user) in calls.into_iter().rev() {
            // SAFETY: the program registered the function for a call with its context and its own user data.
            crate::callbacks::run(move || unsafe {
                call(handle as *mut c_void, user as *mut c_void)
            });
        }
    }
}

unsafe extern "C" fn notified(
    text: *const c_char,
    private: *const c_void,
    bytes: usize,
    user: *mut c_void,
) {
    // SAFETY: `user` is the pair leaked when the context was created.
    let (call, data) = unsafe { *user.cast::<(Notify, usize)>() };
    // The text lives only for this call, so it is passed on here and not on the callback thread.
    // SAFETY: the program gave this function for these arguments.
    unsafe { call(text, private, bytes, data as *mut c_void) };
}
