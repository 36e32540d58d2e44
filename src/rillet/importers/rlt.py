"""Reads Rillet's own file: a zip of the text form and a safetensors file."""

import io
import math
import os
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.ir.graph import Array, Graph
from rillet.ir.packed import from_lists, from_planes
from rillet.ir.text import parse_graph
from rillet.ir.types import DType
from rillet.system.reading import MODEL_BYTES, open_file

VERSIONS = ("rillet 1", "rillet 2", "rillet 3", "rillet 4")
"""The second has packed weights, the third shared ones, the fourth how a detector's outputs are decoded."""
MAX_BYTES = MODEL_BYTES
MAX_TEXT_BYTES = 2**24
_MEMBERS = ("version", "graph.txt", "weights.safetensors")


def load(path: Path) -> Graph:
    """The graph in a file; raises GraphError where it is none, Unsupported for a later version."""
    with open_file(path, MAX_BYTES, "a .rlt file") as file:
        return _read(file, os.fstat(file.fileno()).st_size, str(path))


def parse(data: bytes, name: str) -> Graph:
    """The graph in the bytes of a file called `name`."""
    if len(data) > MAX_BYTES:
        raise GraphError(f"{name}: must be at most {MAX_BYTES} bytes")
    return _read(io.BytesIO(data), len(data), name)


def _read(file: BinaryIO, size: int, name: str) -> Graph:
    version, text, weights = _members(file, size, name)
    said = version[:40].decode("utf-8", "replace").strip()
    if said not in VERSIONS:
        raise Unsupported(f"{name}: version must be {' or '.join(map(repr, VERSIONS))}, got {said!r}")
    try:
        tensors = load_tensors(weights)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise GraphError(f"{name}: weights.safetensors: {str(error).partition(chr(10))[0]}") from None
    del weights
    try:
        described = parse_graph(text.decode())
        graph = replace(described, params=_unpacked(described, tensors))
    except UnicodeDecodeError:
        raise GraphError(f"{name}: graph.txt must be text in UTF-8") from None
    except RilletError as error:
        raise type(error)(f"{name}: {error}") from None
    known = {f"{node.name}.{param.name}" for node in graph.nodes for param in graph.own_params(node)}
    unknown = sorted(graph.params.keys() - known)
    if unknown:
        raise GraphError(f"{name}: weights must belong to a node, got {unknown[0]!r}")
    return graph


def _unpacked(graph: Graph, tensors: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a graph, those of ternary and binary weights unpacked; raises GraphError where that fails."""
    out = dict(tensors)
    for node in graph.nodes:
        for param in graph.own_params(node):
            name = f"{node.name}.{param.name}"
            if param.dtype not in (DType.TERNARY, DType.BINARY):
                continue
            found = [how for how in ("planes", "lists") if f"{name}.{how}" in out]
            if not found or name in out:
                continue
            if len(found) > 1:
                raise GraphError(f"{name}: must be planes or lists, got both")
            data = out.pop(f"{name}.{found[0]}")
            if data.dtype != np.uint8 or data.ndim != 1:
                raise GraphError(f"{name}.{found[0]}: must be bytes, got {data.dtype} of {data.ndim} dimensions")
            rows, packed = (param.shape[0], math.prod(param.shape[1:])), data.astype(np.uint8, copy=False)
            try:
                made = from_lists(packed, rows) if found[0] == "lists" else from_planes(packed, rows, param.dtype)
            except GraphError as error:
                raise GraphError(f"{name}: {error}") from None
            out[name] = made.reshape(param.shape)
    return out


def _members(file: BinaryIO, size: int, name: str) -> list[bytes]:
    """The three members, none of them compressed: what is read is never more than the file."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = {info.filename: info for info in archive.infolist()}
            if len(found) != len(_MEMBERS) or found.keys() != set(_MEMBERS):
                raise GraphError(f"{name}: must be a .rlt file of {', '.join(_MEMBERS)}")
            for info in found.values():
                if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                    raise GraphError(f"{name}: {info.filename}: must be stored uncompressed")
            if found["graph.txt"].file_size > MAX_TEXT_BYTES or found["version"].file_size > 100:
                raise GraphError(f"{name}: graph.txt must be at most {MAX_TEXT_BYTES} bytes")
            return [archive.read(found[member]) for member in _MEMBERS]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise GraphError(f"{name}: must be a .rlt file: {error}") from None
