"""Oracles: LiteRT's reference kernels, TensorFlow Lite Micro and ONNX Runtime, where installed."""

import contextlib
import faulthandler
import importlib.util
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rillet.errors import Unsupported
from rillet.ir.graph import Array
from rillet.ir.inputs import Inputs, by_input
from rillet.ir.types import Shape

if TYPE_CHECKING:
    from rillet.importers.onnx import Imported as OnnxImported

ORACLES = ("litert", "tflm", "onnxruntime")
_MODULES = {"litert": "ai_edge_litert", "tflm": "tflite_micro", "onnxruntime": "onnxruntime"}
ORACLE_PACKAGES = {"litert": "ai-edge-litert", "tflm": "tflite-micro", "onnxruntime": "onnxruntime"}
"""What to install for each."""

_ABORTING_CLASSES = 512
"""LiteRT's reference of a softmax of bytes asserts that its sum of exponentials is less."""


def installed(name: str) -> bool:
    """True where the oracle's package can be imported."""
    return importlib.util.find_spec(_MODULES[name]) is not None


def require(name: str) -> None:
    """Raises Unsupported, naming the package, unless the oracle is known and installed."""
    if name not in ORACLES:
        raise Unsupported(f"--against must be one of {', '.join(ORACLES)}, got {name!r}")
    if not installed(name):
        raise Unsupported(f"--against {name} must have {ORACLE_PACKAGES[name]}: pip install {ORACLE_PACKAGES[name]}")


class LiteRt:
    """LiteRT's reference kernels (OpResolverType.BUILTIN_REF) on one file.

    `shape`: of the network's input, for a file that leaves it open.
    """

    def __init__(self, path: Path, input_order: tuple[int, ...] = (0, 1, 2, 3), shape: Shape | None = None) -> None:
        require("litert")
        self._order, self._path = input_order, path
        from ai_edge_litert.interpreter import Interpreter, OpResolverType  # pyright: ignore

        try:
            with _quiet():
                self._interpreter: Any = Interpreter(
                    str(path),
                    experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                    experimental_preserve_all_tensors=True,
                )
                details = self._interpreter.get_input_details()[0]
                if shape is not None and np.prod(details["shape"]) != shape.elements:
                    sizes = (1, *shape.array)
                    self._interpreter.resize_tensor_input(details["index"], [sizes[axis] for axis in input_order])
                self._interpreter.allocate_tensors()
                self._may_abort = hasattr(os, "fork") and self._has_wide_softmax()
        except (ValueError, RuntimeError) as error:
            reason = str(error).partition("Tensor ")[0].partition("\n")[0].strip()
            raise Unsupported(f"{path}: LiteRT refuses this file: {reason} (try --against tflm)") from None

    def _has_wide_softmax(self) -> bool:
        """True where the file has a softmax of bytes over so many classes that LiteRT may abort at it."""
        sizes = {details["index"]: details for details in self._interpreter.get_tensor_details()}
        inputs = [sizes[op["inputs"][0]] for op in self._interpreter._get_ops_details() if op["op_name"] == "SOFTMAX"]
        return any(d["dtype"] in (np.int8, np.uint8) and d["shape"][-1] >= _ABORTING_CLASSES for d in inputs)

    def run(self, image: Array) -> None:
        """One inference of a height x width x channels array."""
        self.run_several([image], [self._order])

    def run_several(self, arrays: Sequence[Array], orders: Sequence[tuple[int, ...]]) -> None:
        """One inference of an array for each input of the file, in its order, and how each lies there."""
        given = zip(self._interpreter.get_input_details(), arrays, orders, strict=True)
        for details, array, order in given:
            turned = np.ascontiguousarray(array[None].transpose(order))
            self._interpreter.set_tensor(details["index"], turned.reshape(details["shape"]))
        if self._may_abort:
            self._rehearse()
        self._interpreter.invoke()

    def _rehearse(self) -> None:
        """Tries the inference in a copy of this process; raises Unsupported where LiteRT ends that."""
        child = os.fork()
        if child == 0:
            try:
                faulthandler.disable()
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                self._interpreter.invoke()
            finally:  # whatever is raised: two processes must not go on from here
                os._exit(0)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            raise Unsupported(
                f"{self._path}: LiteRT ends the process at a softmax of {_ABORTING_CLASSES} or more classes that are "
                "nearly equal, as here; --against tflm compares without it"
            )

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


class OnnxRuntime:
    """ONNX Runtime on an imported file, nothing fused, with every tensor that shows a node's value as an output."""

    def __init__(self, imported: "OnnxImported") -> None:
        require("onnxruntime")
        import onnxruntime

        self._imported = imported
        self._names = [name for name in imported.tensors if name not in imported.inputs]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        # Without VNNI its products of uint8 and int8 would saturate at 16 bits.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            with _quiet():
                data = imported.file.showing(self._names)
                self._session: Any = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class of their own
            reason = str(error).partition("\n")[0].strip()[:200]
            raise Unsupported(f"{imported.file.name}: ONNX Runtime refuses this file: {reason}") from None

    def run(self, given: Inputs) -> dict[str, Array]:
        """Every value that the file shows, by node, as height x width x channels."""
        imported = self._imported
        if not self._names:
            return {}  # the file only passes its input on, and a session refuses to be asked for nothing
        arrays, views = by_input(imported.graph, given), [imported.tensors[name] for name in self._names]
        tensors = {name: np.ascontiguousarray(v.from_map(arrays[v.node])) for name, v in imported.inputs.items()}
        made = self._session.run(self._names, tensors)
        return {
            name: value for view, array in zip(views, made, strict=True) for name, value in view.shown(array).items()
        }


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
