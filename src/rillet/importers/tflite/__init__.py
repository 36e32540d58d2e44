"""TFLite files to graphs: int8, uint8 and float32 networks."""

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers.images import default_image
from rillet.importers.supported import Rows, markdown, refuse_unknown
from rillet.importers.tflite import curves, detection, dilated, layout, moves, operators, parts, transposed
from rillet.importers.tflite.builder import Builder
from rillet.importers.tflite.file import OP_NAMES, File, Operator
from rillet.ir.graph import Graph
from rillet.system.reading import read_bytes

MAX_FILE_BYTES = 2**28
_HEAD_BYTES = 16
HANDLERS = (
    operators.HANDLERS | curves.HANDLERS | moves.HANDLERS | layout.HANDLERS | transposed.HANDLERS | dilated.HANDLERS
)
CUSTOMS = transposed.CUSTOMS
"""Readers of custom operators, by the names that messages have for them."""
NOTES = operators.NOTES | curves.NOTES | moves.NOTES | layout.NOTES | transposed.NOTES | dilated.NOTES | detection.NOTES


@dataclass(frozen=True)
class Imported:
    """A graph, and for each of its nodes the index of the file's tensor that holds its values."""

    graph: Graph
    tensors: dict[str, int]
    starts: dict[str, int]
    """Which of the tensor's values is the node's first, of nodes that do not begin with it."""
    orders: Mapping[str, tuple[int, ...]]
    """Axis of 1xHxWxC that each dimension of the file's tensor of an input is: others where the file has 1xCxHxW."""
    hybrid: int = 0
    """Operators of float32 values with weights of int8: other runtimes round the values of these as they go."""

    @property
    def input_order(self) -> tuple[int, ...]:
        """That of the first input."""
        return self.orders[self.graph.input_nodes[0].name]


def load(path: Path, size: tuple[int, int] | None = None, until: str | None = None) -> Graph:
    """The graph in a .tflite file; raises GraphError for a broken file, Unsupported for what Rillet does not handle.

    `size`: height and width in pixels, for a file that leaves them open. `until`: tensors, by number or name with `+`
    between, that become the outputs; what follows them is not read.
    """
    return load_with_tensors(path, size, until).graph


def load_with_tensors(path: Path, size: tuple[int, int] | None = None, until: str | None = None) -> Imported:
    """As `load`, with the file's tensor index of every node, for comparison with another runtime."""
    name = str(path)
    data = read_bytes(path, MAX_FILE_BYTES, "a TFLite file", look=lambda head, _, length: _look(head, length, name))
    return parse(data, name, size, until)


def _look(head: bytes, size: int, name: str) -> None:
    """Raises GraphError where a file of `size` bytes that begins so can be no TFLite file."""
    if size < _HEAD_BYTES or head[4:8] != b"TFL3":
        raise GraphError(f"{name}: must be a TFLite file ('TFL3' at byte 4), got {size} other bytes")
    root = int.from_bytes(head[:4], "little")
    if not 8 <= root <= size - 4:
        raise GraphError(f"{name}: root table must lie within the file of {size} bytes, got byte {root}")


def parse(data: bytes, name: str, size: tuple[int, int] | None = None, until: str | None = None) -> Imported:
    """As `load_with_tensors`, from bytes; `name` stands for the file in messages."""
    _look(data[:_HEAD_BYTES], len(data), name)
    try:
        return _import(File(data, name), size, until)
    except RilletError:
        raise
    except (
        struct.error,
        IndexError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        # The schema classes read wherever an offset points; a broken offset shows as any of these.
        reason = str(error).partition("\n")[0]
        raise GraphError(f"{name}: must be a well-formed TFLite file, got a broken one ({reason})") from None


def supported_operators() -> list[str]:
    """Names of the operators that the importer reads."""
    return [*sorted(OP_NAMES[code] for code in HANDLERS), *CUSTOMS, detection.CUSTOM]


def operator_rows() -> Rows:
    """The supported operators, what each becomes, and its limits."""
    return [(name, *NOTES[name]) for name in supported_operators()]


def operator_table() -> str:
    """The supported operators as a Markdown table."""
    return markdown(operator_rows())


def _import(file: File, size: tuple[int, int] | None, until: str | None) -> Imported:
    builder = Builder(file)
    if not file.inputs:
        raise Unsupported(f"{file.name}: must have one input or more, got 0")
    read = list(file.operators())
    decoding = None
    if until is None:
        read, decoding = detection.taken_off(file, read)
    else:
        file.outputs = parts.chosen(file, until)
        read = parts.needed(read, file.outputs)
    _refuse_unknown(file, read)
    parts.size_input(file, size)
    for index in file.inputs:
        builder.add_input(index)
    for op in dilated.joined(builder, read):
        (CUSTOMS.get(op.name) or HANDLERS[op.code])(builder, op)
    graph, tensors, starts = builder.finish(Path(file.name).stem)
    classes = decoding.classes if decoding else graph.by_name[graph.outputs[0]].shape.elements
    image = default_image(graph.input_nodes[0].type, labels_in_file(file.data, classes))
    if image is not None:
        image = replace(image, decoding=decoding)
    orders = {node.name: builder.order.get(tensors[node.name], (0, 1, 2, 3)) for node in graph.input_nodes}
    return Imported(graph.with_image(image), tensors, starts, orders, builder.hybrid)


def _refuse_unknown(file: File, read: list[Operator]) -> None:
    known = {op.name for op in read if op.name in CUSTOMS or (not op.name.startswith("CUSTOM") and op.code in HANDLERS)}
    try:
        refuse_unknown(((str(op), op.name) for op in read), known.__contains__, "operators", "tflite")
    except Unsupported as error:
        first = next(op for op in read if op.name not in known)
        raise Unsupported(f"{file.name}: {error}{parts.offer(file, read, first)}") from None


def labels_in_file(data: bytes, classes: int) -> tuple[str, ...]:
    """The label file that TFLite metadata packs behind the model, if it has a line for each class."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            for info in packed.infolist()[:16]:
                if info.filename.endswith(".txt") and info.file_size < 2**20:
                    lines = packed.read(info).decode("utf-8", "replace").splitlines()
                    if len(lines) == classes:
                        return tuple(lines)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, MemoryError):
        pass  # No zip behind the model, or a broken one: the network works without labels.
    return ()
