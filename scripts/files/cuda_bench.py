"""`scripts/bench --cuda`: what CUDA programs pay, in one run on a GPU machine.

    calls        single calls through the driver and through the shadow, in turns in one process
    capture      a pass over memory in which nothing changed, contents out and in, into and out of shared pages
    programs     PyTorch training and generation, with the shadow and without, in turns
    blackout     a program of --mib, of which --fraction changes each period, and a transformer that generates: moved by loopback under the
                 shadow; the same programs without it taken away and brought back by NVIDIA's checkpoint API alone
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
NEEDED = ["cuda-patterns", "cuda-calls", "cuda_capture_bench", "libcuda.so.1"]
PARTS = ["calls", "capture", "programs", "blackout"]


def build(into, target):
    """What it needs besides."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "xl-gpu-shadow", "--example", "cuda_capture_bench"], cwd=REPO, check=True)
    shutil.copy(os.path.join(target, "release/examples/cuda_capture_bench"), into)
    shutil.copy(os.path.join(target, "release/libxl_gpu_libcuda.so"), os.path.join(into, "libcuda.so.1"))
    programs = os.path.join(REPO, "tests/programs/cuda")
    for name in ["patterns", "calls"]:
        subprocess.run([os.path.join(programs, "build"), name, os.path.join(into, f"cuda-{name}")], check=True)
    shutil.copytree(os.path.join(REPO, "tests/storm/cuda"), os.path.join(into, "cuda"), dirs_exist_ok=True)


def add_arguments(parser):
    parser.add_argument("--parts", default=",".join(PARTS), help="of --cuda (%(default)s)")
    parser.add_argument("--driver", help="a libcuda to use for the system's")
    parser.add_argument("--parameters", default="6700", help="millions of the transformer's: 30, 300, 1300, 6700 (%(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="how often each program is timed (%(default)s)")


def driver(args):
    """The path of the system's libcuda.so.1, or None."""
    if args.driver:
        return os.path.abspath(args.driver)
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    found = re.search(r"libcuda\.so\.1 .*x86-64.*=> (\S+)", listed)
    return found and found.group(1)


def without(args, folder):
    """The environment of a program without the shadow."""
    if not args.driver:
        return dict(os.environ)
    link = os.path.join(folder, "libcuda.so.1")
    if not os.path.exists(link):
        os.symlink(driver(args), link)
    return os.environ | {"LD_LIBRARY_PATH": folder + ":" + os.environ.get("LD_LIBRARY_PATH", "")}


def under(args):
    """What a program under the shadow has besides."""
    real = {"XL_GPU_REAL_LIBCUDA": driver(args)} if args.driver else {}
    return real | {"LD_PRELOAD": os.path.join(args.bin, "libcuda.so.1")}


def command(args, *words, **more):
    done = subprocess.run([os.path.join(args.bin, words[0]), *map(str, words[1:])], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
    return done.stdout


def calls(args, _tools):
    real = driver(args)
    if not real:
        raise RuntimeError("there is no libcuda.so.1")
    found = json.loads(command(args, "cuda-calls", real, os.path.join(args.bin, "libOpenCL.so.1"), "--json",
                               env=os.environ | {"XL_GPU_REAL_LIBCUDA": real, "LD_LIBRARY_PATH": args.bin}))
    print(f"{'call (medians, ns)':<40}{'plain':>12}{'shadow':>12}{'more ns':>10}{'%':>8}")
    for one in found:
        more = one["other_ns"] - one["plain_ns"]
        print(f"{one['call']:<40}{one['plain_ns']:>12.1f}{one['other_ns']:>12.1f}{more:>10.1f}{more / one['plain_ns'] * 100:>8.2f}")
    return found


def capture(args, _tools):
    environment = os.environ | ({"XL_GPU_REAL_LIBCUDA": driver(args)} if args.driver else {})
    text = command(args, "cuda_capture_bench", "--gib", args.mib / 1024, "--changed", args.fraction * 100, env=environment)
    steps = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    print(f"{'step':<30}{'ms':>10}{'MiB':>12}{'GB/s':>8}{'GiB examined':>14}")
    for step in steps:
        print(f"{step['step']:<30}{step['ms']:>10.2f}{step['sent_mib']:>12.1f}{step['gb_s']:>8.2f}{step['examined_gib']:>14.2f}")
    return steps


def programs(args, _tools):
    """Seconds with the shadow and without, in turns."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for file, variables in [("torch_train.py", {}), ("generate.py", {"PARAMETERS": args.parameters})]:
            times = {"plain": [], "shadow": []}
            for turn in range(args.turns):
                for mode in ["plain", "shadow"] if turn % 2 else ["shadow", "plain"]:
                    environment = without(args, folder) | variables
                    if mode == "shadow":
                        environment |= under(args)
                    start = time.monotonic()
                    done = subprocess.run([sys.executable, os.path.join(args.bin, "cuda", file)], env=environment, capture_output=True, text=True)
                    if done.returncode:
                        raise RuntimeError(f"{file} ({mode}): {(done.stdout + done.stderr).strip()[-500:]}")
                    times[mode].append(time.monotonic() - start)
            plain, shadow = statistics.median(times["plain"]), statistics.median(times["shadow"])
            print(f"{file:<24}{plain:>10.2f} s plain{shadow:>10.2f} s shadow{(shadow / plain - 1) * 100:>8.2f} %")
            figures.append({"program": file, "plain_s": plain, "shadow_s": shadow, "all": times})
    return figures


def blackout(args, tools):
    moved, program_of, plan_of, judged, log = tools
    transformer = [sys.executable, os.path.join(args.bin, "cuda/generate.py")]
    cases = [
        ("patterns", plan_of(args, "scattered", "cuda-patterns"), {}, judged, log),
        ("transformer", transformer, {"FOR_EVER": "1", "PARAMETERS": args.parameters}, lambda *_: {}, ()),
    ]
    figures = []
    print(f"{'program':<14}{'blackout s':>11}{'predicted':>11}{'total s':>9}{'at stop MiB':>13}   {'driver alone: out s':>20}{'back s':>8}{'sum':>8}")
    for name, plan, variables, judge, logged in cases:
        case = {"program": name}
        with tempfile.TemporaryDirectory(prefix="xl-gpu-bench-", dir="/dev/shm") as folder:
            case["moved"] = moved(args, folder, plan, judge, variables=variables | under(args), options=logged)
        with tempfile.TemporaryDirectory(prefix="xl-gpu-bench-", dir="/dev/shm") as folder:
            case["driver_alone"] = alone(args, program_of, plan, without(args, folder) | variables, folder)
        figures.append(case)
        report, beside = case["moved"]["report"], case["driver_alone"]
        if not case["moved"]["ok"]:
            print(f"{name:<14}FAILED  {case['moved']['says']}")
        if not beside["ok"]:
            print(f"{name:<14}FAILED alone  {beside['says']}")
        if case["moved"]["ok"] and beside["ok"]:
            out, back = beside["checkpoint_s"], beside["restore_s"]
            print(f"{name:<14}{report['gpu_blackout_s']:>11.3f}{report.get('predicted_blackout_s') or 0:>11.3f}{report['total_s']:>9.2f}"
                  f"{report['gpu_bytes']['stop'] / (1 << 20):>13.1f}   {out:>20.2f}{back:>8.2f}{out + back:>8.2f}", flush=True)
    return figures


def alone(args, program_of, plan, environment, folder):
    """The same program, without the shadow, by NVIDIA's checkpoint API."""
    program = None
    try:
        program = program_of(plan, environment, folder)
        time.sleep(args.settle)
        took = json.loads(command(args, "cuda-checkpoint", "--pid", program.process.pid, env=environment))
        time.sleep(0.3)
        says = program.end()
        return {"ok": says.startswith("PROGRAM OK"), "says": says} | took
    except (RuntimeError, OSError, ValueError) as error:
        return {"ok": False, "says": str(error)}
    finally:
        if program and program.process.poll() is None:
            program.process.kill()
            program.process.wait()


def figures(args, *tools):
    """Everything; the exit status."""
    results, failed = {"mib": args.mib, "fraction": args.fraction, "period_ms": args.period_ms, "parameters": args.parameters}, []
    for name in NEEDED:
        if not os.path.exists(os.path.join(args.bin, name)):
            sys.exit(f"bench: no {name} in {args.bin}: make it with --build-only")
    for part in args.parts.split(","):
        if part not in PARTS:
            sys.exit(f"bench: unknown part {part}: there are {', '.join(PARTS)}")
        try:
            results[part] = globals()[part](args, tools)
            if part == "blackout":
                failed += [case["program"] for case in results[part] if not (case["moved"]["ok"] and case["driver_alone"]["ok"])]
        except (RuntimeError, OSError, ValueError) as error:
            print(f"{part}: FAILED: {error}")
            results[part] = {"failed": str(error)}
            failed.append(part)
        print(flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0
