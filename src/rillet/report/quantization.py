"""Tables of quantisation: sizes, accuracy before and after, and the noise of each layer."""

from collections.abc import Sequence

from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.runtime.quantization import Compared, LayerError


def comparison(rows: Sequence[Compared]) -> Table:
    """Both rules and all ways of choosing ranges beside the float network."""
    names = ("rounding", "calibration", "top-1", "points lost", "weight bytes", "file bytes")
    shown = columns(names, words=("rounding", "calibration"), leave=("weight bytes", "file bytes", "points lost"))
    cells = [
        (
            row.rounding,
            row.calibration,
            f"{row.top1:.2%}",
            f"{row.lost_points:.2f}",
            f"{row.weight_bytes:,}",
            f"{row.file_bytes:,}",
        )
        for row in rows
    ]
    return Table(shown, tuple(cells))


def layers(errors: Sequence[LayerError]) -> Table:
    """Signal to noise of every layer, the worst by itself first."""
    shown = columns(("node", "own dB", "total dB"), words=("node",))
    ordered = sorted(errors, key=lambda error: float("inf") if error.own_db is None else error.own_db)
    cells = [(error.node, _decibels(error.own_db), _decibels(error.total_db)) for error in ordered]
    notes = (
        "signal to noise; own: this layer alone in integers, total: all before it too; exact where nothing is shown",
    )
    return Table(shown, tuple(cells), notes)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
