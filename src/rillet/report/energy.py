"""Tables of energy per image by parts, and of source 003's question."""

from collections.abc import Sequence

from rillet.analyses.energy import Energy, technology_note
from rillet.analyses.sources.microjoule import BUDGET_UJ, CHIPS, TERNARY_ABOVE, Answer, Verdict
from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.targets.technology import Technology
from rillet.zoo import published

SOURCE_003 = "microbotnet:width=0.32"
"""The network that source 003 asks about."""
_WEIGHTS = {"ternary as trained, else int8": "ternary, else int8"}
_VERDICTS = {Verdict.YES: "yes", Verdict.NO: "no", Verdict.OPEN: "open"}


def parts(found: Energy) -> Table:
    """One image by its parts, with the band of each."""
    rows = [
        (p.name, p.by, f"{p.count:,}", p.unit, _uj(p.uj), _uj(p.low_uj), _uj(p.high_uj), p.confidence)
        for p in found.parts
    ]
    rows.append(("total", "", "", "", _uj(found.total_uj), _uj(found.low_uj), _uj(found.high_uj), ""))
    names = ("part", "by", "count", "of", "uJ", "low", "high", "confidence")
    shown = columns(
        names, words=("part", "by", "of", "confidence"), leave=("confidence", "by", "of", "count", "high", "low")
    )
    notes = (
        f"{found.name}, {found.schedule}: {found.bits} operands, {found.accumulator} sums, "
        f"weights of {found.weight_bits:.3g} bits",
        found.source,
        *found.notes,
    )
    return Table(shown, tuple(rows), notes)


def source_003(rows: Sequence[Answer], technology: Technology, model: str = SOURCE_003) -> Table:
    """Microjoules by weights and their memory, published chips below."""
    under = f"< {BUDGET_UJ:g} uJ"
    names = ("weights", "bits", "memory", "each read once", under, "whole image", f"{under} ")
    shown = columns(
        names, words=("weights", "memory", under, f"{under} "), leave=("bits", "each read once", under, "memory")
    )
    cells = [
        (
            _WEIGHTS.get(row.weights, row.weights),
            f"{row.weight_bits:.3g}",
            row.weight_memory,
            _band(row.once_uj),
            _VERDICTS[row.once_under],
            _band(row.image_uj),
            _VERDICTS[row.image_under],
        )
        for row in rows
    ]
    cells += [
        (chip.name.partition(",")[0], "1", f"{chip.node_nm:g} nm", "", "", f"{chip.uj:g} measured", "no")
        for chip in CHIPS
    ]
    arithmetic = {_WEIGHTS.get(row.weights, row.weights): _band(row.arithmetic_uj) for row in rows}
    notes = [
        f"microjoules an image, with the band of the table: {technology_note(technology)}",
        "arithmetic alone: " + "; ".join(f"{words} {band}" for words, band in arithmetic.items()),
        "each read once: arithmetic, and every parameter once from its memory; whole image: also activations, "
        "rescaling, and weights as often as the schedule reads them: streamed, from DRAM layer by layer",
        f"ternary: layers of more than {TERNARY_ABOVE} weights but stem and head; "
        f"open: {BUDGET_UJ:g} uJ lies in the band",
    ]
    accuracy = published.accuracy(model)
    if accuracy is not None:
        notes.append(
            f"top-1 on {accuracy.data}: {accuracy.top1_percent:g} % ({model}, as printed, in float32)"
            + ("; 72.8 % with 65 % of the weights ternary" if model == SOURCE_003 else "")
        )
    notes += [f"{chip.name}: {chip.top1_percent:g} % top-1; {chip.source}" for chip in CHIPS]
    return Table(shown, tuple(cells), tuple(notes))


def _uj(value: float) -> str:
    return f"{value:,.4f}" if value < 10 else f"{value:,.2f}"


def _band(band: tuple[float, float, float]) -> str:
    low, value, high = band
    return f"{value:.3g} ({low:.3g}-{high:.3g})"
