"""Constants of a layer as structs with designated initialisers, as its kernels take them."""

import textwrap
from collections.abc import Iterable

FIELDS = {
    "rillet_window": (
        *("kernel_height", "kernel_width", "stride_height", "stride_width", "top", "left"),
        *("dilation_height", "dilation_width", "height", "width", "slots", "pixel_bytes"),
    ),
    "rillet_channels": ("weights", "bias", "mantissa", "shift", "weight_zero", "zero", "low", "high"),
    "rillet_channels_wide": ("weights", "bias", "mantissa", "shift", "low", "high"),
    "rillet_channels_f32": ("weights", "bias", "low", "high"),
    "rillet_channels_f32_tiles": ("bias", "low", "high"),
    "rillet_channels_byte_tiles": (
        *("bias", "scale", "nudge", "by_integers", "mantissa", "left", "right", "shift"),
        *("is_signed", "careful", "as_bits", "single", "centre", "zero", "low", "high"),
    ),
    "rillet_low_bit": ("weights", "levels", "bias", "mantissa", "shift", "zero", "low", "high"),
    "rillet_low_bit_f32": ("weights", "levels", "bias", "low", "high"),
    "rillet_add": (
        *("left_zero", "left_mantissa", "left_shift", "right_zero", "right_mantissa", "right_shift"),
        *("mantissa", "shift", "zero", "low", "high"),
    ),
    "rillet_multiply": ("left_zero", "right_zero", "mantissa", "shift", "rounding", "zero", "low", "high"),
    "rillet_prelu": (
        *("left_zero", "right_zero", "mantissa", "shift", "slope_mantissa", "slope_shift", "zero", "low", "high"),
    ),
    "rillet_pairwise": (*("slope", "level", "along", "offset", "mantissa", "left", "right", "zero", "low", "high"),),
    "rillet_core_dense": (
        *("values", "weights", "channels", "count", "bytes", "out", "pixel_step", "channel_step", "low", "high"),
    ),
    "rillet_core_vectors": (
        *("values", "weights", "channels", "count", "depth", "out", "pixel_step", "channel_step", "low", "high"),
        "value_step",
    ),
    "rillet_core_lists": (
        *("values", "lists", "channels", "count", "value_step", "runs", "out", "pixel_step", "channel_step"),
        *("low", "high"),
    ),
    "rillet_core_sum": (
        *("left", "right", "out", "count", "left_zero", "left_mantissa", "left_shift"),
        *("right_zero", "right_mantissa", "right_shift", "mantissa", "shift", "zero", "low", "high"),
    ),
    "rillet_core_same": ("left", "right", "out", "count", "zero", "low", "high"),
    "rillet_core_taps": ("tap", "weights", "channels", "single", "taps", "count", "out", "low", "high"),
    "rillet_lists": ("places", "outputs", "count", "depth"),
    "rillet_runs": ("parts", "rows", "row_step", "in_row", "step", "values"),
}
"""As the kernels' headers have them, in this order."""
_IN_A_LINE = 112


def record(kind: str, name: str, values: Iterable[object], static: bool = False) -> str:
    """The line or lines that define a constant of such a kind."""
    # Blanks within a field are kept: fields are what is wrapped.
    fields = [f".{field} = {value}," for field, value in zip(FIELDS[kind], values, strict=True)]
    inside = " ".join(field.replace(" ", "\0") for field in fields).removesuffix(",")
    head = f"  {'static ' if static else ''}const {kind} {name} = {{"
    if len(head) + len(inside) < _IN_A_LINE:
        return f"{head}{inside}}};".replace("\0", " ")
    lines = textwrap.wrap(inside, _IN_A_LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join([head, *(f"    {line}" for line in lines), "  };"]).replace("\0", " ")
