"""The CUDA programs of `run --cuda`: frameworks in Python (cuda/), and our own in C (tests/programs/cuda), which also run over the stub driver."""

import pathlib
import shutil
import subprocess
import sys

import programs

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = programs.ROOT / "tests/programs/cuda"
RESULT = programs.matching(r"^(RESULT|PROGRAM) .*")
NAMES_OF_MEMORY = {
    "expandable": "expandable_segments:True",
    "async": "backend:cudaMallocAsync",
}
# Our own: arguments that make them last seconds on a GPU, and over the stub.
OWN = {
    "memory": (["5000", "50000000"], ["300"]),
    "lists": (["20000", "300"], []),
    "vmm": (["64"], []),
    "pools": (["5000"], []),
    "arrays": ([], []),
    "host": (["500"], []),
    "streams": (["2000"], []),
    "graphs": (["5000"], []),
    "modules": (["4000"], []),
    "launches": (["2000", "64"], []),
    "contexts": ([], []),
    "threads": (["32", "2000"], []),
    "tiny": (["1000000"], ["5000"]),
    "idle": (["3000", "4096"], []),
    "longer": (["60", "20000000"], []),
    "full": (["98", "2048", "60000"], ["60", "32", "2"]),
    "forks": (["100"], []),
    "looks_up": ([], []),
    "proc_address": ([], []),
    "pointers": (["300"], []),
    "errors": ([], []),
    "two": (["2000"], []),
}
# Moved by calls over the stub, as they make few.
FEW_CALLS = {"tiny": "calls=400", "vmm": "calls=2", "arrays": "calls=5", "contexts": "calls=7", "modules": "calls=20", "looks_up": "calls=11",
             "proc_address": "calls=7", "errors": "calls=5", "lists": "calls=7"}
# Over before they were moved at a slower rate, on a GPU.
SHORT = ["arrays", "errors", "forks", "launches", "pointers", "streams"]


def lacking(needs):
    """Which of these modules Python does not find."""
    code = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if importlib.util.find_spec(n) is None])"
    done = subprocess.run([sys.executable, "-c", code, *needs], capture_output=True, text=True, check=True)
    return done.stdout.split()


def framework(name, file, *needs, rate="ms=300", **environment):
    missing = lacking(needs)
    skipped = f"Python has no {', '.join(missing)}" if missing else None
    command = [sys.executable, str(HERE / "cuda" / file)]
    return programs.Program(name, command, RESULT, rate, environment=environment, skipped=skipped)


def runtime(folder):
    """Built by nvcc, as there is no other compiler for its kernels."""
    binary = folder / "cuda-runtime"
    nvcc = shutil.which("nvcc")
    if nvcc:
        subprocess.run([nvcc, "-O2", "-std=c++17", "-rdc=true", "-arch=native", "-o", binary, HERE / "cuda/runtime.cu"], check=True)
    return programs.Program("runtime", [str(binary), "3000"], RESULT, "ms=300", skipped=None if nvcc else "there is no nvcc")


def own(folder, name, stub):
    binary = folder / f"cuda-{name}"
    subprocess.run([SOURCES / "build", name, binary], check=True)
    rate = FEW_CALLS.get(name, "calls=60") if stub else "ms=100" if name in SHORT else "ms=400"
    # What it says to standard error depends on the device.
    result = programs.matching(r"^[0-9a-f]{16}$") if name == "full" else programs.every_line
    # Its kernels run for seconds, one behind the other.
    drain = 30000 if name == "longer" else 3000
    return programs.Program(f"c-{name}", [str(binary), *OWN[name][bool(stub)]], result, f"{rate},drain-ms={drain}")


def table(folder, quick, stub):
    """`stub`: there is no GPU; only our own programs, small."""
    ours = [own(folder, name, stub) for name in OWN]
    if stub:
        return ours
    train = [framework("torch-train", "torch_train.py", "torch", "numpy")]
    train += [framework(f"torch-{name}", "torch_train.py", "torch", "numpy", PYTORCH_CUDA_ALLOC_CONF=setting)
              for name, setting in NAMES_OF_MEMORY.items()]
    few = train[:1] + [
        framework("torch-graphs", "torch_graphs.py", "torch", "numpy"),
        framework("generate", "generate.py", "torch", "transformers", "numpy", STEPS="2"),
        framework("jax", "jax_train.py", "jax", "jaxlib"),
        framework("cupy", "cupy_mix.py", "cupy"),
    ]
    if quick:
        return few + ours
    return few + train[1:] + [
        framework("torch-compile", "torch_compile.py", "torch", "triton", "numpy"),
        framework("torch-loader", "torch_loader.py", "torch", "numpy"),
        framework("torch-vision", "torch_vision.py", "torch", "timm", "numpy"),
        framework("torch-math", "torch_math.py", "torch", "numpy"),
        framework("torch-threads", "torch_threads.py", "torch", "numpy"),
        framework("geometric", "graph_network.py", "torch", "torch_geometric", "numpy"),
        framework("flax", "flax_train.py", "jax", "flax", "optax", XLA_PYTHON_CLIENT_PREALLOCATE="false"),
        runtime(folder),
        framework("triton", "triton_kernel.py", "torch", "triton", "numpy"),
        framework("numba", "numba_kernel.py", "numba"),
        framework("onnxruntime", "onnx_run.py", "onnxruntime", "onnx"),
    ] + ours
