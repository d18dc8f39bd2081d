//! Drivers that leave dispatching to the loader (`cl_khr_icd` 2.0).
//!
//! Their tables say so by a tag in two places. The functions are asked for by name, and the driver hands the table made of them
//! on to every object, behind its own.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString, c_char, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::sync::Mutex;

use opencl_sys::cl_icd::cl_icd_dispatch;
use opencl_sys::{CL_SUCCESS, cl_int};

use super::dispatch::{ICD2_TAG, is_tagged};
use runtime::locks::lock;

type GetFunction = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
type SetData = unsafe extern "C" fn(*mut c_void, *mut c_void) -> cl_int;

/// What a library of the second version has beside those of the first.
#[derive(Clone, Copy)]
pub(super) struct Managed {
    get_function: GetFunction,
    set_data: SetData,
}

impl Managed {
    /// `find` looks up an extension function of the library.
    pub(super) fn find(find: impl Fn(&CStr) -> *mut c_void) -> Option<Managed> {
        let get_function = find(c"clIcdGetFunctionAddressForPlatformKHR");
        let set_data = find(c"clIcdSetPlatformDispatchDataKHR");
        if get_function.is_null() || set_data.is_null() {
            return None;
        }
        // SAFETY: `cl_khr_icd` gives the functions of these names these prototypes.
        Some(unsafe {
            Managed {
                get_function: std::mem::transmute::<*mut c_void, GetFunction>(get_function),
                set_data: std::mem::transmute::<*mut c_void, SetData>(set_data),
            }
        })
    }
}

/// A table of ours for each platform of a library, by the library's name and the platform's number. It stays where it is, with the
/// functions of the newest load: a library that could not be unloaded has its address.
static TABLES: Mutex<BTreeMap<(OsString, usize), usize>> = Mutex::new(BTreeMap::new());

fn table_for(library: &OsStr, number: usize) -> *mut cl_icd_dispatch {
    let mut tables = lock(&TABLES);
    let table = tables.entry((library.to_owned(), number));
    let empty = || Box::into_raw(Box::new(MaybeUninit::<cl_icd_dispatch>::zeroed()));
    let address = table.or_insert_with(|| empty().expose_provenance());
    std::ptr::with_exposed_provenance_mut(*address)
}

/// Why a platform cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("a platform without a dispatch table")]
    NoTable,
    #[error("a platform for a loader that manages dispatching, but not the functions")]
    NoFunctions,
    #[error("a dispatch table with half of the tag of cl_khr_icd 2.0")]
    HalfTag,
    #[error("clIcdSetPlatformDispatchDataKHR failed with OpenCL error {0}")]
    Refused(cl_int),
}

/// Makes a platform fit to be called, where its driver wants that; to be done once after a load, before all other calls.
///
/// # Errors
/// Why it cannot be used, for the log.
pub(super) fn adopt(
    managed: Option<Managed>,
    library: &OsStr,
    number: usize,
    platform: *mut c_void,
) -> Result<(), Unusable> {
    // SAFETY: a driver's platform starts with the pointer to its table.
    let table = unsafe { platform.cast::<*const cl_icd_dispatch>().read() };
    if table.is_null() {
        return Err(Unusable::NoTable);
    }
    let second = offset_of!(cl_icd_dispatch, clUnloadCompiler) / size_of::<usize>();
    // SAFETY: every version of the table has this entry, a pointer.
    let also_second = unsafe { table.cast::<usize>().add(second).read() } == ICD2_TAG;
    match (is_tagged(table), also_second, managed) {
        (false, false, _) => Ok(()),
        (true, true, Some(managed)) => give(managed, table_for(library, number), platform),
        (true, true, None) => Err(Unusable::NoFunctions),
        _ => Err(Unusable::HalfTag),
    }
}

fn give(
    managed: Managed,
    table: *mut cl_icd_dispatch,
    platform: *mut c_void,
) -> Result<(), Unusable> {
    // SAFETY: the platform is the driver's, and the name a C string.
    let find = |name: &CStr| unsafe { (managed.get_function)(platform, name.as_ptr()) };
    // SAFETY: the table is of its platform alone, which has just been found: nobody calls it yet.
    unsafe { fill(table, find) };
    // SAFETY: the platform is the driver's, and the table stays for ever.
    match unsafe { (managed.set_data)(platform, table.cast()) } {
        CL_SUCCESS => Ok(()),
        code => Err(Unusable::Refused(code)),
    }
}

macro_rules! fill {
    ($($name:ident)*) => {
        /// Puts every function into `table` that [`super::dispatch`] may be asked for; null where the driver has none.
        ///
        /// # Safety
        /// Nobody else uses the table meanwhile.
        unsafe fn fill(table: *mut cl_icd_dispatch, find: impl Fn(&CStr) -> *mut c_void) {
            let put = |offset: usize, name: &str| {
                let name = CStr::from_bytes_with_nul(name.as_bytes()).expect("ends with a zero");
                // SAFETY: at this offset is the entry of this name, which has the function's prototype; null is `None`.
                unsafe { table.byte_add(offset).cast::<*mut c_void>().write(find(name)) };
            };
            $(put(offset_of!(cl_icd_dispatch, $name), concat!(stringify!($name), "\0"));)*
        }
    };
}

fill! {
        clGetPlatformIDs clGetPlatformInfo clGetDeviceIDs clGetDeviceInfo clCreateContext
        clCreateContextFromType clRetainContext clReleaseContext clGetContextInfo clCreateCommandQueue
        clRetainCommandQueue clReleaseCommandQueue clGetCommandQueueInfo clSetCommandQueueProperty
        clCreateBuffer clCreateImage2D clCreateImage3D clRetainMemObject clReleaseMemObject
        clGetSupportedImageFormats clGetMemObjectInfo clGetImageInfo clCreateSampler clRetainSampler
        clReleaseSampler clGetSamplerInfo clCreateProgramWithSource clCreateProgramWithBinary clRetainProgram
        clReleaseProgram clBuildProgram clUnloadCompiler clGetProgramInfo clGetProgramBuildInfo clCreateKernel
        clCreateKernelsInProgram clRetainKernel clReleaseKernel clSetKernelArg clGetKernelInfo
        clGetKernelWorkGroupInfo clWaitForEvents clGetEventInfo clRetainEvent clReleaseEvent
        clGetEventProfilingInfo clFlush clFinish clEnqueueReadBuffer clEnqueueWriteBuffer clEnqueueCopyBuffer
        clEnqueueReadImage clEnqueueWriteImage clEnqueueCopyImage clEnqueueCopyImageToBuffer
        clEnqueueCopyBufferToImage clEnqueueMapBuffer clEnqueueMapImage clEnqueueUnmapMemObject
        clEnqueueNDRangeKernel clEnqueueTask clEnqueueNativeKernel clEnqueueMarker clEnqueueWaitForEvents
        clEnqueueBarrier clGetExtensionFunctionAddress clCreateFromGLBuffer clCreateFromGLTexture2D
        clCreateFromGLTexture3D clCreateFromGLRenderbuffer clGetGLObjectInfo clGetGLTextureInfo
        clEnqueueAcquireGLObjects clEnqueueReleaseGLObjects clGetGLContextInfoKHR clSetEventCallback
        clCreateSubBuffer clSetMemObjectDestructorCallback clCreateUserEvent clSetUserEventStatus
        clEnqueueReadBufferRect clEnqueueWriteBufferRect clEnqueueCopyBufferRect clCreateSubDevicesEXT
        clRetainDeviceEXT clReleaseDeviceEXT clCreateEventFromGLsyncKHR clCreateSubDevices clRetainDevice
        clReleaseDevice clCreateImage clCreateProgramWithBuiltInKernels clCompileProgram clLinkProgram
        clUnloadPlatformCompiler clGetKernelArgInfo clEnqueueFillBuffer clEnqueueFillImage
        clEnqueueMigrateMemObjects clEnqueueMarkerWithWaitList clEnqueueBarrierWithWaitList
        clGetExtensionFunctionAddressForPlatform clCreateFromGLTexture clCreateFromEGLImageKHR
        clEnqueueAcquireEGLObjectsKHR clEnqueueReleaseEGLObjectsKHR clCreateEventFromEGLSyncKHR
        clCreateCommandQueueWithProperties clCreatePipe clGetPipeInfo clSVMAlloc clSVMFree clEnqueueSVMFree
        clEnqueueSVMMemcpy clEnqueueSVMMemFill clEnqueueSVMMap clEnqueueSVMUnmap clCreateSamplerWithProperties
        clSetKernelArgSVMPointer clSetKernelExecInfo clGetKernelSubGroupInfoKHR clCloneKernel
        clCreateProgramWithIL clEnqueueSVMMigrateMem clGetDeviceAndHostTimer clGetHostTimer
        clGetKernelSubGroupInfo clSetDefaultDeviceCommandQueue clSetProgramReleaseCallback
        clSetProgramSpecializationConstant clCreateBufferWithProperties clCreateImageWithProperties
        clSetContextDestructorCallback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_filled() {
        let any = |_: &CStr| every_entry_is_filled as *mut c_void;
        let (all, ours) = (words(&filled(any)), words(crate::table::dispatch()));
        let missing = all
            .iter()
            .zip(ours)
            .position(|(all, ours)| *all == 0 && ours != 0);
        assert_eq!(missing, None, "an entry that our own table has");
        let table = filled(|name| match name == c"clFinish" {
            true => any(name),
            false => std::ptr::null_mut(),
        });
        assert!(table.clFinish.is_some() && table.clFlush.is_none());
    }

    fn filled(find: impl Fn(&CStr) -> *mut c_void) -> cl_icd_dispatch {
        let mut table = MaybeUninit::<cl_icd_dispatch>::zeroed();
        // SAFETY: the table is this test's, and holds only `Option<fn>` (zero is `None`) and integers.
        unsafe {
            fill(table.as_mut_ptr(), find);
            table.assume_init()
        }
    }

    fn words(table: &cl_icd_dispatch) -> Vec<usize> {
        let count = size_of::<cl_icd_dispatch>() / size_of::<usize>();
        // SAFETY: every field is a word, a function's address or a number.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(table).cast(), count) }.to_vec()
    }

    unsafe extern "C" fn get(_platform: *mut c_void, _name: *const c_char) -> *mut c_void {
        std::ptr::null_mut()
    }

    /// Keeps the data where the specification has it.
    unsafe extern "C" fn set(platform: *mut c_void, data: *mut c_void) -> cl_int {
        // SAFETY: the test's platform has two words.
        unsafe { platform.cast::<*mut c_void>().add(1).write(data) };
        CL_SUCCESS
    }

    #[test]
    fn half_of_the_second_version_is_refused() {
        const MANAGED: Managed = Managed {
            get_function: get,
            set_data: set,
        };
        let with = |first: bool, second: bool| {
            let mut table = MaybeUninit::<cl_icd_dispatch>::zeroed();
            let tags = [
                (first, offset_of!(cl_icd_dispatch, clGetPlatformIDs)),
                (second, offset_of!(cl_icd_dispatch, clUnloadCompiler)),
            ];
            for (_, offset) in tags.into_iter().filter(|(is_there, _)| *is_there) {
                // SAFETY: a pointer is there, inside the table.
                unsafe {
                    table
                        .as_mut_ptr()
                        .byte_add(offset)
                        .cast::<usize>()
                        .write(ICD2_TAG)
                };
            }
            table
        };
        let adopt = |first, second, managed: Option<Managed>| {
            let table = with(first, second);
            let mut platform = [
                (&raw const table).cast::<c_void>().cast_mut(),
                std::ptr::null_mut(),
            ];
            let answer = super::adopt(
                managed,
                OsStr::new("a test"),
                1,
                platform.as_mut_ptr().cast(),
            );
            (answer.is_ok(), !platform[1].is_null())
        };
        assert_eq!(adopt(false, false, None), (true, false));
        assert_eq!(adopt(false, false, Some(MANAGED)), (true, false));
        assert_eq!(adopt(true, true, Some(MANAGED)), (true, true));
        for (first, second, managed) in [
            (true, true, None),
            (true, false, Some(MANAGED)),
            (false, true, Some(MANAGED)),
        ] {
            assert_eq!(adopt(first, second, managed), (false, false));
        }
    }
}
