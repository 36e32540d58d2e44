"""Files of ONNX's opsets 7 to 10, and shapes that exporters compute: as ONNX Runtime has them."""

import numpy as np
import pytest

from onnx_models import compare, ints, model, node, ops, real
from rillet.errors import RilletError
from rillet.importers.onnx import parse

DIMS = (1, 3, 4, 5)
STATISTICS = {"a": real(3), "v": np.abs(real(3)) + np.float32(0.1)}
SCALES = np.array([1, 1, 2, 1.5], np.float32)


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_what_were_attributes(opset: int) -> None:
    clipped = [node("Clip", ["x"], min=0.0, max=6.0)]
    assert ops(compare(model(clipped, DIMS, opset=opset))) == ["relu6"]
    assert ops(compare(model([node("Clip", ["x"], min=0.0)], DIMS, opset=opset))) == ["relu"]
    padded = [node("Pad", ["x"], pads=[0, 0, 1, 2, 0, 0, 0, 1])]
    assert ops(compare(model(padded, DIMS, opset=opset))) == ["pad"]
    normalised = [node("BatchNormalization", ["x", "a", "a", "a", "v"])]
    assert ops(compare(model(normalised, DIMS, STATISTICS, opset=opset))) == ["batchnorm"]


@pytest.mark.parametrize("opset", [7, 8, 9])
def test_slices_of_attributes(opset: int) -> None:
    for more in ({"axes": [1]}, {}):
        starts, ends = ([1], [3]) if more else ([0, 1], [1, 3])
        sliced = [node("Slice", ["x"], starts=starts, ends=ends, **more)]
        assert ops(compare(model(sliced, DIMS, opset=opset))) == ["slice"]


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_pixels_that_older_resizes_copy(opset: int) -> None:
    by_attribute = [node("Upsample", ["x"], scales=[float(s) for s in SCALES])]
    nodes = {7: by_attribute, 8: by_attribute, 9: [node("Upsample", ["x", "s"])], 10: [node("Resize", ["x", "s"])]}
    assert ops(compare(model(nodes[opset], DIMS, {"s": SCALES}, opset=opset))) == ["resize"]


OLDER = {
    "statistics for every pixel": ([node("BatchNormalization", ["x", *"aaaa"], spatial=0)], 7, "spatial must be 1"),
    "no pads": ([node("Pad", ["x"])], 10, "attribute pads is missing"),
    "no scales": ([node("Upsample", ["x"])], 7, "attribute scales is missing"),
    "no starts": ([node("Slice", ["x"], ends=[1])], 9, "attribute starts is missing"),
    "a later Upsample": ([node("Upsample", ["x", "s"])], 10, "must be a Resize from opset 10 on"),
    "a filled border": ([node("Pad", ["x"], pads=[0, 0, 1, 0, 0, 0, 0, 0], value=1.0)], 9, "must pad with zeros"),
    "an older file": ([node("Relu", ["x"])], 6, "opset must be 7 to 22, got 6"),
}


@pytest.mark.parametrize("name", OLDER)
def test_what_older_files_cannot_say(name: str) -> None:
    nodes, opset, message = OLDER[name]
    made = model(nodes, DIMS, {"a": real(3), "s": SCALES}, opset=opset)
    with pytest.raises(RilletError, match=message):
        parse(made.SerializeToString(), "x.onnx")


def test_shapes_that_exporters_compute() -> None:
    """A shape taken apart, computed with and put together: floors, negatives, ranges, products, comparisons."""
    nodes = [
        node("Shape", ["x"], "shape"),
        node("Cast", ["shape"], "real", to=1),
        node("Mul", ["real", "half"], "halves"),
        node("Floor", ["halves"], "down"),
        node("Ceil", ["halves"], "up"),
        node("Add", ["down", "up"], "same"),
        node("Sqrt", ["squares"], "roots"),
        node("Mul", ["same", "roots"], "kept"),
        node("Cast", ["kept"], "whole", to=7),
        node("ReduceProd", ["whole"], "all", axes=[0], keepdims=1),
        node("Neg", ["one"], "negative"),
        node("Range", ["zero", "two", "step"], "places"),
        node("Gather", ["whole", "places"], "front"),
        node("Less", ["front", "all"], "less"),
        node("Greater", ["all", "front"], "more"),
        node("And", ["less", "more"], "both"),
        node("Or", ["both", "both"], "either"),
        node("Not", ["either"], "neither"),
        node("Where", ["neither", "front", "front"], "wanted"),
        node("Concat", ["wanted", "negative"], "dims", axis=0),
        node("Reshape", ["x", "dims"], "flat"),
        node("Relu", ["flat"]),
    ]
    constants = {
        "half": np.array(0.5, np.float32),
        "squares": np.array(1, np.float32),
        "one": ints(1),
        "zero": np.array(0, np.int64),
        "two": np.array(2, np.int64),
        "step": np.array(1, np.int64),
    }
    assert ops(compare(model(nodes, DIMS, constants, opset=12))) == ["relu"]


@pytest.mark.parametrize(
    ("step", "message"), [(0, "step must not be 0"), (1e-9, "result of constants must have at most 16777216 values")]
)
def test_ranges_are_bounded(step: float, message: str) -> None:
    nodes = [node("Range", ["zero", "one", "step"], "r"), node("Add", ["x", "r"])]
    constants = {"zero": np.float32(0), "one": np.float32(1), "step": np.float32(step)}
    with pytest.raises(RilletError, match=message):
        parse(model(nodes, DIMS, constants).SerializeToString(), "x.onnx")
