//! What a pointer is.

use std::ffi::{c_int, c_uint, c_void};

use crate::abi::*;
use crate::call::entry_points;
use crate::context;
use crate::ffi::{get, list, put};
use crate::memory::space::{self, Kind, Mapping};

const CONTEXT: c_uint = 1;
const MEMORY_TYPE: c_uint = 2;
const IS_MANAGED: c_uint = 8;
const ORDINAL: c_uint = 9;
const MAPPED: c_uint = 13;
const LAST: c_uint = 22;

fn write(data: *mut c_void, attribute: c_uint, at: CUdeviceptr, found: &Mapping) -> Outcome<()> {
    let is_host = matches!(found.kind, Kind::Host | Kind::Registered);
    let has_host = is_host || found.kind == Kind::Managed;
    match attribute {
        CONTEXT if matches!(found.kind, Kind::Physical(_)) => put(data.cast::<Handle>(), 0),
        CONTEXT => put(data.cast(), found.context),
        MEMORY_TYPE => put(
            data.cast(),
            if is_host {
                CU_MEMORYTYPE_HOST
            } else {
                CU_MEMORYTYPE_DEVICE
            },
        ),
        3 => put(data.cast(), at),
        4 if has_host => put(data.cast(), at),
        5 => Err(CUDA_ERROR_NOT_SUPPORTED),
        6 => put(data.cast(), c_uint::from(found.flags & SYNC_MEMOPS != 0)),
        7 | 20 => put(data.cast(), found.id),
        IS_MANAGED => put(data.cast(), c_uint::from(found.kind == Kind::Managed)),
        ORDINAL => put(data.cast(), found.device as c_int),
        10 => put(data.cast(), u8::from(found.kind == Kind::Device)),
        11 | 19 => put(data.cast(), found.start),
        12 | 18 => put(data.cast(), found.size as usize),
        MAPPED => put(data.cast(), 1_u8),
        14 => put(
            data.cast(),
            match found.kind {
                Kind::Physical(_) => u64::from(found.flags & 1),
                _ => 0,
            },
        ),
        15 => put(data.cast(), 0_u8),
        16 => put(data.cast(), c_uint::from(found.access[found.device])),
        17 => put(
            data.cast(),
            match found.kind {
                Kind::Pool(pool) => pool,
                _ => 0,
            },
        ),
        21 => put(data.cast(), 0_u8),
        22 => put(data.cast(), 0_i32),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

/// In a mapping's flags: copies of it wait.
const SYNC_MEMOPS: u32 = 1 << 31;

/// What attributes of a pointer are that is none of ours, when several are asked for at once.
fn write_unknown(data: *mut c_void, attribute: c_uint) -> Outcome<()> {
    match attribute {
        MEMORY_TYPE | IS_MANAGED | 6 | 14 | 16 => put(data.cast(), 0_u32),
        ORDINAL => put(data.cast(), -2_i32),
        10 | MAPPED | 15 | 21 => put(data.cast(), 0_u8),
        1..=LAST => put(data.cast(), 0_u64),
        _ => Err(CUDA_ERROR_INVALID_VALUE),
    }
}

entry_points! {
    fn cuPointerGetAttribute(data: *mut c_void, attribute: c_uint, at: CUdeviceptr) {
        context::current()?;
        let found = space::find(at).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        write(data, attribute, at, &found)
    }

    fn cuPointerGetAttributes(count: c_uint, attributes: *const c_uint, data: *const *mut c_void, at: CUdeviceptr) {
        context::current()?;
        let found = space::find(at);
        for (attribute, data) in list(attributes, count as usize)?.into_iter().zip(list(data, count as usize)?) {
            match &found {
                Some(found) => write(data, attribute, at, found).or_else(|_| write_unknown(data, attribute))?,
                None => write_unknown(data, attribute)?,
            }
        }
        Ok(())
    }

    fn cuPointerSetAttribute(value: *const c_void, attribute: c_uint, at: CUdeviceptr) {
        context::current()?;
        let mut found = space::find(at).ok_or(CUDA_ERROR_INVALID_VALUE)?;
        if attribute != 6 {
            return Err(CUDA_ERROR_INVALID_VALUE);
        }
        match get(value.cast::<c_uint>())? {
            0 => found.flags &= !SYNC_MEMOPS,
            _ => found.flags |= SYNC_MEMOPS,
        }
        space::insert(found);
        Ok(())
    }
}
