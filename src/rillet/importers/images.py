"""The default input contract of a model file without one."""

from rillet.ir.graph import ImageSpec
from rillet.ir.types import TensorType


def default_image(value: TensorType, labels: tuple[str, ...] = ()) -> ImageSpec | None:
    """Pixels go in as bytes (uint8), less 128 (int8), or as 0 to 1 (float32); None where it is no picture."""
    shape, quant = value.shape, value.quant
    if shape.channels not in (1, 3) or min(shape.height, shape.width) < 2:
        return None
    mean, deviation = 0.0, 255.0
    if quant is not None:
        mean, deviation = float(quant.zero_point - value.dtype.integers[0]), 1.0 / quant.scale
    return ImageSpec(shape.height, shape.width, shape.channels, mean=(mean,), deviation=(deviation,), labels=labels)
