"""Which part of a .tflite file is read, and at what size: `until` some tensors, and a height and width left open."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite.file import File, Operator, Tensor


def chosen(file: File, until: str) -> tuple[int, ...]:
    """The tensors that `until` names, by number or name with `+` between; raises GraphError where there is none."""
    names = {tensor.name: tensor.index for tensor in reversed(file.tensors)}
    found: list[int] = []
    for word in [until] if until in names else until.split("+"):
        index = int(word) if word.isdecimal() and len(word) < 10 else names.get(word, -1)
        if not 0 <= index < len(file.tensors):
            last = len(file.tensors) - 1
            raise GraphError(f"{file.name}: until must be tensors, by number (0 to {last}) or name, got {word[:60]!r}")
        found.append(index)
    return tuple(found)


def needed(operators: Sequence[Operator], outputs: Sequence[int]) -> list[Operator]:
    """The operators that the outputs follow from, in order."""
    wanted, found = set(outputs), list[Operator]()
    for op in reversed(operators):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            found.append(op)
    return found[::-1]


def offer(file: File, operators: Sequence[Operator], op: Operator) -> str:
    """What a message says of the network before an operator that cannot be read; nothing where there is none."""
    made = set(file.inputs)
    for earlier in operators[: operators.index(op)]:
        if made.intersection(earlier.inputs):
            made.update(earlier.outputs)
    before = [i for i in op.inputs if i in made - set(file.inputs)]
    if not before:
        return ""
    name, numbers = Path(file.name).name, "+".join(map(str, before))
    return f"; {name}:until={numbers} reads the network up to {file.tensors[before[0]]}"


def size_input(file: File, size: tuple[int, int] | None) -> None:
    """Gives the inputs the height and width that a user says, where the file leaves them open.

    Raises GraphError for others than the file has, Unsupported where it leaves them open and none are given.
    """
    still = not any(file.tensors[index].open for index in file.inputs)
    for place, index in enumerate(file.inputs):
        if file.tensors[index].open or (place == 0 and still):
            _size(file, file.tensors[index], size)


def _size(file: File, tensor: Tensor, size: tuple[int, int] | None) -> None:
    if not tensor.open:
        if size is not None and (1, *size) != tensor.dims[:3]:
            wanted, got = list(tensor.dims), "x".join(map(str, size))
            raise GraphError(f"{file.name}: {tensor}: height and width must be those of the file, {wanted}, got {got}")
        return
    raw = file.subgraph.Tensors(tensor.index)
    signature = [int(raw.ShapeSignature(i)) for i in range(len(tensor.dims))]
    if size is None or len(signature) != 4 or signature[3] < 0:
        asks = "say it behind the name, as in " if len(signature) == 4 and signature[3] > 0 else "such as "
        raise Unsupported(
            f"{file.name}: {tensor}: shape must be fixed, got {signature}; {asks}{Path(file.name).name}:input=224x224"
        )
    for length, got in zip(signature[1:3], size, strict=True):
        if length not in (-1, got):
            raise GraphError(
                f"{file.name}: {tensor}: height and width must be those of the file, {signature}, got {got}"
            )
    file.tensors[tensor.index] = replace(tensor, dims=(1, *size, tensor.dims[3]), open=False)
