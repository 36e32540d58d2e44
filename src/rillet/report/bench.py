"""Runtimes side by side as a table and as records."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rillet.bench.ceiling import Ceiling
from rillet.bench.machine import Machine
from rillet.bench.peers import OURS
from rillet.bench.rounds import Bench, Record, Refusal, Spread
from rillet.report.screen import columns
from rillet.report.tables import Table

_COLUMNS = columns(
    (
        *(
            "runtime",
            "precision",
            "threads",
            "batch",
            "min ms",
            "median ms",
            "Rillet is",
            "10-90 %",
            "GMAC/s",
            "of peak",
        ),
        *("MB above idle", "cold ms", "first ms", "differs by", "same top-1"),
    ),
    words=("runtime", "precision"),
    leave=(
        *("GMAC/s", "first ms", "of peak", "cold ms", "MB above idle", "same top-1", "differs by", "10-90 %", "min ms"),
        *("batch", "threads", "precision", "median ms"),
    ),
)


def table(found: Bench) -> Table:
    """A row for each runtime; what could not run, and what was measured on what, below."""
    notes = [
        f"{found.model}, {found.macs:,} MACs; {found.rounds} alternating rounds; Rillet as {found.kernels}",
        "Rillet is: so many times as fast, by the least times of a round, median of the rounds; 10-90 %: their spread",
        "of peak: of the rate of multiply-accumulates alone, measured between the rounds; MB: 10^6 resident bytes",
        "times are of one image; cold: one inference with empty caches; first: import, load and one inference",
        "differs by: from Rillet's answers to random images: relative to the largest value, or in int8 steps",
        *(f"{one.runtime}, {_kind(one)}: {one.form}: the fastest form" for one in found.records if one.form),
        *found.doubts,
        *(_refusal(refusal) for refusal in found.refusals),
        *(ceiling_text(ceiling) for ceiling in found.ceilings),
        machine_text(found.machine),
    ]
    return Table(_COLUMNS, tuple(_row(record) for record in found.records), tuple(notes))


def records(found: Bench) -> list[dict[str, Any]]:
    """A flat record for each runtime that ran, each with the machine's facts and ceiling."""
    ceilings = {ceiling.threads: asdict(ceiling) for ceiling in found.ceilings}
    facts = {"model": found.model, "macs": found.macs, "rounds": found.rounds}
    facts |= {"kernels": found.kernels, "machine": asdict(found.machine)}
    return [{**_flat(record), **facts, "ceiling": ceilings[record.threads]} for record in found.records]


def refusals(found: Bench) -> Iterator[str]:
    """A sentence for each runtime that has no figure."""
    return (_refusal(refusal) for refusal in found.refusals)


def _flat(record: Record) -> dict[str, Any]:
    spread = record.ratio
    return asdict(record) | {
        "ratio": spread.median if spread else None,
        "ratio_low": spread.low if spread else None,
        "ratio_high": spread.high if spread else None,
    }


def _row(record: Record) -> tuple[str, ...]:
    return (
        record.runtime if record.runtime == OURS else f"{record.runtime} {record.version}",
        record.precision,
        str(record.threads),
        str(record.batch),
        f"{record.min_ms:.3f}",
        f"{record.median_ms:.3f}",
        *_ratio(record.runtime, record.ratio),
        f"{record.gmacs:.1f}",
        "-" if record.peak_share is None else f"{record.peak_share:.1%}",
        "-" if record.rss_mb is None else f"{record.rss_mb:.1f}",
        f"{record.cold_ms:.3f}",
        f"{record.first_ms:.1f}",
        _difference(record),
        "-" if record.same_top1 is None else f"{record.same_top1} of {record.images}",
    )


def _ratio(runtime: str, spread: Spread | None) -> tuple[str, str]:
    if spread is None or runtime == OURS:
        return "", ""
    return f"{spread.median:.2f} x", f"{spread.low:.2f}-{spread.high:.2f}"


def _difference(record: Record) -> str:
    if record.difference is None or record.runtime == OURS:
        return ""
    if record.precision != "int8":
        return f"{record.difference:.1e}"
    return f"{record.difference:.0f} {'step' if record.difference == 1 else 'steps'}"


def _refusal(refusal: Refusal) -> str:
    return f"{refusal.runtime}, {_kind(refusal)}: not measured: {refusal.why}"


def _kind(one: Record | Refusal) -> str:
    """Precision, threads and batch in words."""
    batch = "" if one.batch == 1 else f", batch {one.batch}"
    return f"{one.precision}, {_threads(one.threads)}{batch}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def ceiling_text(ceiling: Ceiling) -> str:
    """The peaks of so many threads in one line."""
    rates = (
        ("f32", ceiling.f32_gmacs, ceiling.f32_by),
        ("bf16", ceiling.bf16_gmacs, ceiling.bf16_by),
        ("int8", ceiling.int8_gmacs, ceiling.int8_by),
    )
    peaks = [f"{kind} {rate:,.0f} GMAC/s ({by})" for kind, rate, by in rates if rate]
    reads = f"reads {ceiling.cache_gbytes:,.0f} GB/s of level 2, {ceiling.memory_gbytes:,.0f} GB/s of memory"
    return f"peak of {_threads(ceiling.threads)}: {', '.join([*peaks, reads])}"


def machine_text(machine: Machine) -> str:
    """The machine's facts in one line."""
    caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in machine.cache_bytes.items())
    words = [machine.cpu, f"{machine.cores} cores", caches, " ".join(machine.sets), machine.system, machine.compiler]
    words += [f"Python {machine.python}", "" if machine.load is None else f"load {machine.load:.2f}", machine.date]
    return "; ".join(word for word in words if word)
