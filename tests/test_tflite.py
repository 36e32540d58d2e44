"""The TFLite importer: what it reads, what it refuses, and that nothing breaks it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import NETWORKS, ROOT, shared_file

pytest.importorskip("ai_edge_litert")
from ai_edge_litert import schema_py_generated as schema

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.tflite import NOTES, load, operator_table, parse, supported_operators
from rillet.ir.ops import Conv
from tfl import Writer, conv_options, one_conv, pack, unpack


def test_names_and_blocks() -> None:
    graph = load(shared_file(NETWORKS["mobilenet_v2"]))
    assert len({node.block for node in graph.nodes}) == 17 + 3  # blocks; input, stem, head
    block = [node.name for node in graph.nodes if node.block == "block3"]
    assert block == ["block3.expand", "block3.depthwise", "block3.project", "block3.add"]
    assert graph.macs == 300_775_552
    assert graph.image is not None
    assert len(graph.image.labels) == 1001


def test_one_convolution() -> None:
    graph = parse(one_conv(), "one.tflite").graph
    conv = graph.nodes[1].op
    assert isinstance(conv, Conv)
    assert conv.window.padding == (1, 1, 1, 1)
    assert graph.params[f"{graph.nodes[1].name}.weight"].shape == (4, 3, 3, 2)


def edited(change: Callable[[Any, Any], None]) -> bytes:
    model = unpack(one_conv())
    change(model, model.subgraphs[0])
    return pack(model)


def set_code(name: str) -> Callable[[Any, Any], None]:
    def change(model: Any, _: Any) -> None:
        model.operatorCodes[0].builtinCode = getattr(schema.BuiltinOperator, name)
        model.operatorCodes[0].deprecatedBuiltinCode = min(getattr(schema.BuiltinOperator, name), 127)

    return change


def assign(path: str, value: Any) -> Callable[[Any, Any], None]:
    def change(_: Any, graph: Any) -> None:
        *parents, last = path.split(".")
        at = graph
        for name in parents:
            at = at[int(name)] if name.isdigit() else getattr(at, name)
        setattr(at, last, value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            set_code("LSTM"),
            Unsupported,
            r"x.tflite: operator 0 \(LSTM\): is not supported; 0 of 1 operators are, all but LSTM \(1\); rillet ops",
        ),
        (assign("tensors.0.shape", [1, 0, 5, 2]), Unsupported, "dimensions must be at least 1"),
        (assign("tensors.0.shape", [2, 5, 5, 2]), Unsupported, "shape must be 1xHxWxC, 1xWxC or 1xC"),
        (assign("tensors.0.shape", [1, 2**14, 2**14, 2]), Unsupported, "shape must hold at most"),
        (
            assign("tensors.0.shapeSignature", [1, -1, 5, 2]),
            Unsupported,
            "shape must be fixed.* x.tflite:input=224x224",
        ),
        (
            assign("tensors.0.type", schema.TensorType.FLOAT64),
            Unsupported,
            "type must be INT8, UINT8, INT16 or FLOAT32, got FLOAT64",
        ),
        (assign("tensors.0.quantization.scale", [0.0]), GraphError, "scale must be a positive number, got 0.0"),
        (assign("tensors.0.quantization.scale", [float("nan")]), GraphError, "scales must be positive"),
        (assign("tensors.0.quantization.zeroPoint", [300]), GraphError, "zero point must be within -128..127"),
        (assign("tensors.1.quantization.zeroPoint", [1] * 4), Unsupported, "zero points of int8 weights must be 0"),
        (assign("tensors.1.quantization.scale", [0.1, 0.2]), GraphError, "weights must have 1 or 4 scales"),
        (assign("tensors.1.buffer", 0), Unsupported, "input 1 must be constant"),
        (assign("tensors.1.buffer", 77), GraphError, "buffer must be one of 3, got 77"),
        (assign("tensors.1.shape", [4, 3, 3, 3]), GraphError, "must have 108 bytes, got 72"),
        (assign("tensors.2.shape", [3]), GraphError, "must have 12 bytes, got 16"),
        (assign("tensors.3.shape", [1, 5, 5, 5]), GraphError, "shape must be 5x5x4, got 5x5x5"),
        (assign("operators.0.inputs", [3, 1, 2]), GraphError, "reads tensor 3 .* before it is made"),
        (assign("operators.0.inputs", [0]), GraphError, "input 1 is missing"),
        (assign("operators.0.inputs", [0, 99, 2]), GraphError, "tensor must be one of 4, got 99"),
        (assign("operators.0.outputs", [0]), GraphError, "output must be made once"),
        (assign("operators.0.outputs", []), GraphError, "output 0 is missing"),
        (assign("operators.0.opcodeIndex", 5), GraphError, "code must be one of 1, got 5"),
        (assign("operators.0.builtinOptions.strideH", 0), GraphError, "stride must be at least 1x1"),
        (assign("operators.0.builtinOptions.fusedActivationFunction", 4), Unsupported, "must be none or a clamp"),
        (assign("inputs", []), Unsupported, "must have one input or more, got 0"),
        (assign("outputs", [1]), Unsupported, "output must follow from the input, got a constant"),
        (assign("outputs", [9]), GraphError, "tensor must be one of 4, got 9"),
    ],
)
def test_what_it_refuses(change: Callable[[Any, Any], None], error: type[RilletError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(edited(change), "x.tflite")


def test_accumulators_and_absurd_multipliers_are_refused_or_run() -> None:
    from rillet.backends import reference

    tiny = parse(edited(assign("tensors.3.quantization.scale", [1e30])), "x").graph
    assert set(reference.outputs(tiny, np.zeros((5, 5, 2), np.int8))[0].reshape(-1)) == {-5}
    huge = parse(edited(assign("tensors.3.quantization.scale", [1e-30])), "x").graph
    assert reference.outputs(huge, np.zeros((5, 5, 2), np.int8))[0].dtype == np.int8


def test_flatten_before_a_dense_layer_becomes_its_window() -> None:
    rng = np.random.default_rng(0)
    w = Writer()
    source = w.tensor((1, 2, 3, 4), scale=0.5)
    shape = w.tensor((2,), "int32", data=[1, 24])
    flat = w.tensor((1, 24), scale=0.5)
    weight = w.tensor((5, 24), scale=0.1, data=rng.integers(-127, 128, (5, 24)))
    out = w.tensor((1, 5), scale=2.0)
    w.op("RESHAPE", [source, shape], [flat], schema.ReshapeOptionsT())
    w.op("FULLY_CONNECTED", [flat, weight, -1], [out], schema.FullyConnectedOptionsT())
    graph = parse(w.bytes([source], [out]), "x").graph
    conv = graph.nodes[1].op
    assert isinstance(conv, Conv)
    assert conv.window.kernel == (2, 3)


def test_wrong_files() -> None:
    for data in (b"", b"TFL3", b"\0" * 64, one_conv()[:60], one_conv()[:200]):
        with pytest.raises(GraphError, match="x.tflite: must be"):
            parse(data, "x.tflite")


def test_grouped_convolution_takes_its_groups_from_the_filter() -> None:
    w = Writer()
    source = w.tensor((1, 4, 4, 6), scale=0.5)
    weight = w.tensor((4, 1, 1, 3), scale=0.1, data=np.ones((4, 1, 1, 3)))
    out = w.tensor((1, 4, 4, 4), scale=1.0)
    w.op("CONV_2D", [source, weight], [out], conv_options())
    conv = parse(w.bytes([source], [out]), "x").graph.nodes[1].op
    assert isinstance(conv, Conv)
    assert conv.groups == 2


def fuzz(path: Path, first: int, count: int) -> None:
    """Runs tests/fuzz.py on a file in a process of its own, with limits on its memory and time."""
    import subprocess
    import sys

    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), str(path), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ran, refused = map(int, done.stdout.split())
    assert ran + refused == count
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vww", "resnet", "person"])
def test_broken_files_give_clean_errors(name: str) -> None:
    fuzz(shared_file(NETWORKS[name]), 0, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vww", "resnet", "person"])
def test_many_broken_files_give_clean_errors(name: str) -> None:
    fuzz(shared_file(NETWORKS[name]), 1000, 2000)


@pytest.mark.slow
def test_broken_float_and_uint8_files_give_clean_errors() -> None:
    fuzz(shared_file("mlperf_tiny/pretrainedResnet.tflite"), 1000, 2000)
    fuzz(shared_file("mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite"), 1000, 500)


def test_the_table_of_operators_in_the_documentation(request: pytest.FixtureRequest) -> None:
    """docs/tflite.md holds the table that the code makes; --update-golden writes it anew."""
    page = ROOT / "docs" / "tflite.md"
    text = page.read_text()
    start = text.index("| operator |")
    stop = text.index("\n\n", start) + 1
    if request.config.getoption("--update-golden"):
        page.write_text(text[:start] + operator_table() + text[stop:])
        text = page.read_text()
    assert operator_table() in text
    assert set(NOTES) == set(supported_operators())
