//! Extensions: the names that a program may see.

use std::ffi::c_void;

use crate::driver::query;
use crate::driver::record::{self, Prototypes};

/// Extensions that work: those that add no object of their own to the host API, and no function or one that
/// `extension` offers. docs/opencl.md says more.
const KEPT: [&str; 69] = [
    "cl_amd_fp64",
    "cl_amd_media_ops",
    "cl_amd_media_ops2",
    "cl_amd_popcnt",
    "cl_amd_printf",
    "cl_amd_vec3",
    "cl_ext_float_atomics",
    "cl_intel_advanced_motion_estimation",
    "cl_intel_bfloat16_conversions",
    "cl_intel_device_attribute_query",
    "cl_intel_required_subgroup_size",
    "cl_intel_spirv_device_side_avc_motion_estimation",
    "cl_intel_spirv_media_block_io",
    "cl_intel_spirv_subgroups",
    "cl_intel_split_work_group_barrier",
    "cl_intel_subgroup_2d_block_io",
    "cl_intel_subgroup_local_block_io",
    "cl_intel_subgroup_matrix_multiply_accumulate",
    "cl_intel_subgroup_split_matrix_multiply_accumulate",
    "cl_intel_subgroups",
    "cl_intel_subgroups_char",
    "cl_intel_subgroups_long",
    "cl_intel_subgroups_short",
    "cl_khr_3d_image_writes",
    "cl_khr_byte_addressable_store",
    "cl_khr_depth_images",
    "cl_khr_device_uuid",
    "cl_khr_expect_assume",
    "cl_khr_extended_async_copies",
    "cl_khr_extended_bit_ops",
    "cl_khr_extended_versioning",
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_global_int32_extended_atomics",
    "cl_khr_icd",
    "cl_khr_il_program",
    "cl_khr_image2d_from_buffer",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_integer_dot_product",
    "cl_khr_kernel_clock",
    "cl_khr_local_int32_base_atomics",
    "cl_khr_local_int32_extended_atomics",
    "cl_khr_mipmap_image",
    "cl_khr_pci_bus_info",
    "cl_khr_priority_hints",
    "cl_khr_select_fprounding_mode",
    "cl_khr_spir",
    "cl_khr_spirv_linkonce_odr",
    "cl_khr_spirv_no_integer_wrap_decoration",
    "cl_khr_spirv_queries",
    "cl_khr_subgroup_ballot",
    "cl_khr_subgroup_clustered_reduce",
    "cl_khr_subgroup_extended_types",
    "cl_khr_subgroup_named_barrier",
    "cl_khr_subgroup_non_uniform_arithmetic",
    "cl_khr_subgroup_non_uniform_vote",
    "cl_khr_subgroup_rotate",
    "cl_khr_subgroup_shuffle",
    "cl_khr_subgroup_shuffle_relative",
    "cl_khr_subgroups",
    "cl_khr_suggested_local_work_size",
    "cl_khr_throttle_hints",
    "cl_khr_work_group_uniform_arithmetic",
    "cl_nv_compiler_options",
    "cl_nv_copy_opts",
    "cl_nv_device_attribute_query",
    "cl_nv_pragma_unroll",
];

/// Extensions that work, whose objects keep a program from being moved while it has any.
const BLOCKING: [&str; 9] = [
    "cl_ext_buffer_device_address",
    "cl_intel_unified_shared_memory",
    "cl_khr_external_memory",
    "cl_khr_external_memory_dma_buf",
    "cl_khr_external_memory_opaque_fd",
    "cl_khr_external_semaphore",
    "cl_khr_external_semaphore_opaque_fd",
    "cl_khr_external_semaphore_sync_fd",
    "cl_khr_semaphore",
];

/// Whether a program sees it. `prototypes` are those of the driver's command buffers, if they are known.
fn is_kept(name: &[u8], prototypes: impl FnOnce() -> Option<Prototypes>) -> bool {
    let is_in = |list: &[&str]| std::str::from_utf8(name).is_ok_and(|name| list.contains(&name));
    if name == record::NAME.as_bytes() {
        return prototypes().is_some();
    }
    is_in(&KEPT) || is_in(&BLOCKING) && shows_blocking()
}

/// Set to 1, extensions in [`BLOCKING`] are hidden: for programs that can do without, and shall move.
const MOVABLE_ENV: &str = "XL_GPU_MOVABLE_ONLY";

/// Whether a program sees extensions in [`BLOCKING`], and gets their functions.
pub fn shows_blocking() -> bool {
    std::env::var_os(MOVABLE_ENV).is_none_or(|value| value != "1")
}

/// A driver's extension string without those that do not work here; no terminating zero. `device` is the driver's.
pub fn filter_names(names: &[u8], device: *mut c_void) -> Vec<u8> {
    let names = names.split(|&byte| byte == b' ' || byte == 0);
    names
        .filter(|name| is_kept(name, || Prototypes::of_device(device)))
        .collect::<Vec<_>>()
        .join(&b' ')
}

/// The same for an array of `cl_name_version`.
pub fn filter_versions(list: &[u8]) -> Vec<u8> {
    let entries = list.chunks_exact(query::NAME_VERSION);
    entries
        .zip(query::versions(list))
        .filter(|(_, (name, version))| is_kept(name, || Prototypes::of_version(*version)))
        .flat_map(|(entry, _)| entry)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_works_is_seen() {
        assert!(KEPT.is_sorted());
        assert_eq!(
            filter_names(
                b"cl_khr_icd cl_khr_gl_sharing  cl_khr_fp64 cl_pocl_content_size\0",
                std::ptr::null_mut()
            ),
            b"cl_khr_icd cl_khr_fp64"
        );
        assert_eq!(filter_names(b"\0", std::ptr::null_mut()), b"");
        let mut list = Vec::new();
        // A command buffer of version 2.0 may have other functions than those that are known.
        for name in ["cl_khr_gl_sharing", record::NAME, "cl_khr_fp64"] {
            list.extend_from_slice(&(2_u32 << 22).to_ne_bytes());
            let mut field = [0; 64];
            field[..name.len()].copy_from_slice(name.as_bytes());
            list.extend_from_slice(&field);
        }
        assert_eq!(filter_versions(&list), list[2 * query::NAME_VERSION..]);
    }
}
