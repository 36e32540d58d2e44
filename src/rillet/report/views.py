"""Registered views of each record: its `to_dict`, `table` and drawings."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rillet.backends.c.footprint import Footprint
from rillet.ir.graph import Graph
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.report import analysis_views as analysis_views
from rillet.report import board, card, draw, hardware, memory, pixels, records, search, synthesis, text
from rillet.report.shown import Shown
from rillet.report.summary import summary
from rillet.runtime.emulator.proof import CoreVerification
from rillet.runtime.rtl.synthesis import Synthesis
from rillet.runtime.rtl.verify import HardwareVerification
from rillet.runtime.verify import Verification
from rillet.search.found import Found
from rillet.system.record import View, views


def by(show: Callable[..., None]) -> Callable[[Any], Shown]:
    """What a report prints on a screen, as a table of a record."""
    return lambda record: Shown(lambda screen: show(screen, record))


views[Graph] = View(records.graph_record, by(summary), draw.svg)
views[RowPlan] = View(records.plan_record, by(text.plan), memory.svg)
views[PixelPlan] = View(pixels.plan_record, by(pixels.plan_table))
views[Footprint] = View(asdict, by(board.planned))
views[Verification] = View(asdict, by(text.verification))
views[CoreVerification] = View(lambda made: asdict(made) | {"as_planned": made.as_planned}, by(text.core_verification))
views[HardwareVerification] = View(hardware.record, by(hardware.verification))
views[Synthesis] = View(synthesis.record, by(synthesis.synthesis))
views[card.Card] = View(card.record, lambda made: analysis_views.drawn(*card.tables(made)))
views[Found] = View(search.record, by(search.search))
