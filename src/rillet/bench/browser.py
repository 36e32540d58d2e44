"""A network as WebAssembly beside ONNX Runtime Web: both in one process of Node, one thread each, taking turns.

Times are the processor's (user and system), which other programs on the machine do not lengthen.
"""

import base64
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rillet.bench.machine import Machine, machine
from rillet.bench.peers.files import precision_of
from rillet.bench.rounds import IMAGES, Spread, agreement, ratios
from rillet.errors import BuildError, Unsupported
from rillet.ir.graph import Graph
from rillet.plan.host.planner import plan_host
from rillet.runtime.verify import random_inputs
from rillet.runtime.wasm.building import build_wasm
from rillet.runtime.wasm.program import find_node
from rillet.system.build import first_error
from rillet.system.extras import extra
from rillet.system.files import write_file
from rillet.system.reading import MODEL_BYTES, read_text
from rillet.targets.host import Host
from rillet.transforms.fold import fold
from rillet.transforms.lowbit import unpack

PEER = "onnxruntime-web"
PACKAGES = "RILLET_NODE_MODULES"
"""The environment variable that names the folder of npm's packages, node_modules in this folder by default."""
_BEFORE, _COUNT = 30, 5
"""Inferences that are not counted, of each runtime, and those of a round."""
_SECONDS = 600


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One runtime."""

    runtime: str
    version: str
    min_ms: float
    median_ms: float
    ratio: Spread | None
    """How many times as fast Rillet is, round by round; None for itself."""
    first_ms: float
    """From nothing to the first result: code, network and one inference."""
    code_bytes: int
    """Of JavaScript and WebAssembly beyond the network's weights."""
    difference: float | None
    """Largest difference from Rillet's answers: steps for int8, for f32 a share of the largest value."""
    same_top1: int | None
    """Of `images` answers, those with Rillet's class first."""


@dataclass(frozen=True, slots=True)
class PageBench:
    """All figures of one command."""

    model: str
    macs: int
    precision: str
    rounds: int
    images: int
    engine: str
    machine: Machine
    records: tuple[PageRecord, ...]
    refusals: tuple[str, ...]
    """Runtimes that have no figure, and why, a sentence each."""


def bench_page(graph: Graph, host: Host, rounds: int, against: str | None = None) -> PageBench:
    """Measures a network, which has weights, as WebAssembly; ONNX Runtime Web beside it where npm has installed it.

    against: None for all that is there, else PEER, which must be there. Raises Unsupported where it is not, and without
    Node.
    """
    if against not in (None, PEER):
        raise Unsupported(f"--against must be {PEER} for wasm, got {against!r}")
    packages = Path(os.environ.get(PACKAGES, "node_modules")).absolute()
    folded, node, refusals = fold(graph), find_node(), list[str]()
    there = (packages / PEER / "package.json").is_file()
    if not there:
        refusals.append(f"{PEER}: npm install {PEER}, and name its folder: {PACKAGES}=FOLDER/node_modules")
        if against is not None:
            raise Unsupported(refusals[0])
    module = build_wasm(plan_host(folded, host))
    code = Path(str(package_files("rillet.runtime.wasm"))) / "web" / "net.js"
    images, source = list(random_inputs(folded, IMAGES)), folded.input_nodes[0]
    with tempfile.TemporaryDirectory(prefix="rillet-bench-") as name:
        folder, job = Path(name), dict[str, Any]()
        if there:
            with extra("onnx"):
                from rillet.exporters.onnx import export
            write_file(folder / "net.onnx", export(unpack(folded)))
            job |= {"onnx": str(folder / "net.onnx"), "packages": str(packages)}
        job |= {
            "code": str(code),
            "module": str(module),
            "images": [base64.b64encode(image.tobytes()).decode() for image in images],
            "type": source.type.dtype.numpy.name,
            "shape": [1, source.shape.channels, source.shape.height, source.shape.width],
            "rounds": rounds,
            "before": _BEFORE,
            "count": _COUNT,
        }
        said = _asked(node, job, folder)
    precision = precision_of(folded)
    records = _records(said["runners"], module.stat().st_size + code.stat().st_size - folded.weight_bytes, precision)
    refusals += [f"{one['runtime']}: not measured: {one['error']}" for one in said["runners"] if "error" in one]
    return PageBench(
        graph.name, graph.macs, precision, rounds, IMAGES, f"V8 {said['engine']}", machine(), records, tuple(refusals)
    )


def _asked(node: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    job["answer"] = str(folder / "answer.json")
    write_file(folder / "job.json", json.dumps(job).encode())
    script = Path(str(package_files("rillet.bench"))) / "browser.mjs"
    done = subprocess.run(
        [node, str(script), str(folder / "job.json")], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise BuildError(f"{node}: must run the benchmark, got: {first_error(done.stderr)}")
    said: dict[str, Any] = json.loads(read_text(folder / "answer.json", MODEL_BYTES))
    for one in said["runners"]:
        one["runtime"] = one.pop("name")
    return said


def _records(runners: list[dict[str, Any]], own_bytes: int, precision: str) -> tuple[PageRecord, ...]:
    from rillet.system.version import VERSION

    able = [one for one in runners if "error" not in one]
    if not able or able[0]["runtime"] == PEER:
        raise BuildError(f"rillet: must run in Node, got: {runners[0]['error'][:200]}")
    ours, out = able[0], list[PageRecord]()
    least = [[min(block) for block in one["times"]] for one in able]
    for one, times in zip(able, least, strict=True):
        flat = [time for block in one["times"] for time in block]
        apart = same = ratio = None
        if one is not ours:
            apart, same = agreement(np.array(ours["answers"]), np.array(one["answers"]), precision)
            ratio = ratios(least[0], times)
        out.append(
            PageRecord(
                runtime=one["runtime"],
                version=one.get("version") or VERSION,
                min_ms=min(flat),
                median_ms=median(flat),
                ratio=ratio,
                first_ms=one["first"],
                code_bytes=one.get("bytes") or own_bytes,
                difference=apart,
                same_top1=same,
            )
        )
    return tuple(out)
