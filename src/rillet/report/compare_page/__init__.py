"""Networks as one offline page: accuracy, memory, latency and energy against each other, and the front of any two."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from rillet import web
from rillet.costs.machines import Cost
from rillet.models.compare import Compared, Comparison

_OWN = (
    ("top1", "top-1", "percent", "top1_percent"),
    ("macs", "MACs", "count", "macs"),
    ("params", "parameters", "count", "params"),
    ("weights", "weights", "bytes", "weight_bytes"),
    ("ram", "RAM, streamed", "bytes", "streamed_bytes"),
    ("layerwise", "RAM, layer by layer", "bytes", "layerwise_bytes"),
)
"""Measures of a network alone: key, name, unit, field."""
_ON_MACHINES = (("latency", "latency", "seconds", "latency_s"), ("energy", "energy, at least", "microjoules", "low_uj"))


def html(found: Comparison, costs: Sequence[Sequence[Cost]]) -> str:
    """The page: its data, style and script in one file, which loads nothing.

    costs: for each network its rows on the same machines, in one order.
    """
    folder, title = files(__name__), f"{len(found.networks)} networks compared"
    return web.one_file(
        title,
        web.filled(folder / "page.html", {"TITLE": web.escaped(title)}),
        [web.shared("parts.js"), web.shared("plot.js"), folder / "page.js"],
        styles=[web.shared("page.css"), web.shared("plot.css")],
        blocks=[web.data_block("data", _data(found, costs))],
    )


def _data(found: Comparison, costs: Sequence[Sequence[Cost]]) -> dict[str, Any]:
    machines = [cost.target for cost in costs[0]]
    measures = [_measure(key, name, unit, "the network") for key, name, unit, _ in _OWN]
    for machine in machines:
        measures += [_measure(f"{key} {machine}", name, unit, machine, True) for key, name, unit, _ in _ON_MACHINES]
    return {
        "measures": measures,
        "networks": [
            {"key": str(i), "name": one.name, "values": _values(one, own), "notes": _notes(one, own)}
            for i, (one, own) in enumerate(zip(found.networks, costs, strict=True))
        ],
        "notes": [
            f"Bytes are those of weights and activations of {found.bits} bits; streamed: with rows pushed in.",
            "Accuracies are published ones, each of the source that its network names; Rillet did not measure them.",
            "Latency and energy are those of rillet cost, and left out where a network does not fit a machine.",
        ],
    }


def _measure(key: str, name: str, unit: str, group: str, machine: bool = False) -> dict[str, Any]:
    return {"key": key, "name": name, "unit": unit, "group": group, "machine": machine, "more": key == "top1"}


def _values(one: Compared, costs: Sequence[Cost]) -> Mapping[str, float | None]:
    values: dict[str, float | None] = {key: getattr(one, field) for key, _, _, field in _OWN}
    for cost in costs:
        for key, _, _, field in _ON_MACHINES:
            values[f"{key} {cost.target}"] = getattr(cost, field) if cost.fits else None
    return values


def _notes(one: Compared, costs: Sequence[Cost]) -> list[str]:
    """Whose accuracy it is, and what does not fit, a sentence each."""
    said = [f"Top-1 on {one.top1_data}, by {one.top1_source}."] if one.top1_percent is not None else []
    if one.streamed_why:
        said.append(f"No plan by rows: {one.streamed_why}")
    return [*said, *(f"{cost.target}: {miss}" for cost in costs for miss in cost.misses)]
