#!/usr/bin/env python3
"""Makes src/driver/list.rs: every function that NVIDIA's libcuda.so.1 has exported, with what ours does before it.

    list.py HEADER.h… SYMBOLS… >src/driver/list.rs

HEADER.h: cuda.h of any CUDA, read with all its versions of functions; cudaGL.h and its kin. SYMBOLS: a libcuda.so.1, or a file with one name a line.
A function that `own!` defines in src/ is `own`. Everything else follows from the rules below, and what no rule names passes the gate.
"""
import re
import subprocess
import sys
from pathlib import Path

# What a program may use only where it stays; the first that matches. What comes and goes is not here, but counted in src/api.
MARKS = [
    (r"cuGraphics|cuGL|cuEGL|cuEventCreateFromEGLSync|cuVDPAU", "graphics"),
    (r"cuMulticast(?!GetGranularity)", "multicast memory"),
    (r"cuGreenCtx|cuCtxFromGreenCtx", "green contexts"),
    (r"cuLogicalEndpoint|cuFabricCpy", "fabric memory"),
    (r"cuDeviceGetNvSciSyncAttributes", "NvSciSync"),
    (r"cuFlushGPUDirectRDMAWrites", "GPUDirect RDMA"),
    (r"cuStream(Begin|End)CaptureToCig", "CUDA in graphics"),
    (r"cuCheckpoint(Process(Lock|Checkpoint|Restore|Unlock)|OperationComplete)", "the driver's own checkpoints"),
]
# Pure knowledge of the library's: needs no device, never waits.
JUMPS = r"cuGetError(Name|String)|cuDriverGetVersion|cuGetExportTable|cuMemGetAttribute"
# May read or write any memory of the device's, now or on a stream.
CONTENTS = (
    r"cuLaunch|cu(Signal|Wait)External|cuMem(cpy|set|Prefetch|Discard|BatchDecompress|MapArray)|cuGraph(Launch|Upload)|cu(Event|Ctx)Record"
    r"|cuStream(WaitValue|WriteValue|BatchMemOp|AddCallback|AttachMem)"
)
# No header has these any more, or another than cuda.h has.
WORDS = {"cuProfilerInitialize": "3", "cuProfilerStart": "0", "cuProfilerStop": "0"}
# Passed by value and not as one word of a general register.
TYPES = {"float": "f32", "CUipcMemHandle": "CUipcMemHandle", "CUipcEventHandle": "CUipcEventHandle"}

HEAD = """//! Every function that NVIDIA's `libcuda.so.1` of the last years exports, and the versions of `cuda.h`: what ours does before it.
//!
//! | class | |
//! |---|---|
//! | `jump` | nothing: knowledge of the library's that needs no device and never waits |
//! | `driver` | passes the gate |
//! | `contents` | passes the gate, and waits for contents that are on their way: reads or writes memory, or has the device do so |
//! | `own` | a function of ours |
//! | `mark` | the same as `contents`, but the process cannot be moved from then on, and says that the program uses this |
//!
//! Then the arguments: how many words, and the types of those that are none; `_` where they are not known: a jump. Made by `list.py`, of
//! the headers of CUDA 12.9 and 13.5 and the libraries 470.256, 535.261, 550.163 and 580.159:
//!
//! ```text
//! ./list.py cuda-12.9.h cuda{GL,EGL,VDPAU}.h cuda-13.5.h libcuda.so.{470.256.02,535.261.03,550.163.01,580.159.04} >src/driver/list.rs
//! ```
//!
//! The functions and variables `cudbg*` are not among them: a debugger looks for them in the library that has the driver in it.

/// Has the macro `$then` make something of the list.
macro_rules! functions {
    ($then:ident) => {
        $then! {"""


def prototypes(header):
    """name -> list of argument types"""
    # Types do not matter, so that no other header does.
    text = re.sub(r"^\s*#\s*include.*", "", Path(header).read_text(), flags=re.M)
    options = ["-E", "-P", "-x", "c", "-D__CUDA_API_VERSION_INTERNAL", "-DCUDAAPI=", "-"]
    text = subprocess.run(["cc", *options], input=text, check=True, capture_output=True, text=True).stdout
    found = {}
    for name, arguments in re.findall(r"\bCUresult\s+(cu[A-Z]\w*)\s*\(([^;{()]*)\)\s*;", text):
        arguments = [" ".join(a.split()) for a in arguments.split(",")]
        found[name] = [] if arguments in (["void"], [""]) else arguments
    return found


def exported(library):
    data = Path(library).read_bytes()
    if data.startswith(b"\x7fELF"):
        table = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
        return {line.split()[-1].split("@")[0] for line in table.splitlines()}
    return set(data.decode().split())


def abi(arguments):
    """`3`: three words; `1 + f32, f32`: one word, then these; `_`: not known."""
    if arguments is None or any(re.match(r"CUeglFrame\b[^*]*$", argument) for argument in arguments):
        return "_"
    def kind(argument):
        if "*" in argument or "[" in argument:
            return "usize"
        words = [word for word in argument.split() if word not in ("const", "enum", "struct")]
        return next((TYPES[word] for word in words if word in TYPES), "usize")
    kinds = [kind(argument) for argument in arguments]
    words = next((at for at, it in enumerate(kinds) if it != "usize"), len(kinds))
    rest = kinds[words:]
    return f"{words} + {', '.join(rest)}" if rest else str(words)


def defined_here():
    found = set()
    for file in Path(__file__).parent.joinpath("src").rglob("*.rs"):
        text = file.read_text()
        if "own!" in text and file.name != "entry.rs":
            found |= set(re.findall(r"^\s+fn (cu[A-Z]\w*)\(", text, re.M))
    return found


def main():
    protos, names = {}, set()
    for file in sys.argv[1:]:
        if file.endswith(".h"):
            protos |= prototypes(file)
        else:
            names |= exported(file)
    names = {name for name in names if re.match("cu[A-Z]", name)} | set(protos)
    own = defined_here()
    print(HEAD)
    for name in sorted(names):
        plain = re.sub("_pt[ds][sz]$", "", name)
        arguments = protos.get(name, protos.get(plain))
        words = WORDS.get(name) or abi(arguments)
        why = next((why for pattern, why in MARKS if re.match(pattern, name)), None)
        if name in own:
            line = f"own {name}({words})"
        elif why:
            line = f'mark {name}({words}) "{why}"'
        elif re.match(JUMPS, name):
            line = f"jump {name}({words})"
        elif words == "_":
            sys.exit(f"list.py: {name}: no prototype and no rule")
        else:
            line = f"{'contents' if re.match(CONTENTS, name) else 'driver'} {name}({words})"
        print(f"            {line};")
    print("        }\n    };\n}\n\npub(crate) use functions;")


main()
