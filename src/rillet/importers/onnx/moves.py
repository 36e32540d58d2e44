"""Import of ONNX operators that are made of two values, or put channels and pixels elsewhere."""

from collections.abc import Callable

from rillet.errors import GraphError, Unsupported
from rillet.importers.onnx import operators
from rillet.importers.onnx.builder import Builder, Result
from rillet.importers.onnx.file import Operator
from rillet.importers.onnx.views import View, of_map
from rillet.ir.functions import Curve
from rillet.ir.ops import Apply, DepthToSpace, Pair, PairKind, Select, SpaceToDepth

_BLOCKS = 16
"""Greatest side of a square of pixels."""


def _of_two(kind: PairKind) -> Callable[[Builder, Operator], View]:
    made = operators.arithmetic(Pair(kind), commutes=True)

    def handle(b: Builder, op: Operator) -> View:
        if len(op.inputs) == 1:
            return b.view(op)
        if len(op.inputs) != 2:
            raise Unsupported(f"must have two operands, got {len(op.inputs)}")
        found = made(b, op)
        assert isinstance(found, View)
        return found

    return handle


def _prelu(b: Builder, op: Operator) -> View:
    source, slope = b.real(op), b.known(op, 1)
    if slope.array.size == 1 and source.shape.channels > 1:
        made = Apply(Curve.LEAKY_RELU, float(slope.array.reshape(-1)[0]))
        return source.on(b.make(op.outputs[0], made, [b.node(source)]))
    slopes = b.constant(op.inputs[1], source, slope)
    return source.on(b.make(op.outputs[0], Pair(PairKind.PRELU), [b.node(source), slopes]))


def _block(op: Operator) -> int:
    block = op.integer("blocksize", 0)
    if not 1 <= block <= _BLOCKS:
        raise Unsupported(f"blocksize must be 1 to {_BLOCKS}, got {block}")
    return block


def _mode(op: Operator) -> str:
    """Whether the place within a square is the slowest of a pixel's channels, or the fastest."""
    mode = op.word("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise GraphError(f"mode must be DCR or CRD, got {mode[:20]!r}")
    return mode


def _depth_to_space(b: Builder, op: Operator) -> View:
    source, block, mode = b.view(op).need_map(), _block(op), _mode(op)
    node, channels = b.node(source), source.shape.channels
    if channels % block**2:
        raise GraphError(f"channels must be a multiple of {block}x{block}, got {channels}")
    if mode == "CRD":
        each = block**2
        order = [c * each + place for place in range(each) for c in range(channels // each)]
        node = b.make(f"{op.outputs[0]}/ordered", Select(tuple(order)), [node])
    return of_map(b.make(op.outputs[0], DepthToSpace(block, source.shape.height, source.shape.width), [node]))


def _space_to_depth(b: Builder, op: Operator) -> View:
    source, block = b.view(op).need_map(), _block(op)
    if _mode(op) == "DCR" or source.shape.channels == 1:
        return of_map(b.make(op.outputs[0], SpaceToDepth(block), [b.node(source)]))
    node = b.make(f"{op.outputs[0]}/ordered", SpaceToDepth(block), [b.node(source)])
    order = (place * source.shape.channels + c for c in range(source.shape.channels) for place in range(block**2))
    return of_map(b.make(op.outputs[0], Select(tuple(order)), [node]))


HANDLERS: dict[str, Callable[[Builder, Operator], Result | list[Result]]] = {
    "DepthToSpace": _depth_to_space,
    "Max": _of_two(PairKind.MAXIMUM),
    "Min": _of_two(PairKind.MINIMUM),
    "PRelu": _prelu,
    "SpaceToDepth": _space_to_depth,
}
NOTES: dict[str, tuple[str, str]] = {
    "DepthToSpace": ("depthtospace", "DCR, or CRD behind a select"),
    "Max": ("pair", "of two, as Add"),
    "Min": ("pair", "of two, as Add"),
    "PRelu": ("pair, or apply", "constant slopes, one a channel or one for all"),
    "SpaceToDepth": ("spacetodepth", "DCR, or CRD before a select"),
}
"""What each operator becomes in a graph, and its limits."""
