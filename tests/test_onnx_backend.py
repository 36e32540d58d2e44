"""The ONNX project's own node tests for the operators that the importer is for; docs/onnx.md lists those refused.

A graph has one input: a test's first input is the network's, the others are constants. A graph has no batch: a test
with one runs image by image. Definitions 23 to 28 of these operators add element types alone, so such tests are run as
opset 22; those older than 11 as 11.
"""

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import numpy_helper

from conftest import ROOT
from onnx_models import run
from rillet.errors import RilletError
from rillet.importers.onnx import parse_with_views

OPERATORS = frozenset(
    (
        *("Conv", "BatchNormalization", "Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "Add", "Mul", "Div"),
        *("Abs", "Celu", "Elu", "Erf", "Exp", "Gelu", "LeakyRelu", "Log", "Mish", "Neg", "Pow", "Reciprocal", "Selu"),
        *("Softplus", "Softsign", "Sqrt", "Swish", "Tanh"),
        *("DepthToSpace", "Max", "Min", "PRelu", "SpaceToDepth", "ConvTranspose"),
        *("GlobalAveragePool", "ReduceMean", "AveragePool", "MaxPool", "Concat", "Split", "Slice", "Pad", "Gemm"),
        *("Sub", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "LogSoftmax", "LpNormalization", "ArgMax"),
        *("LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization"),
        *("MatMul", "Flatten", "Reshape", "Transpose", "Softmax", "Dropout", "Identity", "Constant"),
        *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"),
    )
)
OVER_IMAGES = "test_mvn"
"""Tests of means over all images of a batch, which runs image by image here."""
RELATIVE, ABSOLUTE = 1e-3, 1e-7
"""The ONNX project's own tolerances."""
REASONS = (
    (r"type must be |must be (FLOAT|INT8)|must stay FLOAT", "element types other than float32, int8 and uint8"),
    (r"\[1, \d, \d+, \d+, \d+\]", "maps of three dimensions"),
    (r"must be a tensor with a shape", "sequences and optional values"),
    (r"shape must be 1xCxHxW|operand must be a constant matrix|bias must be one row", "work on a batch as a whole"),
    (r"strides of a transposed|dilation under a stride", "transposed convolutions with two strides, or dilated"),
    (r"dilations must be 1", "dilated pools"),
    (r"not their indices", "the indices of greatest values"),
    (r"training_mode|a mask too", "training"),
    (r"clip must be", "clamps whose bounds are one number, or crossed"),
    (r"input 1 must be (constant|one number)|exponent must be", "exponents that are not one number"),
    (r"channels alone|channels or all pixels|alike but for|channels, rows or columns", "work along height or width"),
    (r"input must be 1xCxHxW", "tensors that are no maps"),
    (r"two operands", "maxima and minima of other numbers of values than two"),
    (r"slopes of prelu", "slopes that are not one a channel"),
    (r"constant must broadcast to", "constants that differ from image to image"),
    (r"must be over the channels", "norms over other dimensions than the channels"),
    (r"not the statistics", "the statistics of a norm"),
    (r"p must be 2", "norms of other orders"),
    (
        r"join dimensions or cut|keep rows and columns",
        "reshapes that cut rows or columns: the values would have to move",
    ),
    (r"must take rows and columns in their order", "rows and columns backwards"),
    (r"at least 1, got|must take some", "tensors without values"),
    (r"must pad with zeros", "padding other than zeros"),
    (r"one scale and one zero point|got blocks", "activations with a scale a channel, or a block"),
    (r"is not supported", "integers without a scale (ConvInteger, MatMulInteger)"),
    (r"must have one input", "no input"),
    (r"select_last_index must be 0", "the last of several greatest values"),
)
"""What the importer says, and why; the first that fits."""


@dataclass(frozen=True)
class Case:
    """A test of the ONNX project for one image after the other."""

    name: str
    model: bytes
    tensors: list[Any]
    expected: list[list[Any]]


def kinds(model: Any) -> set[str]:
    """The operators of a model, those of other domains by their full names."""
    return {f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in model.graph.node}


@cache
def cases() -> dict[str, Case]:
    """The tests of all operators above, by name without `test_`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows in other operators' tests
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    wanted = (case for case in found if kinds(case.model) <= OPERATORS and not case.name.startswith(OVER_IMAGES))
    return {case.name.removeprefix("test_"): prepared(case) for case in wanted}


def prepared(case: Any) -> Case:
    """The test as a model with one input."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for entry in model.opset_import:
        entry.version = min(max(entry.version, 11), 22)
    inputs, outputs = case.data_sets[0]
    for info, value in list(zip(model.graph.input, inputs, strict=True))[1:]:
        tensor = value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value))
        model.graph.initializer.add().CopyFrom(tensor)
        model.graph.initializer[-1].name = info.name
    if not all(isinstance(value, np.ndarray | np.generic) for value in (*inputs[:1], *outputs)):
        return Case(case.name, model.SerializeToString(), [], [])  # sequences, and types that NumPy lacks
    tensor, batch = np.asarray(inputs[0] if inputs else 0), 1
    if tensor.ndim in (2, 4) and all(value.ndim and value.shape[0] % tensor.shape[0] == 0 for value in outputs):
        batch = tensor.shape[0]
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    if batch == 1:
        return Case(case.name, model.SerializeToString(), [tensor], [list(outputs)])
    of_images = zip(*(np.split(value, batch) for value in outputs), strict=True)
    return Case(case.name, model.SerializeToString(), np.split(tensor, batch), [list(values) for values in of_images])


@cache
def refusals() -> dict[str, str]:
    """What the importer says of each test that it refuses."""
    said: dict[str, str] = {}
    for name, case in cases().items():
        try:
            parse_with_views(case.model, name)
        except RilletError as error:
            said[name] = str(error)
    return said


def table() -> str:
    """The refused tests by reason, as a Markdown table."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, message in refusals().items():
        reason = next((why for pattern, why in REASONS if re.search(pattern, message)), None)
        assert reason is not None, (name, message)
        by_reason[reason].append(name)
    rows = [
        f"| {why} | {len(names)} | {', '.join(f'`{name}`' for name in sorted(names))} |"
        for _, why in REASONS
        if (names := by_reason.get(why))
    ]
    return "\n".join(["| refused | tests | names |", "|---|---|---|", *rows]) + "\n"


def test_node_tests() -> None:
    wrong: list[str] = []
    ran = 0
    for name, case in cases().items():
        if name in refusals():
            continue
        made = parse_with_views(case.model, name)
        for tensor, expected in zip(case.tensors, case.expected, strict=True):
            for got, want in zip(run(made, tensor), expected, strict=True):
                if got.shape != want.shape or not np.allclose(got, want, RELATIVE, ABSOLUTE):
                    wrong.append(name)
        ran += 1
    assert not wrong
    assert ran == len(cases()) - len(refusals()) > 100


def test_refused_node_tests_are_in_the_documentation(request: pytest.FixtureRequest) -> None:
    """docs/onnx.md says which and why; --update-golden writes it anew."""
    page = ROOT / "docs" / "onnx.md"
    text = page.read_text()
    start = text.index("| refused |")
    stop = text.index("\n\n", start) + 1
    if request.config.getoption("--update-golden"):
        page.write_text(text[:start] + table() + text[stop:])
        text = page.read_text()
    assert table() in text
    assert f"{len(cases()) - len(refusals())} run and agree, {len(refusals())} are refused" in text


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_has_node_tests(operator: str) -> None:
    assert any(
        operator in {n.op_type for n in onnx.ModelProto.FromString(c.model).graph.node} for c in cases().values()
    )
