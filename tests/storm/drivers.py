"""OpenCL drivers for processors besides pocl: where they come from, and how a program finds them.

None is installed where all programs look: each would be one more platform for every other test.
"""

import itertools
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
HOME = HERE.parent.parent / ".lab/drivers"
RUSTICL = HOME / "rusticl/usr/lib/x86_64-linux-gnu"
INTEL = HOME / "intel"
LIBRARIES = {
    "pocl": pathlib.Path("libpocl.so.2"),
    "rusticl": RUSTICL / "libRusticlOpenCL.so.1",
    "intel": INTEL / "libintelocl.so",
}
# What Debian's mesa-opencl-icd needs.
RUSTICL_NEEDS = ["libclc-15", "libclang-cpp15", "libdrm-amdgpu1", "libdrm-nouveau2", "libdrm-radeon1", "libelf1", "libexpat1",
                 "libllvm15", "libllvmspirvlib15", "libsensors5", "libzstd1"]


def install():
    for home, fetch in [(HOME / "rusticl", fetch_rusticl), (INTEL, fetch_intel)]:
        if not home.exists():
            # Under its own name only once it is whole.
            part = home.with_name(home.name + ".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            fetch(part)
            part.rename(home)


def fetch_rusticl(to):
    apt = ["apt-get", "-q", "-y"]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", "--no-upgrade", *RUSTICL_NEEDS], check=True)
    subprocess.run(["apt-get", "-q", "download", "mesa-opencl-icd"], cwd=to, check=True)
    package, = to.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, to], check=True)
    package.unlink()


def fetch_intel(to):
    if subprocess.run([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL).returncode:
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "python3-pip"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--require-hashes", "-d", to,
                    "-r", HERE / "intel.txt"], check=True)
    for wheel in to.glob("*.whl"):
        with zipfile.ZipFile(wheel) as files:
            for name in files.namelist():
                parts = pathlib.PurePath(name).parts
                # Not the loader that comes along.
                if parts[1:3] == ("data", "lib") and len(parts) == 4 and not parts[3].startswith("libOpenCL"):
                    (to / parts[3]).write_bytes(files.read(name))
        wheel.unlink()


class Vendors:
    """The folder of a program's `.icd` file, which names one driver of several at a time."""

    def __init__(self, folder, drivers):
        self.folder, self.drivers, self.seen = folder / "vendors", drivers, set()
        self.folder.mkdir(exist_ok=True)
        self.put(drivers[0])

    def put(self, driver):
        new = self.folder / "new"
        new.write_text(f"{LIBRARIES[driver]}\n")
        new.rename(self.folder / "driver.icd")

    def environment(self):
        return {"OCL_ICD_VENDORS": str(self.folder), "RUSTICL_ENABLE": "llvmpipe",
                "GALLIUM_PIPE_SEARCH_DIR": str(RUSTICL / "gallium-pipe"), "LD_LIBRARY_PATH": str(INTEL)}

    def has_loaded(self, process, driver):
        # Some stay mapped when they are closed: a second time would not show.
        if driver not in self.seen:
            maps = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
            if "/" + LIBRARIES[driver].name in maps:
                self.seen.add(driver)
        return driver in self.seen

    def change_under(self, process):
        """As soon as the process has loaded one, the next load finds another; until it ends."""
        for driver in itertools.cycle(self.drivers):
            self.put(driver)
            time.sleep(0.2)
            while process.poll() is None and not self.has_loaded(process, driver):
                time.sleep(0.02)
            if process.poll() is not None:
                return

    def watch(self, process):
        thread = threading.Thread(target=self.change_under, args=(process,))
        thread.start()
        return thread
