"""Import of PyTorch's resizes: nearest neighbours and linear ones."""

from collections.abc import Callable

from rillet.errors import Unsupported
from rillet.importers.torch.builder import Builder, Call, Result
from rillet.ir import linear
from rillet.ir.nearest import of_torch
from rillet.ir.ops import Interpolate, Resize


def _factors(call: Call) -> tuple[float | None, float | None]:
    down, across = call.get("scale_factors") or (call.get("scales_h"), call.get("scales_w"))
    return down, across


def _nearest(exact: bool) -> Callable[[Builder, Call], Result]:
    def handle(b: Builder, call: Call) -> Result:
        source = b.map(call, "input" if "input" in call.arguments else "self")
        shape, (_, _, height, width) = b.shape(source), call.sizes
        down, across = _factors(call)
        try:
            rows = of_torch(shape.height, height, down, exact)
            columns = of_torch(shape.width, width, across, exact)
        except Unsupported as error:
            raise b.refuse(call, str(error)) from None
        return b.add(call, Resize(tuple(rows), tuple(columns)), [source.draft])

    return handle


def _bilinear(b: Builder, call: Call) -> Result:
    source = b.map(call, "input" if "input" in call.arguments else "self")
    shape, (_, _, height, width) = b.shape(source), call.sizes
    down, across = _factors(call)
    corners = bool(call["align_corners"])
    try:
        rows, row_shares = linear.of_torch(shape.height, height, down, corners)
        columns, column_shares = linear.of_torch(shape.width, width, across, corners)
    except Unsupported as error:
        raise b.refuse(call, str(error)) from None
    return b.add(call, Interpolate(rows, columns, row_shares, column_shares), [source.draft])


HANDLERS: dict[str, Callable[[Builder, Call], Result]] = {
    "upsample_bilinear2d": _bilinear,
    "upsample_nearest2d": _nearest(False),
    "_upsample_nearest_exact2d": _nearest(True),
}
NOTES: dict[str, tuple[str, str]] = {
    "upsample_bilinear2d": ("interpolate", "without antialias"),
    "upsample_nearest2d": ("resize", ""),
    "_upsample_nearest_exact2d": ("resize", ""),
}
"""What each operator becomes in a graph, and its limits."""
