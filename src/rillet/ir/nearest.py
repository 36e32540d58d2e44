"""Which place along an axis the nearest-neighbour resize of each framework copies, in float32 as it computes it."""

import numpy as np
import numpy.typing as npt

from rillet.errors import Unsupported

Floats = npt.NDArray[np.float32]
COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners"),
    *("asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"),
)
"""What ONNX calls coordinate_transformation_mode: where a place of the result lies among those of the source."""
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
"""What ONNX calls nearest_mode: which place is nearest."""
MAX_PLACES = 2**16
"""Longest side of a resized map: its tables are made as a file is read."""
_NEAR = 1e-6
_ONE, _HALF = np.float32(1), np.float32(0.5)


def of_tensorflow(length: int, out: int, align_corners: bool = False, half_pixel_centers: bool = False) -> list[int]:
    """For each of `out` places the one of `length` that TensorFlow Lite copies."""
    step = np.float32(length / out)
    if align_corners and out > 1:
        step = np.float32((length - 1) / (out - 1))
    at = (places_made(out) + (_HALF if half_pixel_centers else 0)) * step
    return _within(np.floor(at + _HALF) if align_corners else np.floor(at), length)


def of_torch(length: int, out: int, factor: float | None, exact: bool) -> list[int]:
    """The same for PyTorch's `nearest` and `nearest-exact`; `factor` is the caller's, None where sizes were given."""
    step = np.float32(1 / factor) if factor else np.float32(length) / np.float32(out)
    return _within(np.floor((places_made(out) + (_HALF if exact else 0)) * step), length)


def of_onnx(
    length: int,
    out: int,
    coordinates: str,
    rounding: str,
    scale: float | None = None,
    roi: tuple[float, float] = (0.0, 1.0),
) -> list[int]:
    """The same for ONNX Runtime, by a word of COORDINATES and one of ROUNDINGS; -1 for a place outside of the source.

    scale: the factor, None where the result's size is what was given. roi: the part that tf_crop_and_resize takes.
    """
    factor = np.float32(out) / np.float32(length) if scale is None else np.float32(scale)
    if factor == 1:  # ONNX Runtime copies then, whatever the coordinates would be
        return list(range(length))
    at = _coordinates(places_made(out), length, out, coordinates, factor, roi)
    # A place so near to a half is one, as float32 would hide that it is.
    below = np.floor(at)
    beyond = at.astype(np.float64) - below - 0.5
    match rounding:
        case "round_prefer_floor":
            nearest = below + (beyond > _NEAR)
        case "round_prefer_ceil":
            nearest = below + (beyond >= -_NEAR)
        case "floor":
            nearest = np.floor(at)
        case _:
            nearest = np.ceil(at)
    places = _within(nearest, length)
    if coordinates != "tf_crop_and_resize":
        return places
    inside = (at >= 0) & (at <= length - 1)
    return [place if kept else -1 for place, kept in zip(places, inside.tolist(), strict=True)]


def _coordinates(
    at: Floats, length: int, out: int, coordinates: str, factor: np.float32, roi: tuple[float, float]
) -> Floats:
    last = np.float32(length - 1)
    match coordinates:
        case "asymmetric":
            return at / factor
        case "align_corners":
            return at * last / np.float32(out - 1) if out > 1 else np.zeros(1, np.float32)
        case "pytorch_half_pixel" if out == 1:
            return np.zeros(1, np.float32)
        case "tf_half_pixel_for_nn":
            return (at + _HALF) / factor
        case "half_pixel_symmetric":
            # Where the size is the scaled one rounded down, the rest is left on both sides alike.
            adjusted = np.float32(out) / (factor * np.float32(length))
            offset = np.float32(length) / np.float32(2) * (_ONE - adjusted)
            # These steps alone are in float64.
            return (float(offset) + (at.astype(np.float64) + 0.5) / float(factor) - 0.5).astype(np.float32)
        case "tf_crop_and_resize":
            start, end = np.float32(roi[0]), np.float32(roi[1])
            if out > 1:
                return start * last + at * (end - start) * last / np.float32(out - 1)
            return np.full(1, 0.5 * (float(start) + float(end)) * float(last), np.float32)
        case _:
            return (at + _HALF) / factor - _HALF


def coordinates_of_onnx(out: int, length: int, coordinates: str, factor: np.float32) -> Floats:
    """Where `out` places of a result lie among the `length` of its source, by a word of COORDINATES."""
    return _coordinates(places_made(out), length, out, coordinates, factor, (0.0, 1.0))


def places_made(out: int) -> Floats:
    """The places of a result along one side; raises Unsupported for a side that is too long."""
    if out > MAX_PLACES:
        raise Unsupported(f"resize must make at most {MAX_PLACES} rows and columns, got {out}")
    return np.arange(out, dtype=np.float32)


def _within(places: Floats, length: int) -> list[int]:
    return np.clip(places, 0, length - 1).astype(np.int64).tolist()
