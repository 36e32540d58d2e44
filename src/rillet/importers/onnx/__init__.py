"""ONNX files to graphs: float32 networks, and int8 and uint8 ones as QDQ or as QLinear operators."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.images import default_image
from rillet.importers.naming import name_nodes
from rillet.importers.onnx import (
    curves,
    joined,
    moves,
    norms,
    notes,
    older,
    operators,
    patterns,
    qlinear,
    quantized,
    resizes,
    transposed,
    windows,
    wire,
)
from rillet.importers.onnx.builder import Builder, Known, Made
from rillet.importers.onnx.draft import Draft
from rillet.importers.onnx.file import MAX_FILE_BYTES, TYPE_NAMES, File, Operator, Value
from rillet.importers.onnx.folding import FOLDS
from rillet.importers.onnx.operators import Handler
from rillet.importers.onnx.views import Joined, View, of_input
from rillet.importers.supported import Rows, markdown, refuse_unknown
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Constant, Input
from rillet.ir.sharing import each_once
from rillet.ir.types import DType, Quant, TensorType
from rillet.system.reading import read_bytes

import onnx  # isort: skip

_READERS = (operators, curves, moves, norms, windows, resizes, transposed, qlinear, older)
HANDLERS: dict[str, Handler] = {kind: handler for reader in _READERS for kind, handler in reader.HANDLERS.items()}
NOTES = {kind: note for reader in _READERS for kind, note in reader.NOTES.items()}
_INPUT_TYPES: dict[int, DType] = {
    onnx.TensorProto.FLOAT: DType.F32,
    onnx.TensorProto.INT8: DType.I8,
    onnx.TensorProto.UINT8: DType.U8,
}
_MISFITS = (ValueError, TypeError, IndexError, OverflowError, MemoryError)
"""What NumPy raises where it computes with constants that do not fit each other."""
_TO_CHANNELS_FIRST = [0, 3, 1, 2]
_BEFORE_TURNING = ("Cast", "DequantizeLinear", "Identity", "Pad", "QuantizeLinear")
"""Operators that may stand between an input and the Transpose that says how it lies."""
_PLANES = (1, 3)
"""Channels that pictures have."""
_OF_CONSTANTS = ("nothing", "of constants and shapes alone")


@dataclass(frozen=True)
class Imported:
    """A graph, and how the file's inputs and outputs lie over those of the graph."""

    graph: Graph
    inputs: Mapping[str, View]
    """By the names in the file."""
    outputs: tuple[View | Joined, ...]
    """Those of the file; one that is joined is several of the graph, in their order."""
    tensors: Mapping[str, View | Joined]
    """Computed tensors of the file by their names there, one for each node that holds one, and how it lies there."""
    file: File

    @property
    def input(self) -> View:
        """The first of the inputs."""
        return self.inputs[self.file.inputs[0].name]


def load(path: Path, size: tuple[int, int] | None = None, until: str | None = None) -> Graph:
    """The graph in an .onnx file; raises GraphError for a broken file, Unsupported for what Rillet does not handle.

    `size`: height and width in pixels, for a file that leaves them open. `until`: tensors by name with `+` between, up
    to which the network is read, and which are its outputs.
    """
    return load_with_views(path, size, until).graph


def load_with_views(path: Path, size: tuple[int, int] | None = None, until: str | None = None) -> Imported:
    """As `load`, with the layout of the file's input and outputs, for comparison with another runtime."""

    def look(head: bytes, _: bytes, size: int) -> None:
        if not wire.begins(head, onnx.ModelProto.DESCRIPTOR):
            raise GraphError(f"{path}: must be an ONNX file, got other bytes")
        try:
            wire.check_beginning(head, size)
        except GraphError as error:
            raise GraphError(f"{path}: {error}") from None

    # Given away, so that it goes as soon as it is parsed.
    data = read_bytes(path, MAX_FILE_BYTES, "an ONNX file", look=look)
    return parse_with_views(data, str(path), path.parent, size, until)


def parse(data: bytes, name: str, folder: Path | None = None, size: tuple[int, int] | None = None) -> Graph:
    """As `load`, from bytes; `name` stands for the file in messages, external data are read from `folder` alone."""
    return parse_with_views(data, name, folder, size).graph


def parse_with_views(
    data: bytes,
    name: str,
    folder: Path | None = None,
    size: tuple[int, int] | None = None,
    until: str | None = None,
) -> Imported:
    """As `load_with_views`, from bytes."""
    try:
        file = File(data, name, folder, until)
        del data
        return _import(file, size)
    except RilletError as error:
        raise type(error)(f"{name}: {error}") from None


def supported_operators() -> list[str]:
    """Names of the operators that the importer reads."""
    return sorted({*HANDLERS, *FOLDS})


def operator_rows() -> Rows:
    """The supported operators, what each becomes, and its limits."""
    return [(name, *NOTES.get(name, _OF_CONSTANTS)) for name in supported_operators()]


def operator_table() -> str:
    """The supported operators as a Markdown table."""
    return markdown(operator_rows())


def _import(file: File, size: tuple[int, int] | None) -> Imported:
    builder = Builder(file)
    _refuse_unknown(file)
    if not file.inputs:
        raise Unsupported("must have one input or more, got 0")
    still = all(None not in value.dims[1:] for value in file.inputs)
    for place, value in enumerate(file.inputs):
        sized = None in value.dims[1:] or (place == 0 and still)
        _add_input(builder, value, size if sized else None)
    for op in file.operators:
        try:
            _add_operator(builder, op)
        except Unsupported as error:
            raise Unsupported(f"{op}: {error}{_offered(file, op, builder)}") from None
        except RilletError as error:
            raise type(error)(f"{op}: {error}") from None
        except _MISFITS as error:
            reason = str(error).partition("\n")[0]
            raise GraphError(f"{op}: inputs must fit each other ({reason})") from None
    outputs = _outputs(builder)
    builder.draft.set_outputs([view.node for found in outputs for view in found.pieces])
    graph, renamed = _finish(builder.draft, file)
    named = tuple(found.held(renamed) for found in outputs)
    return Imported(graph, _inputs(builder, renamed), named, _tensors(builder, renamed), file)


def _refuse_unknown(file: File) -> None:
    def known(kind: str) -> bool:
        return kind in HANDLERS or kind in FOLDS

    try:
        refuse_unknown(((str(op), op.kind) for op in file.operators), known, "nodes", "onnx")
    except Unsupported as error:
        first = next(op for op in file.operators if not known(op.kind))
        raise Unsupported(f"{error}{_offered(file, first)}") from None


def _offered(file: File, op: Operator, builder: Builder | None = None) -> str:
    """What may be read instead of a network with an operator that is refused; empty where it is the first one."""
    before = file.before(op)
    if builder is not None and not all(isinstance(builder.values.get(name), View | Joined) for name in before):
        return ""
    return f"; {Path(file.name).name}:until={'+'.join(before)} reads the network up to there" if before else ""


def _inputs(b: Builder, renamed: Mapping[str, str]) -> dict[str, View]:
    """How each input of the file lies over that of the graph."""
    views = {value.name: b.values[value.name] for value in b.file.inputs}
    return {name: replace(view, node=renamed[view.node]) for name, view in views.items() if isinstance(view, View)}


def _tensors(b: Builder, renamed: Mapping[str, str]) -> dict[str, View | Joined]:
    """The tensor that shows each node's value."""
    found: dict[str, View | Joined] = {}
    shown: set[str] = set()
    for name, value in b.values.items():
        if isinstance(value, Known) or any(view.expanded for view in value.pieces):
            continue
        value = value.held(renamed)
        nodes = {view.node for view in value.pieces} - {""}
        if not nodes <= shown:
            shown |= nodes
            found[name] = value
    return found


# -- the input and the operators -------------------------------------------------------------------------------------


def _add_input(b: Builder, value: Value, size: tuple[int, int] | None) -> None:
    where = f"input {value.name[:60]!r}"
    if value.name in b.values:
        raise GraphError(f"{where}: name must be that of one input, got two")
    dtype = _INPUT_TYPES.get(value.code)
    if dtype is None:
        got = TYPE_NAMES.get(value.code, str(value.code))
        raise Unsupported(f"{where}: type must be FLOAT, INT8 or UINT8, got {got}")
    readers = [op for op in b.file.operators if value.name in op.inputs]
    last = _is_channels_last(b.file, value, readers)
    dims = (1, *value.dims[1:]) if value.dims[:1] == (None,) else value.dims
    if size is not None:
        dims = _sized(where, dims, size, last)
    if any(d is None for d in dims):
        got = ", ".join("?" if d is None else str(d) for d in value.dims[:9])
        raise Unsupported(
            f"{where}: shape must be fixed but for the batch, got {got}; say it behind the name, as in "
            f"{Path(b.file.name).name}:input=224x224"
        )
    fixed = tuple(d for d in dims if d is not None)
    if min(fixed, default=1) < 0:
        raise GraphError(f"{where}: dimensions must not be negative, got {list(fixed[:9])}")
    if min(fixed, default=1) < 1:
        raise Unsupported(f"{where}: dimensions must be at least 1, got {list(fixed[:9])}")
    try:
        shape, view = of_input(value.name, fixed, last)
        quant = None if dtype is DType.F32 else _quant_of_input(b, value.name, readers)
        b.make(value.name, Input(), [], type=TensorType(shape, dtype, quant))
    except RilletError as error:
        raise type(error)(f"{where}: {error}") from None
    b.values[value.name] = view


def _sized(
    where: str, dims: tuple[int | None, ...], size: tuple[int, int], channels_last: bool
) -> tuple[int | None, ...]:
    """The dimensions with this height and width; raises GraphError where the file has others."""
    places = (1, 2) if channels_last else (2, 3)
    if len(dims) != 4:
        raise GraphError(f"{where}: must be a map to have a height and a width, got {len(dims)} dimensions")
    for place, length in zip(places, size, strict=True):
        if dims[place] not in (None, length):
            got = "x".join(map(str, size))
            raise GraphError(f"{where}: height and width must be those of the file, {list(dims)}, got {got}")
    return tuple(size[places.index(i)] if i in places else d for i, d in enumerate(dims))


def _is_channels_last(file: File, value: Value, readers: list[Operator]) -> bool:
    """True where what the file does with its input, but for its scale and a border, is turn it to 1xCxHxW."""
    for _ in range(8):
        if len(readers) == 1 and readers[0].kind in _BEFORE_TURNING and readers[0].outputs:
            made = readers[0].outputs[0]
            readers = [op for op in file.operators if made in op.inputs]
    orders = [op.integers("perm") for op in readers if op.kind == "Transpose"]
    if value.dims and len(value.dims) == 4 and value.dims[1] in _PLANES and value.dims[3] not in _PLANES:
        return False
    return bool(readers) and len(orders) == len(readers) and all(order == _TO_CHANNELS_FIRST for order in orders)


def _quant_of_input(b: Builder, name: str, readers: list[Operator]) -> Quant:
    """What the first quantised operator says of a quantised input; the integers themselves where there is none."""
    for op in readers:
        if op.kind in qlinear.HANDLERS:
            return b.quant(op, op.inputs.index(name) + 1)[1]
    return Quant(1.0, 0)


def _add_operator(b: Builder, op: Operator) -> None:
    if not op.outputs[0]:
        raise GraphError("first output is missing")
    op = older.renewed(b, op)
    results = _results(b, op)
    source = _source(b, op)
    for name, result in zip(op.outputs, results, strict=False):
        if name:
            b.values[name] = replace(result, source=source) if isinstance(result, Known) else result


def _source(b: Builder, op: Operator) -> str:
    """What of the file an operator's constant result follows from: what its first constant input does, or itself."""
    found = (b.values.get(name) for name in op.inputs)
    return next((known.source for known in found if isinstance(known, Known) and known.source), op.outputs[0])


def _results(b: Builder, op: Operator) -> list[Made]:
    inputs = [b.named(name) if name else None for name in op.inputs]
    known = [found for found in inputs if isinstance(found, Known)]
    if op.kind in FOLDS and len(known) == sum(name != "" for name in op.inputs):
        stored = operators.turned(op, inputs)
        if stored is not None:
            return [stored]
        arrays = FOLDS[op.kind](b.file, op, [found.array if isinstance(found, Known) else None for found in inputs])
        b.spend(sum(array.nbytes for array in arrays))
        return [Known(array) for array in arrays]
    if op.kind not in HANDLERS:
        raise Unsupported("inputs must be constants, or shapes, got computed ones")
    if op.kind != "Shape" and any(isinstance(found, Joined) for found in inputs):
        return joined.on_pieces(b, op, inputs, HANDLERS[op.kind])
    made = HANDLERS[op.kind](b, op)
    return made if isinstance(made, list) else [made]


def _outputs(b: Builder) -> list[View | Joined]:
    outputs: list[View | Joined] = []
    for name in b.file.outputs:
        found = b.values.get(name)
        if isinstance(found, Known) or name in b.file.tensors:
            raise Unsupported(f"output {name[:60]!r} must follow from the input, got a constant")
        if found is None:
            raise GraphError(f"output {name[:60]!r} must be computed by a node, got none that does")
        outputs.append(found)
    nodes = [view.node for found in outputs for view in found.pieces]
    if len(set(nodes)) < len(nodes):
        raise Unsupported("outputs must be different values, got one twice")
    return outputs


# -- the graph -------------------------------------------------------------------------------------------------------


def _finish(draft: Draft, file: File) -> tuple[Graph, Mapping[str, str]]:
    """The graph, and what it calls the draft's nodes."""
    draft.drop_unread()
    patterns.join(draft)
    patterns.fold_pads(draft)
    resizes.join(draft)
    quantized.join(draft)
    if quantized.sink(draft):
        quantized.join(draft)
    patterns.fold_pads(draft)
    if notes.present(file):
        patterns.fuse(draft)
    draft.drop_unread()
    nodes = sorted(draft.nodes.values(), key=_place)
    if notes.present(file):
        named, renamed = notes.named(file, nodes), {node.name: node.name for node in nodes}
        name = notes.name(file)
    else:
        named, renamed = name_nodes(tuple(nodes))
        name = Path(file.name).stem
    arrays = {f"{renamed[node]}.{key}": a for node, own in draft.arrays().items() for key, a in own.items()}
    made_of: dict[str, Hashable] = {
        key: (key.rpartition(".")[2], origin) for key, array in arrays.items() if (origin := draft.origin(array))
    }
    params, shared = each_once(arrays, made_of)
    graph = Graph(name, named, tuple(renamed[name] for name in draft.outputs), params, None, shared)
    labels = notes.labels(file, [graph.by_name[name] for name in graph.outputs])
    return graph.with_image(notes.image(file, default_image(graph.nodes[0].type, labels))), renamed


def _place(node: Node) -> int:
    """A graph begins with its input, then come the constants."""
    return 0 if isinstance(node.op, Input) else 1 if isinstance(node.op, Constant) else 2
