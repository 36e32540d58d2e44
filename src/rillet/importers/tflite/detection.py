"""`TFLite_Detection_PostProcess`, the end of TensorFlow's SSDs: taken off, and kept as what the outputs mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import constants, parts
from rillet.importers.tflite.file import TYPE_NAMES, File, Operator
from rillet.ir.decoding import MAX_ANCHORS, Decoding

import tflite  # isort: skip

NAME = "TFLite_Detection_PostProcess"
CUSTOM = f"CUSTOM {NAME}"
NOTES = {
    CUSTOM: ("nothing", "at the end: raw boxes and scores are the outputs, and `rillet run` makes boxes of them"),
}
_BYTES = (tflite.TensorType.INT8, tflite.TensorType.UINT8)


def taken_off(file: File, read: Sequence[Operator]) -> tuple[list[Operator], Decoding | None]:
    """The operators without the decoder that makes all outputs of the file, and what it does.

    The file's outputs become those that it reads: boxes, and scores. Nothing changes where there is no such decoder;
    raises GraphError where it is broken.
    """
    last = [op for op in read if op.name == CUSTOM]
    if len(last) != 1 or not set(file.outputs) <= set(last[0].outputs):
        return list(read), None
    op = last[0]
    if len(op.inputs) != 3 or min(op.inputs) < 0:
        raise GraphError(f"{file.name}: {op}: must have 3 inputs, got {len(op.inputs)}")
    decoding = _decoding(file, op)
    file.outputs = op.inputs[:2]
    return parts.needed([one for one in read if one is not op], file.outputs), decoding


def _decoding(file: File, op: Operator) -> Decoding:
    anchors = file.tensors[op.inputs[2]]
    if anchors.data is None or len(anchors.dims) != 2 or anchors.dims[1] != 4 or anchors.dims[0] > MAX_ANCHORS:
        raise Unsupported(f"{file.name}: {op}: anchors must be a constant of Nx4 values, got {list(anchors.dims)}")
    if anchors.code not in (*_BYTES, tflite.TensorType.FLOAT32):
        got = TYPE_NAMES.get(anchors.code, str(anchors.code))
        raise Unsupported(f"{file.name}: {op}: anchors must be FLOAT32, INT8 or UINT8, got {got}")
    by_scale = anchors.code in _BYTES
    values = constants.real(file, anchors) if by_scale else constants.stored(file, anchors)
    try:
        said = _options(op)
        return Decoding(
            anchors=tuple((y, x, h, w) for y, x, h, w in np.asarray(values, np.float64).tolist()),
            scales=(_real(said, "y_scale"), _real(said, "x_scale"), _real(said, "h_scale"), _real(said, "w_scale")),
            classes=_whole(said, "num_classes"),
            least_score=_real(said, "nms_score_threshold"),
            overlap=_real(said, "nms_iou_threshold"),
            most=_whole(said, "max_detections"),
            classes_a_box=_whole(said, "max_classes_per_detection"),
            by_class=bool(_whole(said, "use_regular_nms", 0)),
            most_a_class=_whole(said, "detections_per_class", 100),
        )
    except GraphError as error:
        raise GraphError(f"{file.name}: {op}: {error}") from None


def _options(op: Operator) -> Any:
    """The operator's options, which are a FlexBuffer's map."""
    data = bytes(op.raw.CustomOptionsAsNumpy().tobytes()) if op.raw.CustomOptionsLength() else b""
    root: Any = flexbuffers.GetRoot(data)
    if not root.IsMap:
        raise GraphError("options must be a map")
    return root.AsMap


def _found(said: Any, name: str, default: float | None) -> Any:
    """An option that is a number."""
    try:
        value = said[name]
    except KeyError:
        value = None
    if value is None and default is not None:
        return default
    if value is None or not (value.IsNumeric or value.IsBool):
        raise GraphError(f"option {name} must be a number, got {'none' if value is None else 'something else'}")
    return value.AsFloat if value.IsFloat else value.AsInt


def _real(said: Any, name: str) -> float:
    return float(_found(said, name, None))


def _whole(said: Any, name: str, default: int | None = None) -> int:
    return int(_found(said, name, default))
