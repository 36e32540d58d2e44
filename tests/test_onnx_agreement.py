"""ONNX Runtime differs from integer networks by one step of some values at most; docs/onnx.md states the bounds."""

import logging
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx

from conftest import NETWORKS, shared_file
from graphs import random_image
from onnx_models import session
from rillet.backends import reference
from rillet.exporters.onnx import export
from rillet.importers.onnx import parse
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Constant, Input, Requantize
from rillet.ir.types import DType
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.agreement import SHARES, kind
from rillet.runtime.verify import verify
from rillet.transforms.fold import fold
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights


def channels_first(array: Array, flat: bool) -> Array:
    tensor = array.transpose(2, 0, 1)[None]
    return tensor.reshape(1, -1) if flat else tensor


def steps(graph: Graph) -> dict[str, tuple[int, int]]:
    """For each kind of node: how many values, and how many ONNX Runtime makes one step larger or smaller.

    Each node by itself, on the reference's inputs. More than one step fails.
    """
    file = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load_from_string(export(graph))))
    values = reference.run(graph, random_image(graph))
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for n in graph.nodes:
        if n.type.quant is None or isinstance(n.op, Input | Constant):
            continue
        computed = [name for name in dict.fromkeys(n.inputs) if not isinstance(graph.by_name[name].op, Constant)]
        part = session(file.extract_model(computed, [n.name]).SerializeToString())
        read = {i.name: channels_first(values[i.name], len(i.shape) == 2) for i in part.get_inputs()}
        real = {
            name: tensor.astype(np.float32) if tensor.dtype == np.float64 else tensor for name, tensor in read.items()
        }
        got = part.run(None, real)[0]
        off = np.abs(got.astype(int) - channels_first(values[n.name], got.ndim == 2))
        assert off.max() <= 1, (n, off.max())
        count, wrong = found[kind(n)]
        found[kind(n)] = count + off.size, wrong + int(off.sum())
    return dict(found)


def check_shares(found: dict[str, tuple[int, int]]) -> None:
    for name, (count, wrong) in found.items():
        expected = SHARES.get(name, 0.0) * count
        assert wrong <= expected + 4 * np.sqrt(expected) + 1, (name, count, wrong)  # of few values more may be off


@pytest.mark.parametrize(
    "name",
    [
        "vww",
        "resnet",
        "mobilenet_v1_0.25_128",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("person", "mobilenet_v2")),
    ],
)
def test_exported_tflite_networks(name: str) -> None:
    path = NETWORKS.get(name, "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite")
    check_shares(steps(load(shared_file(path))))


# -- as ONNX Runtime's own quantiser writes them ---------------------------------------------------------------------


class Images:
    """Four random images to calibrate with."""

    def __init__(self, name: str, dims: tuple[int, ...]) -> None:
        tensors = [np.random.default_rng(seed).normal(0, 1, dims).astype(np.float32) for seed in range(4)]
        self.left = iter([{name: tensor} for tensor in tensors])

    def get_next(self) -> Any:
        return next(self.left, None)


def quantised(name: str, words: dict[str, str], form: str, values: str, weights: str, folder: Path) -> bytes:
    """A network of the zoo as ONNX Runtime's static quantiser makes it."""
    from onnxruntime import quantization

    made = onnx.load_from_string(export(fold(with_seeded_weights(build(name, words), 1))))
    del made.metadata_props[:]
    value = made.graph.input[0]
    dims = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantization.quantize_static(
                made,
                folder / "net.onnx",
                Images(value.name, dims),  # type: ignore[arg-type]
                quant_format=quantization.QuantFormat[form],
                activation_type=quantization.QuantType[values],
                weight_type=quantization.QuantType[weights],
                per_channel=weights == "QInt8",
            )
    finally:
        logging.disable(logging.NOTSET)
    return (folder / "net.onnx").read_bytes()


SMALL = {"resolution": "32", "classes": "10"}
QUANTISED = {
    "mobilenet_v2": SMALL | {"width": "0.35"},
    "mobilenet_v3_small": SMALL | {"width": "0.35"},
    "squeezenet1_1": SMALL,
    "resnet18": SMALL | {"width": "0.25"},
}
TYPES = (("QInt8", "QInt8"), ("QUInt8", "QInt8"), ("QUInt8", "QUInt8"))
FAST = {
    ("mobilenet_v2", "QDQ", TYPES[0]),
    ("mobilenet_v3_small", "QDQ", TYPES[1]),
    ("squeezenet1_1", "QDQ", TYPES[2]),
    ("squeezenet1_1", "QOperator", TYPES[0]),
    ("resnet18", "QOperator", TYPES[1]),
}
ALL = [(name, form, types) for name in QUANTISED for form in ("QDQ", "QOperator") for types in TYPES]


@pytest.mark.parametrize(
    ("name", "form", "types"), [pytest.param(*case, marks=() if case in FAST else pytest.mark.slow) for case in ALL]
)
def test_networks_that_onnx_runtime_quantised(name: str, form: str, types: tuple[str, str], tmp_path: Path) -> None:
    graph = parse(quantised(name, QUANTISED[name], form, *types, tmp_path), "net.onnx")
    real = [n for n in graph.nodes if n.type.dtype is DType.F32 and not isinstance(n.op, Input | Requantize)]
    if name == "mobilenet_v3_small":  # hard-sigmoid has no integer rule; QOperator has no integer hard-swish
        assert {kind(n) for n in real} <= {"hard_sigmoid", "hard_swish", "average"}
    else:
        assert not real
    found = steps(graph)
    check_shares(found)
    assert found["conv single"][0] > 1000


@pytest.mark.parametrize(
    "case", [ALL[0], *(pytest.param(case, marks=pytest.mark.slow) for case in ALL[1:] if case in FAST)], ids=str
)
def test_they_run_as_streams_in_c(case: tuple[str, str, tuple[str, str]], tmp_path: Path) -> None:
    name, form, types = case
    graph = parse(quantised(name, QUANTISED[name], form, *types, tmp_path), "net.onnx")
    assert verify(plan_rows(fold(graph)), 2).equal
