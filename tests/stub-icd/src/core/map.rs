//! Mapped memory objects. As on a card of its own, a map copies to host memory and an unmap copies back, unless the
//! program asked for host memory; the host memory is gone after the unmap.

use std::ffi::c_void;
use std::sync::Arc;

use opencl_sys::{CL_INVALID_VALUE, CL_MAP_READ, CL_MAP_WRITE, CL_MAP_WRITE_INVALIDATE_REGION};

use super::command::Work;
use super::geometry::{self, Extent, Pitched, Side};
use super::mapping::Mapping;
use super::mem::Mem;
use crate::ffi::CLResult;
use crate::memory::Memory;

/// What a map gives the program.
pub struct Mapped {
    pub address: *mut c_void,
    pub row_pitch: usize,
    pub slice_pitch: usize,
    pub work: Work,
}

const ALL: u64 = CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;

impl Mem {
    /// Maps a box of the object.
    pub fn map(self: &Arc<Self>, flags: u64, place: Pitched, extent: Extent) -> CLResult<Mapped> {
        let invalidates = flags & CL_MAP_WRITE_INVALIDATE_REGION != 0;
        if flags & !ALL != 0 || invalidates && flags != CL_MAP_WRITE_INVALIDATE_REGION {
            return Err(CL_INVALID_VALUE);
        }
        if flags & CL_MAP_READ != 0 {
            self.host_may_read()?;
        }
        if flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION) != 0 {
            self.host_may_write()?;
        }
        let (staging, host, address) = if self.maps_in_place() {
            (
                None,
                Pitched { start: 0, ..place },
                self.memory.address(self.offset + place.start),
            )
        } else {
            let host = Pitched::new([0; 3], extent, 0, 0)?;
            let staging = Memory::staging(host.end(extent))?;
            let address = staging.address(0);
            (Some(staging), host, address)
        };
        let mapping = Mapping {
            address: address.addr(),
            staging,
            flags,
            place,
            host,
            extent,
        };
        self.mappings.add(mapping.clone());
        let object = self.clone();
        let work = move || match sides(&mapping, &object) {
            Some((host, device)) if !invalidates => geometry::copy(host, device, mapping.extent),
            _ => Ok(()),
        };
        Ok(Mapped {
            address,
            row_pitch: host.row,
            slice_pitch: host.slice,
            work: Box::new(work),
        })
    }

    /// Takes back a map by its address.
    pub fn unmap(self: &Arc<Self>, address: *mut c_void) -> CLResult<Work> {
        let mapping = self.mappings.take(address.addr()).ok_or(CL_INVALID_VALUE)?;
        let object = self.clone();
        let writes = mapping.flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION) != 0;
        Ok(Box::new(move || match sides(&mapping, &object) {
            Some((host, device)) if writes => geometry::copy(device, host, mapping.extent),
            _ => Ok(()),
        }))
    }
}

/// The host's side of a map, and the object's; `None` if the host has the object's memory.
fn sides<'a>(mapping: &'a Mapping, object: &'a Mem) -> Option<(Side<'a>, Side<'a>)> {
    let host = Side {
        memory: mapping.staging.as_ref()?,
        base: 0,
        pitched: mapping.host,
    };
    let device = Side {
        memory: &object.memory,
        base: object.offset,
        pitched: mapping.place,
    };
    Some((host, device))
}
