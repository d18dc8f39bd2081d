//! Which function stands in which entry of the dispatch table.

use opencl_sys::cl_icd::cl_icd_dispatch;

use crate::api;
use crate::dispatch::EMPTY;
use crate::entries::entries;

macro_rules! build {
    ($(($major:literal, $minor:literal) { $($module:ident::$name:ident,)* })*) => {
        /// The table of an OpenCL version, (major, minor).
        pub fn build(spec: (u32, u32)) -> cl_icd_dispatch {
            let mut table = EMPTY;
            $(if spec >= ($major, $minor) {
                $(table.$name = Some(api::$module::$name);)*
            })*
            table
        }
    };
}
entries!(build);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_has_fewer_entries() {
        let (old, new) = (build((1, 2)), build((3, 0)));
        assert!(
            old.clCreateImage.is_some() && old.clCloneKernel.is_none() && old.clSVMAlloc.is_none()
        );
        assert!(new.clCloneKernel.is_some() && new.clSetContextDestructorCallback.is_some());
        assert!(new.clCreateFromGLBuffer.is_none());
    }
}
