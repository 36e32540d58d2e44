"""Bfloat16: the upper half of a float32, rounded to the nearest, ties to even."""

import numpy as np
import numpy.typing as npt

UNIT = 2.0**-8
"""Greatest rounding of a value, as a share of it."""
_LEAST = np.float32(2.0**-126)
"""Below it hardware takes numbers as zero."""


def bits(values: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """The 16 bits of each float32 value, as vcvtneps2bf16 gives them: what is subnormal becomes zero."""
    array = np.asarray(values, np.float32)
    whole = np.where(np.abs(array) < _LEAST, np.copysign(np.float32(0), array), array).view(np.uint32)
    odd = (whole >> np.uint32(16)) & np.uint32(1)
    rounded = (whole.astype(np.uint64) + np.uint64(0x7FFF) + odd) >> np.uint64(16)
    # A NaN stays one: its upper bits might be those of infinity, or wrap round.
    return np.where(np.isnan(array), (whole >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)


def rounded(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The same as float32 values."""
    return (bits(values).astype(np.uint32) << np.uint32(16)).view(np.float32)
