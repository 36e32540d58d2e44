"""The same network with the same weights as a file for each runtime."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rillet.backends.c.storage import sign_flipped
from rillet.bench.peers import OURS, PEERS, ours
from rillet.bench.peers.lite import nearest
from rillet.errors import Unsupported
from rillet.exporters import tflite
from rillet.ir.graph import Graph, Node
from rillet.ir.types import DType
from rillet.system.extras import extra
from rillet.system.files import write_file
from rillet.targets.host import Host
from rillet.transforms.lowbit import unpack

TorchFile = Callable[[Graph, int, int], bytes]
"""A float network, for so many images at once and so many threads, as a file that a higher floor makes by PyTorch."""


@dataclass(frozen=True, slots=True)
class Given:
    """The .tflite file that the graph was read from, and the order of the dimensions of each of its inputs."""

    path: Path
    orders: tuple[tuple[int, ...], ...]


def precision_of(graph: Graph) -> str:
    """`f32` or `int8`, the values of the network's layers; uint8 counts as int8."""
    return "f32" if all(node.type.dtype is DType.F32 for node in graph.nodes) else "int8"


@dataclass(frozen=True, slots=True)
class Request:
    """A network, its batch norms folded, to be written for a runtime."""

    graph: Graph
    threads: int
    folder: Path
    given: Given | None = None
    """The file that the graph is exactly the content of, if it is."""
    torch_files: Mapping[str, TorchFile] = field(default_factory=dict[str, TorchFile])
    """By the names of forms."""
    host: Host | None = None
    """What Rillet's program is for; the machine that this runs on if None."""
    batch: int = 1
    """Images of one call."""
    bf16: bool = False
    """Whether runtimes may multiply the float32 of the graph in bfloat16."""

    @property
    def precision(self) -> str:
        """That of the network, or bf16."""
        return "bf16" if self.bf16 else precision_of(self.graph)


@dataclass(frozen=True, slots=True)
class Way:
    """How a runtime takes the images of a call: so many at once, in so many sessions of a thread each."""

    at_once: int
    sessions: int = 1

    def words(self, batch: int) -> tuple[str, ...]:
        """What a reader is told; nothing of one image."""
        if batch == 1:
            return ()
        turns = f"{self.at_once} images at once" if self.at_once > 1 else "image by image"
        return turns, *((f"{self.sessions} sessions side by side",) if self.sessions > 1 else ())


def ways(runtime: str, batch: int, threads: int) -> tuple[Way, ...]:
    """All ways in which a runtime can take `batch` images a call: at once, one by one, and dealt out to its threads."""
    if batch == 1:
        return (Way(1),)
    own = runtime == OURS
    out = [] if runtime in _ONE_IMAGE else [Way(batch)]
    if not own:
        out.append(Way(1))
    if threads > 1 and batch % threads == 0:
        out += [Way(way.at_once // threads or 1, threads) for way in out]
    return tuple(dict.fromkeys(out))


_ONE_IMAGE = ("ncnn",)
"""Runtimes whose files take one image at a time."""


def prepare(runtime: str, request: Request, way: Way | None = None) -> dict[str, Any]:
    """Writes what `runtime` reads, once, and tells how to start it (see `sessions.Job`).

    way: all images at once if None. Raises Unsupported where the runtime has no file for this network.
    """
    graph, way = request.graph, way or Way(request.batch)
    job: dict[str, Any] = {
        "runtime": runtime,
        "threads": request.threads if way.sessions == 1 else 1,
        "batch": request.batch,
        "at_once": way.at_once,
        "sessions": way.sessions,
        "inputs": [_described(node) for node in graph.input_nodes],
        "bf16": request.bf16,
        "outputs": [_described(graph.by_name[name]) for name in dict.fromkeys(graph.outputs)],
    }
    if runtime == OURS:
        return job | {"file": str(ours.prepare(graph, job["threads"], request.host, bf16=request.bf16))}
    if request.precision not in PEERS[runtime].precisions:
        raise Unsupported(f"precision must be {' or '.join(PEERS[runtime].precisions)} here, got {request.precision}")
    return job | _WRITERS[runtime](replace(request, batch=way.at_once))


def _described(node: Node) -> dict[str, Any]:
    return {"shape": node.shape.array, "dtype": node.type.dtype.numpy.name}


def jobs(runtime: str, request: Request) -> list[dict[str, Any]]:
    """All forms in which a runtime may have the network; the one that it runs fastest is its best.

    Runtimes fuse quantised operators of uint8 that they compute in float where they are int8, or the other way round.
    Raises Unsupported where there is none.
    """
    made: list[dict[str, Any]] = []
    for way in ways(runtime, request.batch, request.threads):
        words = way.words(request.batch)
        made += [job | {"form": ", ".join((*sign, *words))} for sign, job in _signs(runtime, request, way)]
    return made


def _signs(runtime: str, request: Request, way: Way) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The network as it is, and where a runtime may be faster so, with the other sign; what says which."""
    if runtime == "torch":
        yield from _torch_forms(request, way)
        return
    if runtime not in _EITHER_SIGN or precision_of(request.graph) != "int8":
        yield (), prepare(runtime, request, way)
        return
    job = prepare(runtime, request, way)
    if signed := [node.name for node in request.graph.nodes if node.type.dtype is DType.I8]:
        yield ("int8",), job
        folder = request.folder / "unsigned"
        folder.mkdir(exist_ok=True)
        other = replace(request, graph=sign_flipped(request.graph, signed), folder=folder)
        sources = [node.name in signed for node in request.graph.input_nodes]
        ends = {"inputs_sign_flipped": sources, "output_sign_flipped": request.graph.outputs[0] in signed}
        job = prepare(runtime, other, way) | ends
    yield ("uint8",), job
    if runtime == "onnxruntime":
        # Its other sums saturate where there is no dot product of bytes, and are twice as fast where there is one.
        yield ("uint8",), job | {"exact": False, "as_before": True}


def _torch_forms(request: Request, way: Way) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """TorchScript, and what AOTInductor compiles, where a compiler is there and it takes the network."""
    yield (TORCH_SCRIPT,), prepare("torch", request, way)
    if AOT_INDUCTOR in request.torch_files:
        job = prepare("torch", request, way)
        with suppress(Unsupported):
            job |= _by_torch(AOT_INDUCTOR, replace(request, batch=way.at_once, threads=job["threads"]))
            yield (AOT_INDUCTOR,), job


TORCH_SCRIPT, AOT_INDUCTOR = "TorchScript", "AOTInductor"
"""Forms that a network has for PyTorch."""
_EITHER_SIGN = ("onnxruntime", "openvino")
"""Runtimes whose files may have activations of either sign."""


def _onnx(request: Request) -> dict[str, Any]:
    path = _path(request, "onnx")
    if not path.exists():
        with extra("onnx"):
            from rillet.exporters.onnx import export
        write_file(path, export(unpack(request.graph), request.batch))
    return {"file": str(path)}


def _tflite(request: Request) -> dict[str, Any]:
    if request.given is not None:
        return {"file": str(request.given.path), "orders": request.given.orders}
    path = _path(request, "tflite")
    if not path.exists():
        write_file(path, tflite.export(tflite.rounded(nearest(unpack(request.graph))), request.batch))
    return {"file": str(path)}


def _ncnn(request: Request) -> dict[str, Any]:
    from rillet.exporters.ncnn import export

    path, made = request.folder / "ncnn.param", export(unpack(request.graph))
    write_file(path, made.param.encode())
    write_file(path.with_suffix(".bin"), made.weights)
    return {"file": str(path), "names": (made.input, made.output)}


def _by_torch(form: str, request: Request) -> dict[str, Any]:
    if form not in request.torch_files:
        raise Unsupported("must be given what makes its file")
    path = _path(request, f"{request.threads}.{'pt' if form == TORCH_SCRIPT else 'pt2'}")
    if not path.exists():
        write_file(path, request.torch_files[form](request.graph, request.batch, request.threads))
    return {"file": str(path)}


def _path(request: Request, ending: str) -> Path:
    return request.folder / f"{precision_of(request.graph)}-{request.batch}.{ending}"


_WRITERS: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "onnxruntime": _onnx,
    "openvino": _onnx,
    "litert": _tflite,
    "ncnn": _ncnn,
    "torch": partial(_by_torch, TORCH_SCRIPT),
}
