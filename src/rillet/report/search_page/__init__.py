"""A search as one offline page: accuracy against each cost, the front, the budget, and every candidate."""

from importlib.resources import files
from typing import Any

from rillet import web
from rillet.analyses.count import count
from rillet.analyses.memory import stored_at
from rillet.errors import RilletError
from rillet.plan.rows.planner import plan_rows
from rillet.search import budget
from rillet.search.found import Found
from rillet.zoo import registry

ZOO = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "microbotnet")
"""Networks whose costs are marked beneath the axis."""
WIDTHS = ("0.25", "0.5", "1.0")


def html(found: Found) -> str:
    """The page: its data, style and script in one file, which loads nothing."""
    from rillet.report.search import lines, record

    folder, title = files(__name__), f"Search in {found.space}"
    shown = {**record(found), "lines": lines(found), "limits": _limits(found), "zoo": _zoo(found)}
    return web.one_file(
        title,
        web.filled(folder / "page.html", {"TITLE": web.escaped(title)}),
        [web.shared("parts.js"), web.shared("plot.js"), folder / "page.js"],
        styles=[web.shared("page.css"), web.shared("plot.css")],
        blocks=[web.data_block("data", shown)],
    )


def _limits(found: Found) -> dict[str, float]:
    """The most of each cost."""
    return {limit.measure.name: limit.most for limit in budget.parse(found.budget).limits}


def _zoo(found: Found) -> list[dict[str, Any]]:
    """Costs of networks of the zoo at the candidates' resolution that is most frequent."""
    sides = [str(one.choice["input.resolution"]) for one in found.candidates]
    side = max(dict.fromkeys(sides), key=sides.count)
    made: list[dict[str, Any]] = []
    for name in ZOO:
        for width in WIDTHS:
            words = {"width": width, "resolution": side, "classes": str(found.classes)}
            try:
                graph = registry.build(name, words)
                counted = count(graph, bits=8)
                ram = plan_rows(stored_at(graph, 8)).arena_bytes
            except RilletError:
                continue  # A resolution that its strides use up.
            costs = {"macs": counted.macs, "params": counted.params, "ram": ram, "flash": counted.weight_bytes}
            made.append({"name": graph.name, "costs": costs})
    return made
