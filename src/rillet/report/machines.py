"""Machines as tables and records: all of them by kind, and one with the sources of its numbers."""

from collections.abc import Sequence
from typing import Any, assert_never

from rillet.report.tables import Column, Table
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.catalogue import Target, kind_of
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host
from rillet.targets.quantity import CONFIDENCES
from rillet.targets.writing import words


def listing(found: Sequence[tuple[str, Target]]) -> Table:
    """Machines with the numbers that matter, a row each, under the names that --target takes."""
    headings = ("target", "kind", "computes with", "clock", "memory", "name")
    columns = tuple(Column(heading, heading != "clock") for heading in headings)
    rows = tuple((name, kind_of(machine).value, *_matters(machine), machine.name) for name, machine in found)
    return Table(columns, rows, ("rillet targets NAME has the source of each number (docs/targets.md)",))


def _matters(target: Target) -> tuple[str, str, str]:
    """What computes, its clock, and its memory."""
    match target:
        case Host():
            cores = f"{target.cores} core{'s' if target.cores > 1 else ''}"
            return f"{target.kernels}, {cores}", "-", f"{_kib(target.l1_bytes)} L1, {_kib(target.l2_bytes)} L2"
        case Board():
            memory = f"{_kib(target.ram_bytes)} RAM, {_kib(target.flash_bytes)} flash"
            return f"{target.cycles_per_mac.value:g} cycles a MAC", _clock(target.clock_hz), memory
        case StreamChip():
            memory = "not bounded" if target.memory_bits is None else _kib(target.memory_bits / 8)
            if target.weights_per_multiplier is not None:
                memory = f"{target.weights_per_multiplier:,} weights a multiplier"
            return f"{target.multipliers:,} multipliers", _clock(target.clock_hz), memory
        case ArrayMachine():
            elements = f"{target.rows:,} x {target.columns:,} elements"
            return elements, _clock(target.clock_hz), f"{target.dram_bytes_per_s / 1e9:g} GB/s DRAM"
    assert_never(target)


def _kib(size: float) -> str:
    return f"{size / 1024:,.1f}".removesuffix(".0") + " KiB"


def _clock(hertz: float) -> str:
    return f"{hertz / 1e6:,g} MHz"


def heading(target: Target) -> str:
    """A machine in a line: its name, what it is, and its words."""
    said = [f"{key} {', '.join(word) if isinstance(word, tuple) else word}" for key, word in _said(target).items()]
    return f"{target.name}: {'; '.join((kind_of(target).value, *said))}"


def _said(target: Target) -> dict[str, str | tuple[str, ...]]:
    """The words of a machine beside its name, those that are empty left out."""
    return {key: word for key, word in words(target).items() if key != "name" and word}


def numbers(target: Target) -> Table:
    """Every number of a machine with its band, what it rests on, and its source."""
    columns = (
        Column("number", words=True),
        Column("value"),
        Column("low"),
        Column("high"),
        Column("rests on", words=True),
        Column("source", words=True),
    )
    found = target.quantities
    rows = tuple(
        (
            key,
            number(one.value),
            number(one.low) if one.banded else "-",
            number(one.high) if one.banded else "-",
            one.confidence,
            one.source,
        )
        for key, one in found.items()
    )
    met = {one.confidence for one in found.values()}
    return Table(columns, rows, tuple(f"{word}: {means}" for word, means in CONFIDENCES.items() if word in met))


def number(value: float) -> str:
    """A number with its thousands apart, whole where it is whole."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,}"


def record(name: str, target: Target) -> dict[str, Any]:
    """A machine as JSON: how it is called, its kind, its words, and every number with its source."""
    numbers = {
        key: {"value": q.value, "low": q.low, "high": q.high, "confidence": q.confidence, "source": q.source}
        for key, q in target.quantities.items()
    }
    return {"target": name, "kind": kind_of(target).value, **words(target), "numbers": numbers}
