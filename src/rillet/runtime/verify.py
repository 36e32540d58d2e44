"""The proof: the emitted program, the reference and an independent oracle give the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rillet.backends import reference
from rillet.errors import Unsupported
from rillet.ir.graph import Array, Graph
from rillet.plan.plan import Plan
from rillet.runtime.oracles import LiteRt, Tflm, require
from rillet.runtime.run import Program

if TYPE_CHECKING:
    from rillet.importers.tflite import Imported

REAL_TOLERANCE = 1e-5
"""Real numbers agree where they differ by at most this share of their map's greatest: sums may be reordered."""


@dataclass(frozen=True)
class Difference:
    """The first place where two backends disagree."""

    input: int
    node: str
    row: int
    column: int
    channel: int
    expected: float
    got: float
    backend: str

    def __str__(self) -> str:
        place = f"row {self.row}, column {self.column}, channel {self.channel}"
        return f"{self.node}, {place}: reference {self.expected:g}, {self.backend} {self.got:g} (input {self.input})"


@dataclass(frozen=True)
class Verification:
    """What was compared, and the first difference if there is one."""

    equal: bool
    inputs: int
    values: int
    """Output and intermediate values compared, all inputs together."""
    against: tuple[str, ...]
    first_difference: Difference | None


def random_inputs(graph: Graph, count: int, seed: int = 0) -> Iterator[Array]:
    """Seeded inputs, every stored value or pixel equally likely; real inputs without a contract lie in -1 to 1."""
    node, spec = graph.input_nodes[0], graph.image
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        if node.type.quant is not None:
            low, high = node.type.dtype.integers
            yield rng.integers(low, high + 1, node.shape.array).astype(node.type.dtype.numpy)
        elif spec is not None:
            pixels = rng.integers(0, 256, node.shape.array)
            yield ((pixels - np.array(spec.mean)) / np.array(spec.deviation)).astype(np.float32)
        else:
            yield rng.uniform(-1, 1, node.shape.array).astype(np.float32)


def verify(
    plan: Plan,
    inputs: int,
    *,
    path: Path | None = None,
    imported: "Imported | None" = None,
    against: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Compares reference, C (whole and pushed row by row) and an oracle on `inputs` seeded inputs.

    Outputs are compared first; only where they differ is the program built again to show every value.
    Raises Unsupported where the oracle is not installed.
    """
    if against:
        require(against)
    oracle = _oracle(against, path, imported)
    program = Program(plan)
    graph, values = plan.graph, 0
    names = ("c", against) if against else ("c",)
    for i, image in enumerate(random_inputs(graph, inputs)):
        expected = reference.run(graph, image)
        outputs = {name: expected[name] for name in dict.fromkeys(graph.outputs)}
        for run in (program.run, program.push):
            got = dict(zip(outputs, run(image), strict=True))
            difference = first_difference(graph, outputs, got, i, "c")
            if difference:
                return Verification(False, i + 1, values, names, _bisect(plan, image, expected, i) or difference)
            values += sum(a.size for a in outputs.values())
        if oracle:
            seen = oracle(image)
            difference = first_difference(graph, expected, seen, i, str(against))
            if difference:
                return Verification(False, i + 1, values, names, difference)
            values += sum(array.size for array in seen.values())
        progress(i + 1)
    return Verification(True, inputs, values, names, None)


def first_difference(
    graph: Graph, expected: dict[str, Array], got: dict[str, Array], index: int, backend: str
) -> Difference | None:
    """The first node, in the graph's order, and the first place in it where two runs disagree."""
    for node in graph.nodes:
        if node.name not in expected or node.name not in got:
            continue
        want = expected[node.name].astype(np.float64)
        have = got[node.name].astype(np.float64).reshape(want.shape)
        if node.type.quant is None:
            # Written so that a NaN is a difference.
            wrong = np.argwhere(~(np.abs(want - have) <= REAL_TOLERANCE * np.abs(want).max()))
        else:
            wrong = np.argwhere(want != have)
        if len(wrong):
            row, column, channel = (int(n) for n in wrong[0])
            place = (row, column, channel)
            return Difference(index, node.name, *place, float(want[place]), float(have[place]), backend)
    return None


def _bisect(plan: Plan, image: Array, expected: dict[str, Array], index: int) -> Difference | None:
    return first_difference(plan.graph, expected, Program(plan, trace=True).trace(image), index, "c")


def _oracle(
    name: str | None, path: Path | None, imported: "Imported | None"
) -> Callable[[Array], dict[str, Array]] | None:
    if name is None:
        return None
    if path is None or imported is None:
        raise Unsupported("an oracle must be given a file as it is, not a network made or changed")
    if name == "tflm":
        micro = Tflm(path)
        return lambda image: {imported.graph.outputs[0]: micro.run(image)}
    litert = LiteRt(path, imported.input_order)

    def run(image: Array) -> dict[str, Array]:
        litert.run(image)
        # The input was handed over, and may lie there in another order of dimensions.
        compared = {n: i for n, i in imported.tensors.items() if n != imported.graph.input_nodes[0].name}
        return {node: litert.tensor(index) for node, index in compared.items()}

    return run
