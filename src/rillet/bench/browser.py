"""A network as WebAssembly beside ONNX Runtime Web: both in one process, one thread each, taking turns.

That process is Node, and then a headless Chromium where one is installed.
In Node times are the processor's (user and system), which other programs on the machine do not lengthen; a page has
the wall's clock alone.
"""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rillet.bench.chromium import in_chromium
from rillet.bench.machine import Machine, machine
from rillet.bench.peers.files import precision_of
from rillet.bench.rounds import IMAGES, Spread, agreement, ratios
from rillet.errors import BuildError, Unsupported
from rillet.ir.graph import Array, Graph
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
_RUNTIME, _PARTS = "ort.wasm.min.mjs", ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What of it a page loads."""
_BEFORE, _COUNT = 30, 5
"""Inferences that are not counted, of each runtime, and those of a round."""
_SECONDS = 600


@dataclass(frozen=True, slots=True)
class PageRecord:
    """One runtime in one engine."""

    engine: str
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
    images, source = list(random_inputs(folded, IMAGES)), folded.input_nodes[0]
    job = {
        "images": [_text(image) for image in images],
        # The other runtime takes channels first.
        "planes": [_text(np.moveaxis(image, -1, 0)) for image in images],
        "type": source.type.dtype.numpy.name,
        "shape": [1, source.shape.channels, source.shape.height, source.shape.width],
        "rounds": rounds,
        "before": _BEFORE,
        "count": _COUNT,
    }
    precision, made = precision_of(folded), list[PageRecord]()
    with tempfile.TemporaryDirectory(prefix="rillet-bench-") as name:
        files = {"code": Path(str(package_files("rillet.runtime.wasm"))) / "web" / "net.js", "module": module}
        own_bytes = sum(file.stat().st_size for file in files.values()) - folded.weight_bytes
        peer = _Peer("", 0)
        if there:
            with extra("onnx"):
                from rillet.exporters.onnx import export
            files |= {"onnx": Path(name) / "net.onnx", "runtime": packages / PEER / "dist" / _RUNTIME}
            write_file(files["onnx"], export(unpack(folded)))
            peer = _peer(packages / PEER)
        said = [_in_node(node, job, files, Path(name))]
        try:
            said.append(_in_chromium(job, files))
        except (BuildError, Unsupported) as error:
            refusals.append(str(error))
    for found in said:
        made += _records(found, own_bytes, peer, precision)
        refusals += [
            f"{one['name']}: not measured in {found['engine']}: {one['error']}"
            for one in found["runners"]
            if "error" in one
        ]
    return PageBench(graph.name, graph.macs, precision, rounds, IMAGES, machine(), tuple(made), tuple(refusals))


def _text(image: Array) -> str:
    return base64.b64encode(image.tobytes()).decode()


@dataclass(frozen=True, slots=True)
class _Peer:
    """The other runtime, as npm has installed it."""

    version: str
    code_bytes: int


def _peer(folder: Path) -> _Peer:
    version = json.loads(read_text(folder / "package.json", MODEL_BYTES))["version"]
    return _Peer(str(version), sum((folder / "dist" / name).stat().st_size for name in (_RUNTIME, *_PARTS)))


def _in_node(node: str, job: Mapping[str, Any], files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    whole = {**job, **{name: str(file) for name, file in files.items()}, "answer": str(folder / "answer.json")}
    write_file(folder / "job.json", json.dumps(whole).encode())
    script = Path(str(package_files("rillet.bench"))) / "node.mjs"
    done = subprocess.run(
        [node, str(script), str(folder / "job.json")], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise BuildError(f"{node}: must run the benchmark, got: {first_error(done.stderr)}")
    found: dict[str, Any] = json.loads(read_text(folder / "answer.json", MODEL_BYTES))
    return found


def _in_chromium(job: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    served = {file.name: file for file in files.values()}
    if "runtime" in files:
        served |= {name: files["runtime"].parent / name for name in _PARTS}
    return in_chromium({**job, **{name: f"./{file.name}" for name, file in files.items()}}, served, _SECONDS)


def _records(found: Mapping[str, Any], own_bytes: int, peer: _Peer, precision: str) -> list[PageRecord]:
    from rillet.system.version import VERSION

    runners = found["runners"]
    able = [one for one in runners if "error" not in one]
    if not able or able[0]["name"] == PEER:
        raise BuildError(f"rillet: must run in {found['engine']}, got: {runners[0]['error'][:200]}")
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
                engine=found["engine"],
                runtime=one["name"],
                version=VERSION if one is ours else peer.version,
                min_ms=min(flat),
                median_ms=median(flat),
                ratio=ratio,
                first_ms=one["first"],
                code_bytes=own_bytes if one is ours else peer.code_bytes,
                difference=apart,
                same_top1=same,
            )
        )
    return out
