//! The codes that functions answer, with their names and texts (`cuGetErrorName`, `cuGetErrorString`).

use std::ffi::{CStr, c_int};

pub type CUresult = c_int;

macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(#[allow(dead_code, reason = "the table is whole")]
        pub const $name: CUresult = $code;)*

        /// Every code, with its name and its text.
        const CODES: &[(CUresult, &CStr, &CStr)] = &[$(($code, name(concat!(stringify!($name), "\0")), $text)),*];
    };
}

const fn name(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

/// What a function answers.
pub type Outcome<T> = Result<T, CUresult>;

fn entry(code: CUresult) -> Option<&'static (CUresult, &'static CStr, &'static CStr)> {
    CODES.iter().find(|(known, ..)| *known == code)
}

/// The name of a code, as cuda.h has it.
pub fn name_of(code: CUresult) -> Option<&'static CStr> {
    entry(code).map(|(_, name, _)| *name)
}

/// The text of a code: that of its name.
pub fn text_of(code: CUresult) -> Option<&'static CStr> {
    entry(code).map(|(_, _, text)| *text)
}

/// The code of a name (with or without `CUDA_ERROR_`) or of a number.
pub fn parse(text: &str) -> Option<CUresult> {
    if let Ok(code) = text.parse() {
        return (code != CUDA_SUCCESS).then_some(code);
    }
    CODES
        .iter()
        .find(|(_, name, _)| {
            let name = name.to_str().unwrap_or_default();
            name == text || name.strip_prefix("CUDA_ERROR_") == Some(text)
        })
        .map(|(code, ..)| *code)
}

codes! {
    CUDA_SUCCESS = 0, c"no error";
    CUDA_ERROR_INVALID_VALUE = 1, c"invalid value";
    CUDA_ERROR_OUT_OF_MEMORY = 2, c"out of memory";
    CUDA_ERROR_NOT_INITIALIZED = 3, c"not initialized";
    CUDA_ERROR_DEINITIALIZED = 4, c"deinitialized";
    CUDA_ERROR_PROFILER_DISABLED = 5, c"profiler disabled";
    CUDA_ERROR_PROFILER_NOT_INITIALIZED = 6, c"profiler not initialized";
    CUDA_ERROR_PROFILER_ALREADY_STARTED = 7, c"profiler already started";
    CUDA_ERROR_PROFILER_ALREADY_STOPPED = 8, c"profiler already stopped";
    CUDA_ERROR_STUB_LIBRARY = 34, c"stub library";
    CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER = 36, c"call requires newer driver";
    CUDA_ERROR_DEVICE_UNAVAILABLE = 46, c"device unavailable";
    CUDA_ERROR_MULTICAST_RESOURCE_FULL = 47, c"multicast resource full";
    CUDA_ERROR_NO_DEVICE = 100, c"no device";
    CUDA_ERROR_INVALID_DEVICE = 101, c"invalid device";
    CUDA_ERROR_DEVICE_NOT_LICENSED = 102, c"device not licensed";
    CUDA_ERROR_INVALID_IMAGE = 200, c"invalid image";
    CUDA_ERROR_INVALID_CONTEXT = 201, c"invalid context";
    CUDA_ERROR_CONTEXT_ALREADY_CURRENT = 202, c"context already current";
    CUDA_ERROR_MAP_FAILED = 205, c"map failed";
    CUDA_ERROR_UNMAP_FAILED = 206, c"unmap failed";
    CUDA_ERROR_ARRAY_IS_MAPPED = 207, c"array is mapped";
    CUDA_ERROR_ALREADY_MAPPED = 208, c"already mapped";
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209, c"no binary for gpu";
    CUDA_ERROR_ALREADY_ACQUIRED = 210, c"already acquired";
    CUDA_ERROR_NOT_MAPPED = 211, c"not mapped";
    CUDA_ERROR_NOT_MAPPED_AS_ARRAY = 212, c"not mapped as array";
    CUDA_ERROR_NOT_MAPPED_AS_POINTER = 213, c"not mapped as pointer";
    CUDA_ERROR_ECC_UNCORRECTABLE = 214, c"ecc uncorrectable";
    CUDA_ERROR_UNSUPPORTED_LIMIT = 215, c"unsupported limit";
    CUDA_ERROR_CONTEXT_ALREADY_IN_USE = 216, c"context already in use";
    CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = 217, c"peer access unsupported";
    CUDA_ERROR_INVALID_PTX = 218, c"invalid ptx";
    CUDA_ERROR_INVALID_GRAPHICS_CONTEXT = 219, c"invalid graphics context";
    CUDA_ERROR_NVLINK_UNCORRECTABLE = 220, c"nvlink uncorrectable";
    CUDA_ERROR_JIT_COMPILER_NOT_FOUND = 221, c"jit compiler not found";
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222, c"unsupported ptx version";
    CUDA_ERROR_JIT_COMPILATION_DISABLED = 223, c"jit compilation disabled";
    CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY = 224, c"unsupported exec affinity";
    CUDA_ERROR_UNSUPPORTED_DEVSIDE_SYNC = 225, c"unsupported devside sync";
    CUDA_ERROR_CONTAINED = 226, c"contained";
    CUDA_ERROR_INSUFFICIENT_LOADER_VERSION = 227, c"insufficient loader version";
    CUDA_ERROR_INVALID_SOURCE = 300, c"invalid source";
    CUDA_ERROR_FILE_NOT_FOUND = 301, c"file not found";
    CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND = 302, c"shared object symbol not found";
    CUDA_ERROR_SHARED_OBJECT_INIT_FAILED = 303, c"shared object init failed";
    CUDA_ERROR_OPERATING_SYSTEM = 304, c"operating system";
    CUDA_ERROR_INVALID_HANDLE = 400, c"invalid handle";
    CUDA_ERROR_ILLEGAL_STATE = 401, c"illegal state";
    CUDA_ERROR_LOSSY_QUERY = 402, c"lossy query";
    CUDA_ERROR_NOT_FOUND = 500, c"not found";
    CUDA_ERROR_NOT_READY = 600, c"not ready";
    CUDA_ERROR_ILLEGAL_ADDRESS = 700, c"illegal address";
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701, c"launch out of resources";
    CUDA_ERROR_LAUNCH_TIMEOUT = 702, c"launch timeout";
    CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING = 703, c"launch incompatible texturing";
    CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704, c"peer access already enabled";
    CUDA_ERROR_PEER_ACCESS_NOT_ENABLED = 705, c"peer access not enabled";
    CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708, c"primary context active";
    CUDA_ERROR_CONTEXT_IS_DESTROYED = 709, c"context is destroyed";
    CUDA_ERROR_ASSERT = 710, c"assert";
    CUDA_ERROR_TOO_MANY_PEERS = 711, c"too many peers";
    CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED = 712, c"host memory already registered";
    CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED = 713, c"host memory not registered";
    CUDA_ERROR_HARDWARE_STACK_ERROR = 714, c"hardware stack error";
    CUDA_ERROR_ILLEGAL_INSTRUCTION = 715, c"illegal instruction";
    CUDA_ERROR_MISALIGNED_ADDRESS = 716, c"misaligned address";
    CUDA_ERROR_INVALID_ADDRESS_SPACE = 717, c"invalid address space";
    CUDA_ERROR_INVALID_PC = 718, c"invalid pc";
    CUDA_ERROR_LAUNCH_FAILED = 719, c"launch failed";
    CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720, c"cooperative launch too large";
    CUDA_ERROR_TENSOR_MEMORY_LEAK = 721, c"tensor memory leak";
    CUDA_ERROR_NOT_PERMITTED = 800, c"not permitted";
    CUDA_ERROR_NOT_SUPPORTED = 801, c"not supported";
    CUDA_ERROR_SYSTEM_NOT_READY = 802, c"system not ready";
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803, c"system driver mismatch";
    CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE = 804, c"compat not supported on device";
    CUDA_ERROR_MPS_CONNECTION_FAILED = 805, c"mps connection failed";
    CUDA_ERROR_MPS_RPC_FAILURE = 806, c"mps rpc failure";
    CUDA_ERROR_MPS_SERVER_NOT_READY = 807, c"mps server not ready";
    CUDA_ERROR_MPS_MAX_CLIENTS_REACHED = 808, c"mps max clients reached";
    CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED = 809, c"mps max connections reached";
    CUDA_ERROR_MPS_CLIENT_TERMINATED = 810, c"mps client terminated";
    CUDA_ERROR_CDP_NOT_SUPPORTED = 811, c"cdp not supported";
    CUDA_ERROR_CDP_VERSION_MISMATCH = 812, c"cdp version mismatch";
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900, c"stream capture unsupported";
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901, c"stream capture invalidated";
    CUDA_ERROR_STREAM_CAPTURE_MERGE = 902, c"stream capture merge";
    CUDA_ERROR_STREAM_CAPTURE_UNMATCHED = 903, c"stream capture unmatched";
    CUDA_ERROR_STREAM_CAPTURE_UNJOINED = 904, c"stream capture unjoined";
    CUDA_ERROR_STREAM_CAPTURE_ISOLATION = 905, c"stream capture isolation";
    CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = 906, c"stream capture implicit";
    CUDA_ERROR_CAPTURED_EVENT = 907, c"captured event";
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908, c"stream capture wrong thread";
    CUDA_ERROR_TIMEOUT = 909, c"timeout";
    CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910, c"graph exec update failure";
    CUDA_ERROR_EXTERNAL_DEVICE = 911, c"external device";
    CUDA_ERROR_INVALID_CLUSTER_SIZE = 912, c"invalid cluster size";
    CUDA_ERROR_FUNCTION_NOT_LOADED = 913, c"function not loaded";
    CUDA_ERROR_INVALID_RESOURCE_TYPE = 914, c"invalid resource type";
    CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION = 915, c"invalid resource configuration";
    CUDA_ERROR_KEY_ROTATION = 916, c"key rotation";
    CUDA_ERROR_STREAM_DETACHED = 917, c"stream detached";
    CUDA_ERROR_GRAPH_RECAPTURE_FAILURE = 918, c"graph recapture failure";
    CUDA_ERROR_FABRIC_NOT_READY = 919, c"fabric not ready";
    CUDA_ERROR_UNKNOWN = 999, c"unknown";
}
