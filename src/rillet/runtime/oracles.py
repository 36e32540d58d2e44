"""Other runtimes as witnesses: LiteRT's reference kernels and TensorFlow Lite Micro, where they are installed."""

import contextlib
import importlib.util
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.graph import Array

ORACLES = ("litert", "tflm")
_MODULES = {"litert": "ai_edge_litert", "tflm": "tflite_micro"}
_PACKAGES = {"litert": "ai-edge-litert", "tflm": "tflite-micro"}


def installed(name: str) -> bool:
    """True where the oracle's package can be imported."""
    return importlib.util.find_spec(_MODULES[name]) is not None


def require(name: str) -> None:
    """Raises Unsupported, naming the package, unless the oracle is known and installed."""
    if name not in ORACLES:
        raise Unsupported(f"--against must be one of {', '.join(ORACLES)}, got {name!r}")
    if not installed(name):
        raise Unsupported(f"--against {name} must have {_PACKAGES[name]}: pip install {_PACKAGES[name]}")


class LiteRt:
    """LiteRT's reference kernels (OpResolverType.BUILTIN_REF) on one file."""

    def __init__(self, path: Path, input_order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        require("litert")
        self._order = input_order
        from ai_edge_litert.interpreter import Interpreter, OpResolverType  # pyright: ignore

        try:
            with _quiet():
                self._interpreter: Any = Interpreter(
                    str(path),
                    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                    experimental_preserve_all_tensors=True,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).partition("Tensor ")[0].partition("\n")[0].strip()
            raise Unsupported(f"{path}: LiteRT refuses this file: {reason} (try --against tflm)") from None

    def run(self, image: Array) -> None:
        """One inference of a height x width x channels array."""
        details = self._interpreter.get_input_details()[0]
        turned = np.ascontiguousarray(image[None].transpose(self._order))
        self._interpreter.set_tensor(details["index"], turned.reshape(details["shape"]))
        self._interpreter.invoke()

    def tensor(self, index: int) -> Array:
        """The file's tensor `index` after a run."""
        return self._interpreter.get_tensor(index)


class Tflm:
    """TensorFlow Lite Micro on one file."""

    def __init__(self, path: Path) -> None:
        require("tflm")
        from tflite_micro.python.tflite_micro import runtime  # pyright: ignore

        with _quiet():
            self._interpreter: Any = runtime.Interpreter.from_file(str(path))

    def run(self, image: Array) -> Array:
        """The first output for a height x width x channels array."""
        details = self._interpreter.get_input_details(0)
        with _quiet():
            self._interpreter.set_input(image.reshape(details["shape"]), 0)
            self._interpreter.invoke()
            return self._interpreter.get_output(0)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keeps the messages that the libraries print from C++ off the terminal."""
    saved = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
