"""A published network's card: where it comes from, how it was trained, what it gets right and what it costs."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rillet.analyses.count import count
from rillet.analyses.memory import precision
from rillet.costs.fit import Fit, fit_all
from rillet.ir.graph import Graph
from rillet.models.hub import Published
from rillet.report import fit
from rillet.report.progress import Advance
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.system.record import Record
from rillet.targets import boards


@dataclass(frozen=True, slots=True, repr=False)
class Costed:
    """What a network costs, computed from its file."""

    network: str
    """Name and shapes."""
    precision: str
    macs: int
    params: int
    weight_bytes: int
    boards: tuple[Fit, ...]
    """RAM, flash and milliseconds on every board that Rillet knows."""


@dataclass(frozen=True, slots=True, repr=False)
class Card(Record):
    """A published network: its entry, and what is computed from its file."""

    published: Published
    path: Path | None
    """Where its file lies here; None where it must be downloaded."""
    costed: Costed | None = field(default=None)
    """None where the file is not here."""

    def __repr__(self) -> str:
        return f"<Card hub:{self.published.name}: {self.published.about}>"


def card(entry: Published, path: Path | None, graph: Graph | None, progress: Advance) -> Card:
    """The card of an entry, with what `graph`, the network of its file, costs; None where it is not here."""
    if graph is None:
        return Card(entry, path)
    found = count(graph)
    every = [boards.load(name) for name in boards.names()]
    rows = fit_all(graph, every, progress=progress)
    shapes = f"{graph.name}: {graph.input_nodes[0].shape} to {graph.by_name[graph.outputs[0]].shape}"
    return Card(entry, path, Costed(shapes, precision(graph), found.macs, found.params, found.weight_bytes, rows))


def record(made: Card) -> dict[str, Any]:
    """The card as JSON has it."""
    entry = {key: value for key, value in asdict(made.published).items() if value not in (None, ())}
    path = None if made.path is None else str(made.path)
    return {**entry, "path": path, "costed": None if made.costed is None else asdict(made.costed)}


def tables(made: Card) -> tuple[Table, ...]:
    """Its entry, then what it costs on each board."""
    entry, costed = made.published, made.costed
    pairs = [
        ("what", entry.about),
        ("trained on", entry.trained_on or "see its page"),
        *(("by" if i == 0 else "", line) for i, line in enumerate(entry.trained_by)),
        ("accuracy", entry.accuracy or "not measured here"),
        *([("measured by", entry.measured_by)] if entry.measured_by else []),
        ("licence", entry.licence),
        ("page", entry.url),
        ("file", f"{entry.size_bytes:,} bytes, " + ("not here; downloaded when used" if made.path is None else "here")),
    ]
    if costed is not None:
        pairs += [
            ("network", f"{costed.network}, {costed.precision}"),
            ("MACs", f"{costed.macs:,}"),
            ("parameters", f"{costed.params:,} in {costed.weight_bytes:,} bytes"),
        ]
    names = ("card", f"hub:{entry.name}")
    said = Table(columns(names, words=names, wrap=names[1:]), tuple(pairs))
    return (said,) if costed is None else (said, fit.boards(costed.boards))
