"""A network as WebAssembly beside ONNX Runtime Web, LiteRT.js and tfjs-tflite, one thread each, taking turns.

All run in one process. That is Node, and then a headless Chromium where one is installed.
In Node times are the processor's (user and system), which other programs on the machine do not lengthen; a page has
the wall's clock alone.
"""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files as package_files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rillet.bench.chromium import in_chromium
from rillet.bench.machine import Machine, machine
from rillet.bench.peers.files import Request, precision_of, prepare
from rillet.bench.peers.lite import unsigned_ends
from rillet.bench.rounds import IMAGES, Spread, agreement, ratios
from rillet.errors import BuildError, RilletError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.inputs import sole_input
from rillet.ir.types import DType
from rillet.plan.host.planner import plan_host
from rillet.runtime.verify import random_inputs
from rillet.runtime.wasm.building import build_relaxed, build_wasm
from rillet.runtime.wasm.program import find_node
from rillet.system.build import first_error
from rillet.system.files import write_file
from rillet.system.reading import MODEL_BYTES, read_text
from rillet.targets.host import Host
from rillet.transforms.fold import fold

PACKAGES = "RILLET_NODE_MODULES"
"""The environment variable that names the folder of npm's packages, node_modules in this folder by default."""


@dataclass(frozen=True, slots=True)
class Package:
    """A runtime as npm installs it: what of it a page loads, under names of its own there."""

    name: str
    files: Mapping[str, str]
    """By the name that a page has for it, the path in npm's folder; the first is the module that a program imports."""
    counted: tuple[str, ...]
    """Those that one engine loads."""
    others: tuple[str, ...] = ()
    """Packages that this one imports."""


ONNX = "onnxruntime-web"
_LITE = "@litertjs/core/wasm/litert_wasm"
PEERS = (
    Package(
        ONNX,
        {
            name: f"onnxruntime-web/dist/{name}"
            for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
        },
        ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    ),
    # Of its two builds engines with relaxed SIMD load that without `compat` in its name, which is 33 kB larger.
    Package(
        "@litertjs/core",
        {
            "litert.js": "@litertjs/core/dist/index.js",
            "litert-utils.js": "@litertjs/wasm-utils/dist/index.js",
            "litert_wasm_compat_internal.js": f"{_LITE}_compat_internal.js",
            "litert_wasm_compat_internal.wasm": f"{_LITE}_compat_internal.wasm",
            "litert_wasm_internal.js": f"{_LITE}_internal.js",
            "litert_wasm_internal.wasm": f"{_LITE}_internal.wasm",
        },
        ("litert.js", "litert-utils.js", "litert_wasm_compat_internal.js", "litert_wasm_compat_internal.wasm"),
        ("@litertjs/wasm-utils",),
    ),
    # Without TensorFlow.js; what of it computes is here.
    Package(
        "@tensorflow/tfjs-tflite",
        {
            name: f"@tensorflow/tfjs-tflite/wasm/{name}"
            for name in (
                "tflite_web_api_client.js",
                "tflite_web_api_cc_simd.js",
                "tflite_web_api_cc_simd.wasm",
                "tflite_web_api_cc_simd_threaded.js",
                "tflite_web_api_cc_simd_threaded.wasm",
                "tflite_web_api_cc_simd_threaded.worker.js",
            )
        },
        ("tflite_web_api_client.js", "tflite_web_api_cc_simd.js", "tflite_web_api_cc_simd.wasm"),
    ),
)
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
    """Measures a network, which has weights, as WebAssembly; beside it the runtimes of PEERS that npm has installed.

    against: None for all that are there, else some of their names with commas, which must be there. Raises Unsupported
    where one is not, and without Node.
    """
    sole_input(graph, "for a benchmark of pages")
    wanted = _wanted(against)
    packages = Path(os.environ.get(PACKAGES, "node_modules")).absolute()
    folded, node, refusals, peers = fold(graph), find_node(), list[str](), list[_Peer]()
    for package in wanted:
        if (packages / package.name / "package.json").is_file():
            peers.append(_peer(package, packages))
            continue
        install = f"npm install {package.name}, and name its folder: {PACKAGES}=FOLDER/node_modules"
        refusals.append(f"{package.name}: {install}")
        if against is not None:
            raise Unsupported(refusals[-1])
    plan = plan_host(folded, host)
    module = build_wasm(plan)
    images = list(random_inputs(folded, IMAGES))
    job = {
        **_given(images),
        "rounds": rounds,
        "before": _BEFORE,
        "count": _COUNT,
    }
    precision, made = precision_of(folded), list[PageRecord]()
    with tempfile.TemporaryDirectory(prefix="rillet-bench-") as name:
        code = Path(str(package_files("rillet.runtime.wasm"))) / "web" / "net.js"
        own = {"net.js": code, "net.wasm": module, "net.relaxed.wasm": build_relaxed(plan) or module}
        own_bytes = code.stat().st_size + module.stat().st_size - folded.weight_bytes
        able = list[_Peer]()
        for peer in peers:
            try:
                able.append(_with_network(peer, folded, images, Path(name)))
            except RilletError as error:
                refusals.append(f"{peer.package.name}: {error}")
        said = [_in_node(node, job, own, able, Path(name))]
        try:
            said.append(_in_chromium(job, own, able))
        except (BuildError, Unsupported) as error:
            refusals.append(str(error))
    for found in said:
        made += _records(found, own_bytes, able, precision)
        refusals += [
            f"{one['name']}: not measured in {found['engine']}: {one['error']}"
            for one in found["runners"]
            if "error" in one
        ]
    return PageBench(graph.name, graph.macs, precision, rounds, IMAGES, machine(), tuple(made), tuple(refusals))


def _wanted(against: str | None) -> list[Package]:
    known = {package.name: package for package in PEERS}
    names = list(known) if against is None else [name.strip() for name in against.split(",")]
    for name in names:
        if name not in known:
            raise Unsupported(f"--against must be one of {', '.join(known)} for wasm, got {name!r}")
    return [known[name] for name in names]


def _given(images: Sequence[Array]) -> dict[str, Any]:
    texts = [base64.b64encode(image.tobytes()).decode() for image in images]
    return {"images": texts, "type": images[0].dtype.name, "shape": [1, *images[0].shape]}


@dataclass(frozen=True, slots=True)
class _Peer:
    """Another runtime, as npm has installed it, and the network as it reads it."""

    package: Package
    files: Mapping[str, Path]
    """By the name that a page has for it."""
    version: str
    network: Path = Path()
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The images as it takes them."""
    less: int = 0
    """What its answers are more than the network's."""

    @property
    def code_bytes(self) -> int:
        return sum(self.files[name].stat().st_size for name in self.package.counted)

    def told(self, address: Callable[[str, Path], str]) -> dict[str, str]:
        """What the rounds are told of it; `address` of a file is what they find it by."""
        first = next(iter(self.files))
        return {
            "name": self.package.name,
            "runtime": address(first, self.files[first]),
            "wasm": address(self.package.counted[-1], self.files[self.package.counted[-1]]),
            "network": address(self.network.name, self.network),
            **self.given,
        }


def _peer(package: Package, packages: Path) -> _Peer:
    version = json.loads(read_text(packages / package.name / "package.json", MODEL_BYTES))["version"]
    return _Peer(package, {name: packages / path for name, path in package.files.items()}, str(version))


def _with_network(peer: _Peer, graph: Graph, images: Sequence[Array], folder: Path) -> _Peer:
    """With the network as a file that it reads, as other processors have it, and the images in its order and type."""
    if peer.package.name == ONNX:
        file = prepare("onnxruntime", Request(graph, 1, folder))["file"]
        return replace(
            peer, network=Path(str(file)), given=_given([np.moveaxis(image, -1, 0).copy() for image in images])
        )
    # LiteRT.js has no tensors of int8 for its callers; its predecessor reads the same file.
    ends = [graph.by_name[name].type.dtype is DType.I8 for name in (graph.input_nodes[0].name, graph.outputs[0])]
    file = prepare("litert", Request(unsigned_ends(graph), 1, folder))["file"]
    shown = [image.view(np.uint8) ^ 0x80 if ends[0] else image for image in images]
    return replace(peer, network=Path(str(file)), given=_given(shown), less=128 if ends[1] else 0)


def _builds(address: Callable[[str], str]) -> dict[str, str]:
    return {"code": address("net.js"), "module": address("net.wasm"), "relaxed": address("net.relaxed.wasm")}


def _in_node(
    node: str, job: Mapping[str, Any], own: Mapping[str, Path], peers: Sequence[_Peer], folder: Path
) -> dict[str, Any]:
    files = {**_builds(lambda name: str(own[name])), "answer": str(folder / "answer.json")}
    whole = {**job, **files, "peers": [peer.told(lambda _, path: str(path)) for peer in peers]}
    write_file(folder / "job.json", json.dumps(whole).encode())
    script = Path(str(package_files("rillet.bench"))) / "node.mjs"
    done = subprocess.run(
        [node, str(script), str(folder / "job.json")], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise BuildError(f"{node}: must run the benchmark, got: {first_error(done.stderr)}")
    found: dict[str, Any] = json.loads(read_text(folder / "answer.json", MODEL_BYTES))
    return found


def _in_chromium(job: Mapping[str, Any], own: Mapping[str, Path], peers: Sequence[_Peer]) -> dict[str, Any]:
    served = dict(own)
    for peer in peers:
        served |= {**peer.files, peer.network.name: peer.network}
    whole = {**job, **_builds(lambda name: f"./{name}")}
    return in_chromium({**whole, "peers": [peer.told(lambda name, _: f"./{name}") for peer in peers]}, served, _SECONDS)


def _records(found: Mapping[str, Any], own_bytes: int, peers: Sequence[_Peer], precision: str) -> list[PageRecord]:
    from rillet.system.version import VERSION

    runners = found["runners"]
    able = [one for one in runners if "error" not in one]
    by_name = {peer.package.name: peer for peer in peers}
    if not able or able[0]["name"] in by_name:
        raise BuildError(f"rillet: must run in {found['engine']}, got: {runners[0]['error'][:200]}")
    ours, out = able[0], list[PageRecord]()
    least = [[min(block) for block in one["times"]] for one in able]
    for one, times in zip(able, least, strict=True):
        flat = [time for block in one["times"] for time in block]
        apart = same = ratio = None
        if one is not ours:
            answers = np.array(one["answers"]) - by_name[one["name"]].less
            apart, same = agreement(np.array(ours["answers"]), answers, precision)
            ratio = ratios(least[0], times)
        out.append(
            PageRecord(
                engine=found["engine"],
                runtime=one["name"],
                version=VERSION if one is ours else by_name[one["name"]].version,
                min_ms=min(flat),
                median_ms=median(flat),
                ratio=ratio,
                first_ms=one["first"],
                code_bytes=own_bytes if one is ours else by_name[one["name"]].code_bytes,
                difference=apart,
                same_top1=same,
            )
        )
    return out
