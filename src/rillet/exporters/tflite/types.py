"""What depends on the type of values: codes, fixed scales, the versions of operators, how convolutions round."""

from collections.abc import Mapping
from typing import Any

import tflite

from rillet.ir.ops import Conv, Rounding
from rillet.ir.types import DType, Quant

CODES = {
    DType.F32: tflite.TensorType.FLOAT32,
    DType.I8: tflite.TensorType.INT8,
    DType.U8: tflite.TensorType.UINT8,
    DType.I16: tflite.TensorType.INT16,
    DType.I32: tflite.TensorType.INT32,
    DType.I64: tflite.TensorType.INT64,
}
VALUES = (DType.F32, DType.I8, DType.U8, DType.I16)
"""Types that values between operators may have."""
UNIT = {DType.I8: Quant(1 / 256, -128), DType.U8: Quant(1 / 256, 0), DType.I16: Quant(1 / 32768, 0)}
"""The quantisation that TFLite wants of results between 0 and 1."""
TANH = {DType.I8: Quant(1 / 128, 0), DType.U8: Quant(1 / 128, 128), DType.I16: Quant(1 / 32768, 0)}
"""The same of a hyperbolic tangent."""
_INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
_UNCHANGED = ("HARD_SWISH", "RELU_N1_TO_1", "RESHAPE", "QUANTIZE", "PRELU", "ELU", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
"""Operators whose first version has int8 already; of the others it is the second."""
_INT16_VERSIONS = {
    **{"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "FULLY_CONNECTED": 7, "MUL": 4, "SUB": 5, "QUANTIZE": 3},
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE"), 4),
    **dict.fromkeys(("LEAKY_RELU", "GELU", "EXP"), 2),
    **dict.fromkeys(("RELU_N1_TO_1", "RESHAPE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "PRELU"), 1),
}
"""Those of 16-bit values; the others have them from their third."""


def first_version(name: str, dtype: DType, options: Mapping[str, Any]) -> int:
    """The first version of an operator that has values of this type, and what the options say."""
    version = 1
    if dtype is DType.I8:
        version = _INT8_VERSIONS.get(name, 1 if name in _UNCHANGED else 2)
    elif dtype is DType.I16:
        version = _INT16_VERSIONS.get(name, 3)
    dilated = options.get("DilationHFactor", 1) != 1 or options.get("DilationWFactor", 1) != 1
    return max(version, 3) if dilated or options.get("HalfPixelCenters") else version


def rounding_of(op: Conv, wide: bool) -> Rounding:
    """How TFLite rounds a convolution; `wide`: of 16-bit values."""
    return Rounding.SINGLE if op.dense else Rounding.REDUCED if wide else Rounding.DOUBLE
