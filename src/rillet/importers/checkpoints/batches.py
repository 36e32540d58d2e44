"""Reads CIFAR's Python batches, pickles of one NumPy array and a list of labels, without executing them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError
from rillet.importers.checkpoints.unpickle import Global, Machine, load
from rillet.ir.graph import Array
from rillet.system.reading import read_bytes

MAX_BYTES = 2**28
ROW = 3 * 32 * 32
_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_ENCODE = "_codecs.encode"
_NAMES = {*_RECONSTRUCT, _ENCODE, "numpy.ndarray", "numpy.dtype"}


@dataclass
class _Bytes:
    """A NumPy array of bytes in the making."""

    shape: tuple[int, ...] = ()
    data: bytes = b""


class _BatchMachine(Machine):
    """A pickle machine that also knows an array of bytes, and nothing else of NumPy."""

    def named(self, module: str, name: str = "") -> Global:
        full = f"{module}.{name}" if name else module.replace(" ", ".", 1)
        return Global(full) if full in _NAMES else super().named(module, name)

    def made(self, function: Any, arguments: Any) -> Any:
        match function, arguments:
            case Global(name=name), (Global(name="numpy.ndarray"), (0,), _) if name in _RECONSTRUCT:
                return _Bytes()
            case Global(name="_codecs.encode"), (str(text), "latin1"):
                return self.latin(text)
            case Global(name="numpy.dtype"), ("u1", *_):
                return Global("numpy.dtype")
            case Global(name="numpy.dtype"), _:
                raise self.refused("has an array of another type than bytes")
            case _:
                return super().made(function, arguments)

    def latin(self, text: str) -> bytes:
        """Bytes that were written as a string."""
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise self.broken("bytes that are none") from None

    def step(self, name: str, argument: Any) -> None:
        below = self.stack[-2] if len(self.stack) > 1 else None
        if name != "BUILD" or not (isinstance(below, _Bytes) or below == Global("numpy.dtype")):
            super().step(name, argument)
            return
        state = self.pop()
        match below, state:
            case _Bytes(), (1, tuple(shape), Global(name="numpy.dtype"), False, str() | bytes() as data):
                # Python 2 wrote bytes as a string.
                below.shape, below.data = shape, data if isinstance(data, bytes) else self.latin(data)
            case Global(), tuple():
                pass  # the byte order of a byte
            case _:
                raise self.broken("an array without its bytes")


def read_batch(path: Path, key: str) -> tuple[Array, npt.NDArray[np.int64]]:
    """Pictures as rows of 3072 bytes (red, green, blue planes) and the labels called `key`.

    Raises GraphError for a file that is no batch, Unsupported for one that would run something.
    """
    value = load(io.BytesIO(read_bytes(path, MAX_BYTES)), str(path), _BatchMachine).value
    rows, labels = (value.get("data"), value.get(key)) if isinstance(value, dict) else (None, None)
    if not isinstance(rows, _Bytes) or rows.shape != (len(rows.data) // ROW, ROW) or len(rows.data) % ROW:
        raise GraphError(f"{path}: data must be pictures of {ROW} bytes")
    if not isinstance(labels, list) or not all(type(n) is int and 0 <= n < 1000 for n in labels):
        raise GraphError(f"{path}: {key} must be a list of labels")
    return np.frombuffer(rows.data, np.uint8).reshape(rows.shape), np.array(labels, np.int64)
