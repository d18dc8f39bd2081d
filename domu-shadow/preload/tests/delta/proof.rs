//! An engine is refused where its kernels compute anything else than they should.

use opencl::delta::{Engine, SOURCE, Unavailable};
use runtime::delta::{Config, Secret};

use crate::rig::Rig;

/// Kernels with one thing wrong: what to replace, and with what.
const MISTAKES: [(&str, &str); 17] = [
    // One vector of a chunk.
    ("    d[ITEMS] = v1;", "    d[ITEMS] = v0;"),
    // The first item's for all: what pocl 5.0 did.
    ("    v2 = p[2u * ITEMS];", "    v2 = p[2u * ITEMS - l];"),
    ("w[i] |= (uint)bytes[k]", "w[i] = (uint)bytes[k]"),
    ("if (k < size)", "if (k + 1 < size)"),
    ("to[i + 1u] = v.zw;", "to[i + 1u] = v.xy;"),
    ("if (8u * i + 8u < room)", "if (8u * i < room)"),
    ("mine[STRIDE] = NH_LANE(1);", "mine[STRIDE] = NH_LANE(0);"),
    ("f[1] * (y & 0xffffffffUL)", "f[1] * (y & 0xfffffffeUL)"),
    ("any(digest != table[chunk])", "digest.x != table[chunk].x"),
    ("any(digest != table[chunk])", "true"),
    ("if (all(digest == zero))", "if (digest.x == zero.x - 1)"),
    ("if (!(mode & MODE_DRY))", "if (true)"),
    (
        "changed |= (marks[i] & 1u) << i;",
        "changed |= (marks[i] & 1u) << (i & 3u);",
    ),
    (
        "if (!(mode & MODE_DRY))",
        "if (!(mode & MODE_DRY) && batch == 0)",
    ),
    ("if (begin + c < end) {", "if (begin < end) {"),
    (
        "if (l < BATCH && begin + l < end)",
        "if (l < BATCH && begin < end)",
    ),
    (
        "if (l < BATCH && begin + l < end)",
        "if (l + 1 < BATCH && begin + l < end)",
    ),
];

#[test]
fn kernels_with_a_mistake_are_found_out() {
    let rig = Rig::open("__kernel void nothing(__global uint *a) { a[0] = 0; }");
    let secret = Secret::random().unwrap();
    let config = Config::for_bytes(1 << 20);
    // SAFETY: the rig lives as long as the process.
    let engine = |source: &str| unsafe {
        Engine::with_source(rig.context, rig.device, &config, &secret, source)
    };
    match engine(SOURCE) {
        Ok(_) => (),
        // Right of this driver to be refused; what follows holds nonetheless.
        Err(Unavailable::Wrong(what)) => eprintln!("this driver's compiler fails: {what}"),
        Err(error) => panic!("{error}"),
    }
    for (right, wrong) in MISTAKES {
        assert!(SOURCE.contains(right), "{right}");
        match engine(&SOURCE.replace(right, wrong)) {
            Err(Unavailable::Wrong(what)) => eprintln!("{wrong}: {what}"),
            Err(error) => panic!("{wrong}: {error}"),
            Ok(_) => panic!("{wrong}: nobody noticed"),
        }
    }
}
