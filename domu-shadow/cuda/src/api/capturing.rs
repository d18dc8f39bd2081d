//! Capturing streams into graphs: the driver does it, and it is noted when.

use std::ffi::{c_int, c_uint, c_void};
use std::mem::transmute;

use crate::abi::*;
use crate::core::capturing::{self, Stream};
use crate::core::entry::{check, own};
use crate::driver::table::{self, Place};

/// The driver's function of this name, with these types of arguments.
macro_rules! driver {
    ($name:ident($($argument:expr => $type:ty),*)) => {
        // SAFETY: has this prototype (`cuda.h`), and the arguments are the program's; `enter` has looked it up.
        unsafe {
            let real: unsafe extern "C" fn($($type),*) -> CUresult = transmute(table::real(Place::$name as usize));
            check(real($($argument),*))
        }
    };
}

/// Begins a capture with the driver's function, on behalf of the program's.
macro_rules! begin {
    ($name:ident($stream:ident $(, $argument:ident => $type:ty)*), $per_thread:literal) => {{
        let stream = Stream::of($stream, $per_thread);
        driver!($name($stream => CUstream $(, $argument => $type)*))?;
        capturing::begin(stream);
        Ok(())
    }};
}

/// The same for its end. A capture that fails has mostly ended, too: the stream knows.
macro_rules! end {
    ($name:ident($stream:ident, $graph:ident), $is_capturing:ident, $per_thread:literal) => {{
        let answer = driver!($name($stream => CUstream, $graph => *mut *mut c_void));
        let mut status: c_int = 0;
        let told = match answer {
            Ok(()) => Ok(()),
            Err(_) => driver!($is_capturing($stream => CUstream, &raw mut status => *mut c_int)),
        };
        if told.is_err() || status == CU_STREAM_CAPTURE_STATUS_NONE {
            capturing::end(Stream::of($stream, $per_thread));
        }
        answer
    }};
}

const CU_STREAM_CAPTURE_STATUS_NONE: c_int = 0;

own! {
    /// The first version.
    fn cuStreamBeginCapture(stream: CUstream) driver {
        begin!(cuStreamBeginCapture(stream), false)
    }

    /// The first version, with the thread's default stream.
    fn cuStreamBeginCapture_ptsz(stream: CUstream) driver {
        begin!(cuStreamBeginCapture_ptsz(stream), true)
    }

    /// The calls until its end enter a gate that drains.
    fn cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint) driver {
        begin!(cuStreamBeginCapture_v2(stream, mode => c_uint), false)
    }

    /// With the thread's default stream.
    fn cuStreamBeginCapture_v2_ptsz(stream: CUstream, mode: c_uint) driver {
        begin!(cuStreamBeginCapture_v2_ptsz(stream, mode => c_uint), true)
    }

    /// Into a graph that is there.
    fn cuStreamBeginCaptureToGraph(
        stream: CUstream, graph: *mut c_void, dependencies: *const c_void, data: *const c_void, count: usize, mode: c_uint,
    ) driver {
        begin!(cuStreamBeginCaptureToGraph(
            stream, graph => *mut c_void, dependencies => *const c_void, data => *const c_void, count => usize, mode => c_uint
        ), false)
    }

    /// With the thread's default stream.
    fn cuStreamBeginCaptureToGraph_ptsz(
        stream: CUstream, graph: *mut c_void, dependencies: *const c_void, data: *const c_void, count: usize, mode: c_uint,
    ) driver {
        begin!(cuStreamBeginCaptureToGraph_ptsz(
            stream, graph => *mut c_void, dependencies => *const c_void, data => *const c_void, count => usize, mode => c_uint
        ), true)
    }

    /// Into a graph that is there, compared with it.
    fn cuStreamBeginRecaptureToGraph(stream: CUstream, mode: c_uint, graph: *mut c_void, callback: *mut c_void, data: *mut c_void) driver {
        begin!(cuStreamBeginRecaptureToGraph(
            stream, mode => c_uint, graph => *mut c_void, callback => *mut c_void, data => *mut c_void
        ), false)
    }

    /// With the thread's default stream.
    fn cuStreamBeginRecaptureToGraph_ptsz(stream: CUstream, mode: c_uint, graph: *mut c_void, callback: *mut c_void, data: *mut c_void) driver {
        begin!(cuStreamBeginRecaptureToGraph_ptsz(
            stream, mode => c_uint, graph => *mut c_void, callback => *mut c_void, data => *mut c_void
        ), true)
    }

    /// Ends it, also where it had become invalid.
    fn cuStreamEndCapture(stream: CUstream, graph: *mut *mut c_void) driver {
        end!(cuStreamEndCapture(stream, graph), cuStreamIsCapturing, false)
    }

    /// With the thread's default stream.
    fn cuStreamEndCapture_ptsz(stream: CUstream, graph: *mut *mut c_void) driver {
        end!(cuStreamEndCapture_ptsz(stream, graph), cuStreamIsCapturing_ptsz, true)
    }

    /// A capture ends with its stream.
    fn cuStreamDestroy(stream: CUstream) driver {
        capturing::end(Stream::of(stream, false));
        driver!(cuStreamDestroy(stream => CUstream))
    }

    /// As above.
    fn cuStreamDestroy_v2(stream: CUstream) driver {
        capturing::end(Stream::of(stream, false));
        driver!(cuStreamDestroy_v2(stream => CUstream))
    }
}
