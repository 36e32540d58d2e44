"""The cost table of a network over targets, with the convention of every column, and as a page with charts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rillet.costs.machines import Cost, MachineKind, energy_on, on_array
from rillet.costs.roofline import roofline as under_roof
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.report import page as pages
from rillet.report import roofline, spending
from rillet.report.page import Section
from rillet.report.picture.words import engineering
from rillet.report.screen import Column, columns
from rillet.report.tables import Table
from rillet.targets.arrays import ArrayMachine
from rillet.targets.catalogue import Machine
from rillet.targets.technology import Technology

_LEAVE = (
    "machine",
    "needed",
    "parameters",
    "MACs",
    "low-high",
    "peak",
    "type",
    "used",
    "ms",
    "cycles",
    "buffers",
    "uJ",
)
"""The columns that a narrow screen does without, the first to go first."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A column: its heading, what it says of a cost for people and exactly, and its convention."""

    name: str
    shown: Callable[[Cost], str]
    exact: Callable[[Cost], str]
    convention: str
    narrow: bool = True
    """True where the narrow table has it as well."""
    words: bool = False


def _fields(technology: Technology) -> tuple[_Field, ...]:
    return (
        _Field("target", lambda c: c.target, lambda c: c.target, "", words=True),
        _Field("machine", lambda c: c.machine, lambda c: c.machine, "", narrow=False, words=True),
        _Field(
            "type",
            lambda c: c.precision,
            lambda c: c.precision,
            "of values and weights in this row: on a board the network's own unless bits are given; arrays and chips "
            "have integers alone",
            words=True,
        ),
        _Field(
            "MACs",
            lambda c: engineering(c.macs),
            lambda c: str(c.macs),
            "multiply-accumulates of convolutions and dense layers, for one image",
            narrow=False,
        ),
        _Field(
            "parameters",
            lambda c: engineering(c.params),
            lambda c: str(c.params),
            "all that is trained",
            narrow=False,
        ),
        _Field(
            "weights",
            lambda c: _bytes(c.weight_bytes),
            lambda c: str(c.weight_bytes),
            "bytes: as wide as the type says, biases 32 bits; on a board all of flash, with code",
        ),
        _Field(
            "buffers",
            lambda c: _bytes(c.activation_bytes),
            lambda c: _plain(c.activation_bytes),
            "bytes of activations: full tensors, layer by layer (array); rings of the pixel plan (chip); "
            "RAM under the plan with the least (board)",
        ),
        _Field(
            "fits",
            lambda c: "yes" if c.fits else "no",
            lambda c: "yes" if c.fits else "no",
            "an array always, from DRAM; a chip where weights and rings stay on it; a board where RAM and flash hold "
            "all, else the columns to the right are as if they did",
            words=True,
        ),
        _Field(
            "cycles",
            lambda c: "-" if c.cycles is None else engineering(c.cycles),
            lambda c: _plain(c.cycles),
            "an image: convention exact, with stalls for DRAM (array); from one image to the next (chip); "
            "instructions of the plan x cycles each (board)",
        ),
        _Field(
            "ms",
            lambda c: "-" if c.latency_s is None else _short(1e3 * c.latency_s),
            lambda c: _plain(None if c.latency_s is None else 1e3 * c.latency_s),
            "from the first pixel of an image to its result",
            narrow=False,
        ),
        _Field("images/s", lambda c: _short(c.images_per_s), lambda c: _plain(c.images_per_s), "clock over cycles"),
        _Field(
            "used",
            lambda c: "-" if c.utilisation is None else f"{c.utilisation:.1%}",
            lambda c: _plain(c.utilisation),
            "operations of the network over what peak does in the same time",
        ),
        _Field(
            "peak",
            lambda c: "-" if c.peak_ops_per_s is None else engineering(round(c.peak_ops_per_s)),
            lambda c: _plain(c.peak_ops_per_s),
            "operations a second, a MAC being two: every element or multiplier in every cycle; not known of a board",
        ),
        _Field(
            "needed",
            lambda c: engineering(round(c.needed_ops_per_s)),
            lambda c: _plain(c.needed_ops_per_s),
            "operations a second at the images a second that are asked for",
            narrow=False,
        ),
        _Field(
            "uJ",
            lambda c: _energy(c.uj),
            lambda c: _plain(c.uj),
            f"an image at {technology.name}, sums of 32 bits: traffic of the array; weights resident, rings "
            "and row tiles (chip, board); wires, clocks, leakage and instructions not counted",
        ),
        _Field(
            "low-high",
            _band,
            lambda c: f"{_plain(c.low_uj)} to {_plain(c.high_uj)}",
            "its band; for a board only a floor, as instructions are not counted",
        ),
    )


def heading(costs: Sequence[Cost]) -> str:
    """The network in one line: f(model)."""
    first = costs[0]
    rate = first.needed_ops_per_s / (2 * first.macs) if first.macs else 0
    return (
        f"{first.model}, {first.own_precision}: {first.macs:,} MACs, {first.params:,} parameters; "
        f"needs {engineering(round(first.needed_ops_per_s))}op/s for {rate:g} images a second"
    )


def machines(costs: Sequence[Cost], technology: Technology, *, wide: bool = False) -> Table:
    """A row for each machine; `wide` repeats what the network has by itself, and names the machines."""
    fields = [field for field in _fields(technology) if wide or field.narrow]
    rows = tuple(tuple(field.shown(cost) for field in fields) for cost in costs)
    return Table(_columns(fields), rows, (*conventions(technology, wide=wide), *precisions(costs), *why_not(costs)))


def exact(costs: Sequence[Cost], technology: Technology) -> Table:
    """All columns in full, for other programs."""
    fields = _fields(technology)
    return Table(_columns(fields), tuple(tuple(field.exact(cost) for field in fields) for cost in costs))


def page(graph: Graph, costs: Sequence[Cost], found: Sequence[Machine], technology: Technology) -> str:
    """The table, its conventions and the pictures of `draw --cost` as one HTML document.

    found: the machines of `costs`, in their order. Energy is drawn under the row plan, where there is one.
    """
    table = machines(costs, technology, wide=True)
    misses = [f"{cost.target}: {miss}" for cost in costs for miss in cost.misses]
    arrays = [machine for machine in found if isinstance(machine, ArrayMachine)]
    roofs = [
        roofline.svg(graph, under_roof(graph, machine))
        for cost, machine in zip(costs, found, strict=True)
        if cost.cycles is not None and cost.macs
    ]
    sections = [
        Section("Machines", table),
        Section("What the columns say", items=(*conventions(technology, wide=True), *precisions(costs))),
        Section("Why it does not fit", items=misses),
        Section("Cycles", pictures=[spending.cycles(graph, on_array(graph, one), one.name) for one in arrays]),
        Section("Energy", pictures=_energy_pictures(graph, technology)),
        Section("Rooflines", pictures=roofs, side_by_side=True),
    ]
    shown = (part for part in sections if part.table or part.items or part.pictures)
    return pages.page(f"What {costs[0].model} costs", heading(costs), shown)


def _energy_pictures(graph: Graph, technology: Technology) -> list[str]:
    try:
        return [spending.energy(graph, energy_on(graph, None, technology), technology)]
    except Unsupported:
        return []


def conventions(technology: Technology, *, wide: bool = False) -> tuple[str, ...]:
    """What each column says, a line each."""
    fields = (field for field in _fields(technology) if field.convention and (wide or field.narrow))
    source = f"{technology.name}: {technology.source}"
    return (*(f"{field.name}: {field.convention}" for field in fields), source)


def precisions(costs: Sequence[Cost]) -> tuple[str, ...]:
    """The machines at another precision than the network's own, and boards whose time is not known."""
    others: dict[str, list[str]] = {}
    for cost in costs:
        if cost.precision != cost.own_precision:
            others.setdefault(cost.precision, []).append(cost.target)
    silent = [c.target for c in costs if c.kind is MachineKind.BOARD and c.fits and c.cycles is None]
    notes = [
        f"{word}, where the network is {costs[0].own_precision} and must be brought to it first: {', '.join(names)}"
        for word, names in others.items()
    ]
    if silent:
        notes.append(f"no cycles of floats and of portable kernels are known: {', '.join(silent)}")
    return tuple(notes)


def why_not(costs: Sequence[Cost]) -> tuple[str, ...]:
    """The machines that the network does not fit, by what they lack."""
    lacking: dict[str, list[str]] = {}
    for cost in costs:
        for what in _lacks(cost):
            lacking.setdefault(what, []).append(cost.target)
    return tuple(f"too little {what}: {', '.join(names)}" for what, names in lacking.items())


def _lacks(cost: Cost) -> list[str]:
    """`RAM`, `flash`, or the whole sentence where that begins with neither."""
    out: list[str] = []
    for miss in cost.misses:
        first = miss.removeprefix(f"{cost.model}: ").partition(" ")[0]
        if cost.kind is MachineKind.BOARD and first in ("RAM", "flash"):
            out.append(first)
        elif cost.kind is MachineKind.CHIP and first in ("memory", "weights", "multipliers"):
            out.append("room for weights" if first == "weights" else first)
    return out


def _columns(fields: Sequence[_Field]) -> tuple[Column, ...]:
    names, words = [field.name for field in fields], [field.name for field in fields if field.words]
    return columns(names, words=words, leave=_LEAVE)


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{engineering(count)}B"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _energy(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _band(cost: Cost) -> str:
    if cost.low_uj is None:
        return "-"
    return f"> {_energy(cost.low_uj)}" if cost.high_uj is None else f"{_energy(cost.low_uj)}-{_energy(cost.high_uj)}"
