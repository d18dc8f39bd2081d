"""The programs of `run`: what each is called, how it is started, and which lines of its output are its result."""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = ["clblast-tests", "clinfo", "clpeak", "gcc", "hashcat", "ocl-icd-opencl-dev", "pocl-opencl-icd"]
# The wheel, and the same version's source for its tests.
PYOPENCL = "2025.2.7"
PYOPENCL_NEEDS = [f"pyopencl=={PYOPENCL}", "pytest", "pytest-timeout", "mako", "numpy", "scikit-build-core", "nanobind",
                  "cmake", "ninja"]
PYOPENCL_HOME = ROOT / ".lab" / f"pyopencl-{PYOPENCL}"

# `rate` has the storm move it several times over, also where it runs for a fraction of a second: by calls, as the
# storm counts them, for times differ from machine to machine.
# `statuses` are the exit statuses of a whole run. `drivers` are what it runs on, or begins with the first of and is moved among, by
# their names in drivers.py; without them it takes what the machine has. `environment` is its own part of it. `skipped` says why this
# machine cannot run it.
Program = collections.namedtuple("Program", "name command result rate statuses drivers environment skipped",
                                 defaults=["calls=200", (0,), (), {}, None])


def install(quick):
    if not all(map(shutil.which, ["cc", "clblast_test_xdot", "clinfo", "clpeak", "hashcat"])):
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES], check=True)
    if quick or pyopencl_tests():
        return
    python = PYOPENCL_HOME / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", PYOPENCL_HOME], check=True)
    subprocess.run([python, "-m", "pip", "-q", "install", *PYOPENCL_NEEDS], check=True)
    subprocess.run([python, "-m", "pip", "-q", "download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation",
                    "-d", PYOPENCL_HOME, PYOPENCL_NEEDS[0]], check=True)
    shutil.unpack_archive(next(PYOPENCL_HOME.glob("*.tar.gz")), PYOPENCL_HOME)


def pyopencl_tests():
    return sorted(PYOPENCL_HOME.glob("pyopencl-*/test/test_*.py"))


def every_line(text):
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def matching(pattern):
    """Picks the lines that match, cut to the match."""
    return lambda text: [m.group(0) for m in map(re.compile(pattern).search, text.splitlines()) if m]


def hashcat(name, mode, digest, mask, plain, folder):
    """A known hash that must be found again by trying a mask."""
    hashes = folder / f"{name}.hash"
    hashes.write_text(digest + "\n")
    # Where there is CUDA, too, it would take that; NVIDIA's NVML (hwmon) holds the device by another way than OpenCL's.
    command = ["hashcat", "--force", "-D", "1,2", "--backend-ignore-cuda", "--hwmon-disable", "--potfile-disable",
               "--self-test-disable", "--quiet",
               "--session", f"xl-gpu-{os.getpid()}-{name}", "-m", mode, "-a", "3", str(hashes), mask]
    return Program(name, command, matching(re.escape(f"{digest}:{plain}")))


def clblast(routine, driver=None):
    """Every case of a routine against a CPU's result: how many passed, were skipped, failed."""
    name = "-".join(filter(None, ["clblast", routine, driver]))
    return Program(name, [f"clblast_test_{routine}", "-precision", "32"],
                   matching(r"\d+ test\(s\) (passed|skipped|failed)"), drivers=(driver,) if driver else ())


def pyopencl(test):
    """Each test's outcome, under its own name."""
    command = [PYOPENCL_HOME / "bin/python", "-m", "pytest", "-q", "-rA", "-W", "ignore", "-p", "no:cacheprovider",
               "--timeout", "300", test]
    name = "py-" + test.stem.removeprefix("test_")
    # 1: tests fail. They must be the same ones each time.
    return Program(name, list(map(str, command)), matching(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS|SKIPPED) .*"), statuses=(0, 1))


def table(folder, quick):
    wave = folder / "wave"
    subprocess.run(["cc", "-O2", "-o", wave, ROOT / "tests/programs/wave.c", "-lOpenCL"], check=True)

    def waves(steps, *drivers):
        command = [str(wave), "--mib", "8", "--hot", "1", "--cold-every", "5", "--steps", str(steps)]
        return Program("-".join(["wave", *drivers]), command, matching(r"^PROGRAM .*"), "calls=50", drivers=drivers)

    few = [
        Program("clinfo", ["clinfo"], every_line, "calls=20"),
        Program("wave", [str(wave), "--mib", "16", "--hot", "2", "--cold-every", "5", "--steps", "300"],
                matching(r"^PROGRAM .*"), "calls=50"),
        hashcat("hashcat-md5", "0", "8743b52063cd84097a65d1633f5c74f5", "hash?l?l?l", "hashcat", folder),
        clblast("xdot"),
        waves(60, "rusticl"),
        waves(100, "intel"),
        # From one vendor's driver to another's.
        waves(120, "pocl", "rusticl", "intel"),
    ]
    if quick:
        return few
    return few + [
        # Its figures are speeds; which of them there are is the result.
        Program("clpeak-sp", ["clpeak", "--compute-sp"], matching(r"^\s*\w+\s+:(?= [0-9.]+$)")),
        Program("clpeak-transfer", ["clpeak", "--transfer-bandwidth"], matching(r"^\s*\w.*:(?= [0-9.]+$)")),
        hashcat("hashcat-sha1", "100", "9ee036287b4cfbcfa3b5bbfcf92d46eb5e75df96", "?l?l?l?d", "abc1", folder),
        hashcat("hashcat-sha256", "1400", "94c5132a0a5bd002ecffdd3743c4fa2c865884e3ca7a3734a1383bc70eb3ffa9",
                "?l?l?d", "zq7", folder),
        hashcat("hashcat-md5crypt", "500", "$1$abcdefgh$T5Fhgyvrspz2JzBiJm9Fh/", "a?l?d", "ab7", folder),
        clblast("xaxpy"),
        clblast("xgemv"),
        clblast("xgemm"),
        clblast("xdot", "rusticl"),
        clblast("xdot", "intel"),
        clblast("xgemv", "intel"),
        waves(400, "intel", "pocl"),
        waves(400, "rusticl", "intel"),
    ] + list(map(pyopencl, pyopencl_tests()))
