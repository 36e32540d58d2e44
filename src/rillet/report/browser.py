"""A network as WebAssembly beside other runtimes, as a table and as records."""

from dataclasses import asdict
from typing import Any

from rillet.bench.browser import PageBench, PageRecord
from rillet.report.bench import machine_text
from rillet.report.screen import columns
from rillet.report.tables import Table

_FIRST = ("engine", "runtime", "min ms", "median ms", "Rillet is", "10-90 %", "first ms", "code")
_COLUMNS = columns(
    (*_FIRST, "differs by", "same top-1"),
    words=("engine", "runtime"),
    leave=("same top-1", "differs by", "first ms", "10-90 %", "min ms"),
)


def table(found: PageBench) -> Table:
    """A row for each runtime; what was measured on what, below."""
    notes = [
        f"{found.model}, {found.macs:,} MACs, {found.precision}; {found.rounds} alternating rounds; one thread",
        "ms: in Node of processor time, user and system, which others do not lengthen; in Chromium by its clock",
        "Rillet is: so many times as fast, by the least times of a round, median of the rounds; 10-90 %: their spread",
        "first: load and one inference; code: bytes of JavaScript and WebAssembly beyond the weights",
        *found.refusals,
        machine_text(found.machine),
    ]
    return Table(_COLUMNS, tuple(_row(record, found) for record in found.records), tuple(notes))


def records(found: PageBench) -> list[dict[str, Any]]:
    """A flat record for each runtime."""
    facts = {name: value for name, value in asdict(found).items() if name not in ("records", "refusals")}
    return [asdict(record) | facts for record in found.records]


def _row(record: PageRecord, found: PageBench) -> tuple[str, ...]:
    spread, apart = record.ratio, record.difference
    steps = "" if apart is None else f"{apart:.1e}" if found.precision == "f32" else f"{apart:.0f} steps"
    return (
        record.engine,
        f"{record.runtime} {record.version}",
        f"{record.min_ms:.2f}",
        f"{record.median_ms:.2f}",
        "" if spread is None else f"{spread.median:.2f} x",
        "" if spread is None else f"{spread.low:.2f}-{spread.high:.2f}",
        f"{record.first_ms:.0f}",
        f"{record.code_bytes / 1000:,.0f} kB",
        steps,
        "" if record.same_top1 is None else f"{record.same_top1} of {found.images}",
    )
