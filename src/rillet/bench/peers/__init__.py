"""Baseline runtimes, each with its own best settings: their names, model files and processes."""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from difflib import get_close_matches

from rillet.errors import Unsupported

OURS = "rillet"
PRECISIONS = ("f32", "int8")
ASKED = ("f32", "bf16", "int8")
"""What a bench may be asked for: bf16 is the network in float32, multiplied in bfloat16."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A runtime to compare with."""

    name: str
    module: str
    package: str
    extra: str
    """The extra of this package that brings it."""
    precisions: tuple[str, ...]
    settings: str
    """How it is set up, for people who would set it up otherwise."""

    @property
    def installed(self) -> bool:
        """True where it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """What its package says it is."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return "?"


PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            *("onnxruntime", "onnxruntime", "onnxruntime", "bench", PRECISIONS),
            "ONNX, int8 or uint8 activations, the faster; no sums that saturate; all graph optimisations, sequential,"
            " intra-op threads that spin, input and output bound once",
        ),
        Peer(
            *("openvino", "openvino", "openvino", "bench", ASKED),
            "ONNX, int8 or uint8 activations, the faster; CPU, performance hint LATENCY,"
            " one stream of so many threads, float32 kept but for --precision bf16",
        ),
        Peer(
            *("litert", "ai_edge_litert", "ai-edge-litert", "bench", PRECISIONS),
            "TFLite; default operators with XNNPACK, so many threads",
        ),
        Peer(
            *("ncnn", "ncnn", "ncnn", "bench", ("f32",)),
            "its own files; light mode, packing, Winograd and sgemm on, no fp16 or bf16 storage, so many threads",
        ),
        Peer(
            *("torch", "torch", "torch", "torch", ("f32",)),
            "frozen and optimised for inference, TorchScript (oneDNN) or compiled by AOTInductor where there is a C++"
            " compiler, the faster; channels last, so many threads",
        ),
    )
}


def find(names: str | None) -> tuple[Peer, ...]:
    """The runtimes in a list with commas, or all that are installed where there is no list.

    Raises Unsupported for one that is unknown or not installed.
    """
    if names is None:
        return tuple(peer for peer in PEERS.values() if peer.installed)
    found = tuple(_one(name.strip()) for name in dict.fromkeys(names.split(",")) if name.strip() != OURS)
    for peer in found:
        if not peer.installed:
            raise Unsupported(
                f"--against {peer.name} must have {peer.package} installed: pip install 'rillet[{peer.extra}]'"
            )
    return found


def _one(name: str) -> Peer:
    if name in PEERS:
        return PEERS[name]
    close = get_close_matches(name, PEERS, 1, 0.5)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise Unsupported(f"--against must be one of {', '.join(PEERS)}, got {name!r}{hint}")
