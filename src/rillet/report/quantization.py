"""What quantisation made of a network, and what it lost, as tables."""

from collections.abc import Sequence

from rillet.report.tables import Column, Table
from rillet.runtime.quantization import Compared, LayerError


def comparison(rows: Sequence[Compared]) -> Table:
    """Both rules and all ways of choosing ranges beside the float network."""
    columns = (
        Column("rounding", words=True),
        Column("calibration", words=True),
        Column("top-1"),
        Column("points lost"),
        Column("weight bytes"),
        Column("file bytes"),
    )
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
    return Table(columns, tuple(cells))


def layers(errors: Sequence[LayerError]) -> Table:
    """Signal to noise of every layer, the worst by itself first."""
    columns = (Column("node", words=True), Column("own dB"), Column("total dB"))
    ordered = sorted(errors, key=lambda error: float("inf") if error.own_db is None else error.own_db)
    cells = [(error.node, _decibels(error.own_db), _decibels(error.total_db)) for error in ordered]
    notes = (
        "signal to noise; own: this layer alone in integers, total: all before it too; exact where nothing is said",
    )
    return Table(columns, tuple(cells), notes)


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
