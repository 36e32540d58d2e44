"""Prints what it takes to make a program of a network: seconds, and memory, its compilers' beside Rillet's own.

For each compiler that is found: seconds to open, plan and emit, and to compile; processor seconds of the compilers; the
most resident memory of Rillet's process, of the largest compiler's, and of all processes at once (pages that some share
are counted once; where /proc tells); milliseconds an image of what was made, all programs of a network in turn.

usage: python bench/building.py [MODEL ...] [--precision f32|int8] [--target TARGET] [--compilers COMMAND ...]
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MODELS = ("mobilenet_v2:seed=0", "vgg16:seed=0")
COMPILERS = ("clang", "gcc")
RUNS = 50
_EVERY_SECONDS = 0.01


def build_once(model: str, target: str) -> dict[str, object]:
    """Makes the program of a model's file in this process, and says what that took."""
    from rillet.api.plans import options, row_planned
    from rillet.backends.c.emit import sources
    from rillet.backends.c.flags import machine_flags
    from rillet.models.opening import open_model
    from rillet.runtime.run import pieces_of
    from rillet.system.build import build_library

    clocks = [time.perf_counter()]
    plan = row_planned(open_model(model).graph, options(target))
    made = sources(plan, pieces_of(plan))
    clocks.append(time.perf_counter())
    library = build_library(made.files, machine_flags(plan), data=made.data)
    clocks.append(time.perf_counter())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # What getrusage tells of memory counts that of a process before it became this one.
    own = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return {
        "emission": clocks[1] - clocks[0],
        "compilation": clocks[2] - clocks[1],
        "processor": children.ru_utime + children.ru_stime,
        "own": 1024 * int(own[1]) if own else 0,
        "library": str(library),
    }


def measured(model: Path, target: str, compiler: str, cache: Path) -> dict[str, object]:
    """The same in a process of its own, with the most memory of all its processes at once."""
    env = {**os.environ, "CC": compiler, "RILLET_CACHE": str(cache)}
    command = [sys.executable, __file__, "--once", str(model), target]
    most, done = {"compiler": 0, "all": 0}, threading.Event()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        watch = threading.Thread(target=_watch, args=(process.pid, most, done))
        watch.start()
        said = process.communicate()[0]
        done.set()
        watch.join()
    if process.returncode:
        raise SystemExit(f"{compiler}: cannot build {model.name}")
    return {**json.loads(said), **most}


def _watch(root: int, most: dict[str, int], done: threading.Event) -> None:
    while not done.wait(_EVERY_SECONDS):
        found = [_resident(process) for process in _family(root)]
        most["compiler"] = max(most["compiler"], *(rss for rss, _ in found[1:]), 0)
        most["all"] = max(most["all"], sum(pss for _, pss in found))


def _family(root: int) -> list[int]:
    """A process and all that come from it."""
    parents: dict[int, int] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = [root]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    # One that is about to become another program has its parent's memory still.
    return [root, *(process for process in found[1:] if _words(process) != _words(root))]


def _words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _resident(process: int) -> tuple[int, int]:
    """Resident bytes of a process: all, and of pages that it shares its part alone."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0, 0
    kib = dict(re.findall(r"(?m)^(Rss|Pss):\s*(\d+) kB", text))
    return 1024 * int(kib.get("Rss", 0)), 1024 * int(kib.get("Pss", 0))


def times(model: Path, target: str, libraries: list[str]) -> list[float]:
    """The least milliseconds an image of each program, in turn."""
    from rillet.api.plans import options, row_planned
    from rillet.models.opening import open_model
    from rillet.runtime.run import Built, Program
    from rillet.runtime.verify import random_inputs

    plan = row_planned(open_model(str(model)).graph, options(target))
    image = next(random_inputs(plan.graph, 1))
    made = [Built(Path(file), plan.graph, plan.arena_bytes, plan.threads, plan.host is not None) for file in libraries]
    programs = [Program(built) for built in made]
    taken: list[list[float]] = [[] for _ in programs]
    for _ in range(RUNS):
        for program, its in zip(programs, taken, strict=True):
            its.append(program.latency(image, 1).minimum_ms)
    return [min(its) for its in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--target", default="host")
    parser.add_argument("--compilers", nargs="*", default=[name for name in COMPILERS if shutil.which(name)])
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.once:
        print(json.dumps(build_once(*said.once)))
        return
    from rillet.bench.rounds import forms
    from rillet.exporters.rlt import to_bytes
    from rillet.models.opening import open_model

    print("seconds: to emit (open and plan included), to compile, processor seconds of compilers;")
    print("MB: weights, Rillet's process, the largest compiler's, all at once; ms an image")
    with tempfile.TemporaryDirectory() as name:
        for model in said.models:
            (graph,) = forms(open_model(model).graph, (said.precision,)).values()
            file = Path(name) / "model.rlt"
            file.write_bytes(to_bytes(graph))
            weights = sum(array.nbytes for array in graph.params.values())
            found = [measured(file, said.target, one, Path(name) / f"{i}") for i, one in enumerate(said.compilers)]
            print(f"{model} {said.precision}, weights {weights / 1e6:.1f} MB")
            for one, its, ms in zip(
                said.compilers, found, times(file, said.target, [str(its["library"]) for its in found]), strict=True
            ):
                seconds = "  ".join(f"{its[key]:6.2f}" for key in ("emission", "compilation", "processor"))
                memory = "  ".join(f"{int(str(its[key])) / 1e6:6.0f}" for key in ("own", "compiler", "all"))
                print(f"  {one:24}  {seconds}  {memory}  {ms:8.3f}", flush=True)


if __name__ == "__main__":
    main()
