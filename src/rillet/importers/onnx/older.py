"""Operators of ONNX's opsets 7 to 10 as those of opset 11: what were attributes are inputs, Upsample is a Resize."""

from dataclasses import replace

import numpy as np

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import resizes
from rillet.importers.onnx.builder import Builder, Known
from rillet.importers.onnx.file import Operator
from rillet.ir.graph import Array

import onnx  # isort: skip

_INPUTS_SINCE = {"Clip": 11, "Pad": 11, "Slice": 10, "Upsample": 9}
"""The opset from which on these read as inputs what were attributes."""
_COPIES = [
    onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"),
    onnx.helper.make_attribute("nearest_mode", "floor"),
]
"""What Upsample and the first Resize do, as the attributes of later ones."""
HANDLERS = {"Upsample": resizes.HANDLERS["Resize"]}
NOTES = {"Upsample": ("resize", "of opset 7 to 9, as Resize")}


def renewed(b: Builder, op: Operator) -> Operator:
    """The operator as opset 11 has it; raises Unsupported where that has none that is the same."""
    opset = b.file.opset
    if op.kind == "Upsample" and opset > 9:
        raise Unsupported("must be a Resize from opset 10 on")
    if op.kind == "BatchNormalization" and opset < 9 and op.integer("spatial", 1) != 1:
        raise Unsupported("spatial must be 1, got 0: statistics for every pixel")
    if opset < _INPUTS_SINCE.get(op.kind, 0):
        op = replace(op, inputs=(*op.inputs[:1], *(_input(b, op, *given) for given in _attributes(op))))
    if op.kind == "Upsample" or (op.kind == "Resize" and opset == 10):
        copies = {made.name: made for made in _COPIES}
        op = replace(
            op, kind="Resize", inputs=(*op.inputs[:1], "", *op.inputs[1:]), attributes={**op.attributes, **copies}
        )
    return op


def _attributes(op: Operator) -> list[tuple[str, Array | None]]:
    """What were attributes, in the order of the inputs that they became; None for one that is left out."""
    match op.kind:
        case "Clip":
            bounds = ((name, op.real(name, default)) for name, default in (("min", -np.inf), ("max", np.inf)))
            return [(name, np.array(value, np.float32) if np.isfinite(value) else None) for name, value in bounds]
        case "Pad":
            return [("pads", _integers(op, "pads")), ("value", np.array(op.real("value", 0.0), np.float32))]
        case "Slice":
            starts, ends = _integers(op, "starts"), _integers(op, "ends")
            return [("starts", starts), ("ends", ends), ("axes", _integers(op, "axes", np.arange(len(starts))))]
        case _:
            scales = op.reals("scales")
            if scales is None:
                raise GraphError("attribute scales is missing")
            return [("scales", np.array(scales, np.float32))]


def _integers(op: Operator, name: str, default: Array | None = None) -> Array:
    found = op.integers(name)
    if found is None and default is None:
        raise GraphError(f"attribute {name} is missing")
    return np.array(found, np.int64) if found is not None else np.asarray(default)


def _input(b: Builder, op: Operator, name: str, array: Array | None) -> str:
    """The name of a tensor that holds the array."""
    if array is None:
        return ""
    made = f"{op.outputs[0]}/{name}"
    while made in b.values or made in b.file.tensors:
        made += "_"
    b.values[made] = Known(array)
    return made
