//! The list of known kernels, and whether a kernel found in a source is one of them.

use super::number::Scalar;
use super::parse::{Kind, Signature, Space};

/// What a parameter must be. All `Array` and `Element` of one kernel have the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Pointer to global or constant memory.
    Array,
    /// Pointer to local memory.
    Scratch,
    /// A value of the arrays' type.
    Element,
    /// A `uint` value.
    Count,
    Image,
    Sampler,
    /// An on-device queue.
    Line,
}

use Want::{Array, Count, Element, Image, Line, Sampler, Scratch};

const KNOWN: [(&str, &[Want]); 15] = [
    // c[i] = a[i] + b[i]
    ("add", &[Array, Array, Array]),
    // a[i] *= f
    ("scale", &[Array, Element]),
    // a[i] += by; with a `ulong` the value looks like a handle
    ("increase", &[Array, Element]),
    // out[i] = i
    ("fill_seq", &[Array]),
    // out[i] = i; the queue must be a live on-device queue
    ("fill_behind", &[Line, Array]),
    // state[i] = xorshift32(state[i]), so many rounds; `uint` only
    ("xorshift", &[Array, Count]),
    // before[i] = now[i - 1] + now[i + 1] - before[i], on a ring; `uint` only (tests/programs/wave.c)
    ("wave_step", &[Array, Array]),
    // out[0] = in[0] + in[1] + …
    ("sum", &[Array, Array]),
    // a[i] += b[i]
    ("accumulate", &[Array, Array]),
    // to[i] = from[i]
    ("copy", &[Array, Array]),
    // reverses a within each work-group, through local memory
    ("reverse", &[Array, Scratch]),
    // out[i] += 1, after so many milliseconds for the whole command
    ("spin", &[Array, Count]),
    // pixel by pixel
    ("copy_image", &[Image, Image]),
    // out[i] = first element-sized bytes of pixel i, row by row
    ("sample", &[Image, Sampler, Array]),
    // nothing
    ("idle", &[]),
];

/// Kernels that need no program of the host's, with their heads. No argument info comes with them.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("fill_seq", "kernel void fill_seq(global uint *out)"),
    ("increase", "kernel void increase(global uint *a, uint by)"),
];

/// The head of a built-in kernel.
pub fn built_in(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name);
    found.map(|(_, head)| *head)
}

/// The arrays' element type.
pub fn element(kernel: &Signature) -> Scalar {
    let pointer = kernel
        .parameters
        .iter()
        .find_map(|parameter| match parameter.kind {
            Kind::Pointer(scalar) => Some(scalar),
            _ => None,
        });
    pointer.unwrap_or(Scalar::Uint)
}

/// Checks a kernel against the list.
///
/// # Errors
/// A line of the build log.
pub fn check(kernel: &Signature) -> Result<(), String> {
    let name = &kernel.name;
    let Some((_, wants)) = KNOWN.iter().find(|(known, _)| known == name) else {
        let names: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "error: kernel '{name}' is not one of: {}",
            names.join(", ")
        ));
    };
    let element = element(kernel);
    let fits = |(parameter, want): (&super::parse::Parameter, &Want)| match (want, parameter.kind) {
        (Array, Kind::Pointer(scalar)) => scalar == element && parameter.space != Space::Local,
        (Scratch, Kind::Pointer(scalar)) => scalar == element && parameter.space == Space::Local,
        (Element, Kind::Value(scalar)) => scalar == element,
        (Count, Kind::Value(scalar)) => scalar == Scalar::Uint,
        (Image, Kind::Image) | (Sampler, Kind::Sampler) | (Line, Kind::Queue) => true,
        _ => false,
    };
    let typed = !matches!(name.as_str(), "xorshift" | "wave_step") || element == Scalar::Uint;
    if kernel.parameters.len() == wants.len()
        && typed
        && kernel.parameters.iter().zip(*wants).all(fits)
    {
        Ok(())
    } else {
        Err(format!(
            "error: kernel '{name}' wants the parameters {wants:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::kernels;
    use super::*;

    #[test]
    fn knows_kernels_by_name_and_types() {
        let check_source = |source: &str| check(&kernels(source).unwrap()[0]);
        assert_eq!(
            check_source("kernel void increase(global ulong *a, ulong by)"),
            Ok(())
        );
        assert_eq!(
            check_source("kernel void reverse(global int *a, local int *s)"),
            Ok(())
        );
        assert!(
            check_source("kernel void add(global int *a, global int *b)")
                .unwrap_err()
                .contains("Array, Array")
        );
        assert!(check_source("kernel void increase(global ulong *a, uint by)").is_err());
        assert!(check_source("kernel void xorshift(global float *s, uint n)").is_err());
        assert!(
            check_source("kernel void wave_step(global int *now, global int *before)").is_err()
        );
        assert!(
            check_source("kernel void foo()")
                .unwrap_err()
                .contains("'foo' is not one of")
        );
    }
}
