"""Convolutions that TensorFlow dilates by a batch: SPACE_TO_BATCH_ND before, BATCH_TO_SPACE_ND behind."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tflite

from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import Dilated, Operator

_CONVOLUTIONS = (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D)


def joined(b: Builder, read: Sequence[Operator]) -> list[Operator]:
    """The operators, of which such three are one: the convolution, dilated.

    Raises Unsupported for a padding and a crop that are not those of a dilated convolution, GraphError for broken ones.
    """
    readers: defaultdict[int, list[Operator]] = defaultdict(list)
    for op in read:
        for tensor in op.inputs:
            readers[tensor].append(op)

    def only(op: Operator, *codes: int) -> Operator | None:
        """The only operator that reads the output of `op`, if it is one of these."""
        found = readers[op.outputs[0]] if len(op.outputs) == 1 and op.outputs[0] not in b.file.outputs else []
        return found[0] if len(found) == 1 and found[0].code in codes and found[0].inputs[0] == op.outputs[0] else None

    made: dict[int, Operator | None] = {}
    for op in read:
        if op.code == tflite.BuiltinOperator.SPACE_TO_BATCH_ND:
            conv = only(op, *_CONVOLUTIONS)
            back = only(conv, tflite.BuiltinOperator.BATCH_TO_SPACE_ND) if conv else None
            if conv and back and len(op.inputs) == len(back.inputs) == 3 and len(back.outputs) == 1:
                dilated = _dilated(b, op, back)
                inputs = (op.inputs[0], *conv.inputs[1:])
                made |= {op.index: None, back.index: None}
                made[conv.index] = replace(conv, inputs=inputs, outputs=back.outputs, dilated=dilated)
    return [op for found in read if (op := made.get(found.index, found)) is not None]


def _dilated(b: Builder, op: Operator, back: Operator) -> Dilated:
    block, sides, crops = b.integers(op, 1), b.integers(op, 2), b.integers(back, 2)
    if len(block) != 2 or len(sides) != 4 or len(crops) != 4 or b.integers(back, 1) != block or min(block) < 1:
        raise b.refuse(
            op, f"must spread height and width as {back} gathers them, got {block} and {b.integers(back, 1)}"
        )
    padding = (sides[0], sides[1] - crops[1], sides[2], sides[3] - crops[3])
    if crops[0] or crops[2] or min(padding) < 0 or min(crops) < 0:
        raise b.refuse(op, f"padding must go beyond what {back} crops, got {sides} and {crops}")
    for one in (op, back):
        if not _alike(b, one):
            raise b.fail(one, "must keep scale and zero point")
    return Dilated((block[0], block[1]), padding)


def _alike(b: Builder, op: Operator) -> bool:
    source, out = b.tensor(op, 0), b.file.tensors[op.outputs[0]]
    return np.array_equal(source.scales, out.scales) and np.array_equal(source.zeros, out.zeros)


def _alone(b: Builder, op: Operator) -> None:
    raise b.refuse(op, "must stand around a convolution: SPACE_TO_BATCH_ND, it alone, BATCH_TO_SPACE_ND")


HANDLERS: dict[int, Callable[[Builder, Operator], None]] = {
    tflite.BuiltinOperator.SPACE_TO_BATCH_ND: _alone,
    tflite.BuiltinOperator.BATCH_TO_SPACE_ND: _alone,
}
NOTES: dict[str, tuple[str, str]] = {
    "SPACE_TO_BATCH_ND": ("dilation of a conv", "before one, BATCH_TO_SPACE_ND behind it"),
    "BATCH_TO_SPACE_ND": ("dilation of a conv", "as SPACE_TO_BATCH_ND"),
}
