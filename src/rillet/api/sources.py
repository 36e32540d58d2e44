"""The tables of the sources, published numbers beside computed ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rillet.analyses.sources import tables as computed
from rillet.analyses.sources.chips import on_chips
from rillet.analyses.sources.impossible import impossible
from rillet.analyses.sources.microjoule import BUDGET_UJ, CHIPS, source_003
from rillet.analyses.sources.narrow import narrow
from rillet.analyses.sources.recompute import granularities
from rillet.analyses.sources.speedups import speedups
from rillet.api.networks import load
from rillet.errors import GraphError
from rillet.report import energy, systolic, tables
from rillet.report.sources import impossible as goal
from rillet.report.tables import Table
from rillet.simulation.sweep import hardware_rates, rates
from rillet.system.options import Uses
from rillet.targets.technology import load as load_technology

USES = Uses(
    {
        "table alpha": (),
        "table fuseconv": ("--speedup",),
        "table fuseconv --speedup": ("--speedup", "--array"),
        "table impossible": ("MODEL",),
        "table recompute": ("MODEL",),
        "table narrow": ("MODEL",),
        "table rates": ("MODEL",),
        "table hardware": ("MODEL",),
        "table chips": ("MODEL",),
        "table microjoule": ("MODEL", "--node"),
    }
)
"""The tables, and the options of each."""
TABLES = tuple(dict.fromkeys(mode.split()[1] for mode in USES.modes))
_UNROLLED = "mobilenet_v2:top=false"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of the sources, as numbers and as people read it."""

    record: Mapping[str, Any]
    drawn: Table


def source_table(
    name: str, model: str | None = None, *, speedup: bool = False, array: int | None = None, node: str | None = None
) -> SourceTable:
    """The table called `name`, one of TABLES; raises GraphError for another, and for what it has no use for.

    model: for the tables from `impossible` on. speedup: of `fuseconv`, on an array of `array` rows and columns. node:
    of `microjoule`, the process technology.
    """
    if name not in TABLES:
        raise GraphError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
    mode = f"table {name}{' --speedup' if speedup and name == 'fuseconv' else ''}"
    USES.check(mode, {"MODEL": model, "--speedup": speedup, "--array": array, "--node": node})
    if name == "microjoule":
        return _microjoule(model, node or "45nm")
    return _speedups(array or 64) if speedup else _table(name, model or _UNROLLED)


def _speedups(array: int) -> SourceTable:
    rows = speedups(load, array)
    return SourceTable({"array": array, "rows": [asdict(row) for row in rows]}, systolic.speedups(rows))


def _microjoule(model: str | None, node: str) -> SourceTable:
    technology, model = load_technology(node), model or energy.SOURCE_003
    rows = source_003(load(model), technology)
    record = {
        "model": model,
        "node": technology.name,
        "budget_uj": BUDGET_UJ,
        "rows": [asdict(row) for row in rows],
        "chips": [asdict(chip) for chip in CHIPS],
    }
    return SourceTable(record, energy.source_003(rows, technology, model))


def _table(name: str, model: str) -> SourceTable:
    match name:
        case "alpha":
            rows = computed.alpha(load)
            drawn = tables.alpha(rows)
        case "fuseconv":
            rows = computed.fuseconv(load)
            drawn = tables.fuseconv(rows)
        case "impossible":
            found = impossible(load(model))
            return SourceTable(asdict(found), goal.impossible_table(found))
        case "recompute":
            rows = granularities(load(model))
            drawn = goal.recompute_table(rows)
        case "narrow":
            found = narrow(load(model))
            return SourceTable(asdict(found), goal.narrow_table(found))
        case "rates":
            graph = load(model)
            rows = rates(graph)
            drawn = goal.rates_table(graph.name, rows)
        case "hardware":
            graph = load(model)
            rows = hardware_rates(graph)
            drawn = goal.hardware_table(graph.name, rows)
        case _:
            graph = load(model)
            rows = on_chips(graph)
            drawn = goal.chips_table(graph.name, rows)
    return SourceTable({"rows": [asdict(row) for row in rows]}, drawn)
