"""Networks side by side: what each computes, weighs and holds, and what a source says of its accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rillet.analyses.count import count
from rillet.analyses.memory import stored_as
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.ir.graph import Graph
from rillet.plan.rows.planner import plan_rows
from rillet.system.record import Record
from rillet.transforms.fold import fold, without_weights
from rillet.transforms.resize import with_resolution
from rillet.zoo import published
from rillet.zoo.weights import with_seeded_weights

PROBE_PIXELS = 64
"""Side of the image on which two networks with the same weights are compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One network."""

    name: str
    macs: int
    params: int
    weight_bytes: int
    layerwise_bytes: int
    """Activations alive at once, layer by layer."""
    streamed_bytes: int | None
    """Arena of the row plan, rows pushed in; None where the network has no such plan."""
    streamed_why: str
    """Why there is none."""
    top1_percent: float | None
    top1_data: str
    top1_source: str
    function: str
    """Beside the first network: `same` or `other` for the same seeded weights, or `other weights` where they differ."""


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Record):
    """Networks side by side, ratios to the first."""

    bits: int
    networks: tuple[Compared, ...]

    def __repr__(self) -> str:
        return f"<Comparison at {self.bits} bits: {', '.join(one.name for one in self.networks)}>"


def _silent(done: int, total: int) -> None:
    """Reports no progress."""


def compare(
    graphs: Sequence[Graph], bits: int = 8, progress: Callable[[int, int], None] = _silent
) -> tuple[Compared, ...]:
    """A row for each of `graphs`; bytes for weights and activations of `bits` (8 or 32).

    Raises GraphError for other bits, and for fewer than two networks.
    """
    if len(graphs) < 2:
        raise GraphError(f"compare must be given two networks or more, got {len(graphs)}")
    if bits not in (8, 32):
        raise GraphError(f"--bits must be 8 or 32, got {bits!r}")
    rows: list[Compared] = []
    for graph in graphs:
        rows.append(_row(graph, graphs[0], bits))
        progress(len(rows), len(graphs))
    return tuple(rows)


def _row(graph: Graph, first: Graph, bits: int) -> Compared:
    counted = count(graph, bits=bits)
    accuracy = published.accuracy(graph.name)
    streamed, why = None, ""
    try:
        streamed = plan_rows(stored_as(fold(without_weights(graph)), bits)).arena_bytes
    except Unsupported as error:
        why = str(error)
    return Compared(
        name=graph.name,
        macs=counted.macs,
        params=counted.params,
        weight_bytes=counted.weight_bytes,
        layerwise_bytes=counted.peak_activation_bytes,
        streamed_bytes=streamed,
        streamed_why=why,
        top1_percent=accuracy.top1_percent if accuracy else None,
        top1_data=accuracy.data if accuracy else "",
        top1_source=accuracy.source if accuracy else "",
        function="" if graph is first else _function(graph, first),
    )


def _function(graph: Graph, first: Graph) -> str:
    """Runs both on one random image with one set of random weights, at a small size."""
    if _weights(graph) != _weights(first) or graph.input_nodes[0].shape != first.input_nodes[0].shape:
        return "other weights"
    try:
        small = [_small(without_weights(g)) for g in (first, graph)]
        image = np.random.default_rng(0).normal(0, 1, small[0].input_nodes[0].shape.array).astype(np.float32)
        one, other = (reference.outputs(with_seeded_weights(g), image)[0] for g in small)
    except (Unsupported, GraphError):
        return "not run"
    return "same" if one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=1e-6) else "other"


def _weights(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {f"{node.name}.{p.name}": p.shape for node in graph.nodes for p in graph.node_params(node)}


def _small(graph: Graph) -> Graph:
    shape = graph.input_nodes[0].shape
    side = min(PROBE_PIXELS, shape.height, shape.width)
    return with_resolution(graph, side, side)
