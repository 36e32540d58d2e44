"""Prints how long it takes from nothing, and from what was kept, to the first answer, in seconds.

MobileNetV2 at both precisions, and the network that comes with Rillet; the least of some rounds where a run repeats.

usage: python bench/start.py [--rounds N]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROUNDS = 5
NETWORK = "mobilenet_v2:seed=0"


def answer(model: str, image: str, target: str | None) -> float:
    """The clock when this process has the first answer, by the library: what `rillet run` does up to its first line."""
    from rillet.models.specifier import Preprocessing
    from rillet.runtime.classify import answer
    from rillet.runtime.identity import identity
    from rillet.runtime.ready import make_ready

    def plan():
        from rillet.api.plans import options, row_planned
        from rillet.models.opening import open_model

        return row_planned(open_model(model).graph, options(target))

    def known() -> tuple[str, ...] | None:
        found = identity(model, Preprocessing(), None)
        return found and (*found, str(target))

    answer(make_ready(known, plan), [Path(image)])
    return time.perf_counter()


def parts(model: str, target: str | None) -> dict[str, float]:
    """Seconds of what a first run does and a second one does not, one by one."""
    from rillet.api.plans import options, row_planned
    from rillet.backends.c.emit import sources
    from rillet.backends.c.flags import machine_flags
    from rillet.models.opening import open_model
    from rillet.runtime.run import pieces_of
    from rillet.system.build import build_library

    clocks = [time.perf_counter()]
    graph = open_model(model).graph
    clocks.append(time.perf_counter())
    plan = row_planned(graph, options(target))
    clocks.append(time.perf_counter())
    made = sources(plan, pieces_of(plan))
    clocks.append(time.perf_counter())
    build_library(made.files, machine_flags(plan), data=made.data)
    clocks.append(time.perf_counter())
    took = (later - earlier for earlier, later in pairwise(clocks))
    return dict(zip(("open", "plan", "emit", "compile"), took, strict=True))


def timed(command: list[str], env: dict[str, str], inside: bool) -> float:
    """Seconds of a process: until it ends, or until the clock that it prints."""
    start = time.perf_counter()
    said = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    # One clock for all processes of a machine, where the system has such a one.
    return (float(said) if inside else time.perf_counter()) - start


def models(folder: Path) -> list[tuple[str, str, str | None]]:
    """(what, model, target); MobileNetV2 as files, since trained ones come so."""
    from rillet.bench.rounds import forms
    from rillet.exporters.rlt import to_bytes
    from rillet.models.opening import open_model
    from rillet.models.specifier import DEMO_MODEL

    made = [("the network that comes with Rillet", DEMO_MODEL, None)]
    for precision, graph in forms(open_model(NETWORK).graph, ("f32", "int8")).items():
        path = folder / f"{precision}.rlt"
        path.write_bytes(to_bytes(graph))
        made.insert(-1, (f"MobileNetV2 1.0 224, {precision}, --target host", str(path), "host"))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--answer", nargs="*", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.answer:
        model, image, *target = said.answer
        print(answer(model, image, target[0] if target else None))
        return
    from rillet.models.specifier import demo_photo

    image = str(demo_photo())
    print("first run: open, plan, emit, compile; to the first answer. second: to the first answer; whole `rillet run`")
    with tempfile.TemporaryDirectory() as name:
        for what, model, target in models(Path(name)):
            os.environ["RILLET_CACHE"] = str(Path(name) / "parts")
            took = parts(model, target)
            env = {**os.environ, "RILLET_CACHE": str(Path(name) / "cache")}
            library = [sys.executable, __file__, "--answer", model, image, *([target] if target else [])]
            options = ["--target", target] if target else []
            command = [sys.executable, "-m", "rillet", "run", model, image, *options]
            first = timed(library, env, inside=True)
            second = min(timed(library, env, inside=True) for _ in range(said.rounds))
            timed(command, env, inside=False)
            whole = min(timed(command, env, inside=False) for _ in range(said.rounds))
            line = ", ".join(f"{key} {seconds:.2f}" for key, seconds in took.items())
            print(f"{what}\n  first run: {line}; to the first answer {first:.2f}")
            print(f"  second: to the first answer {second:.3f}; whole command {whole:.2f}", flush=True)


if __name__ == "__main__":
    main()
