"""What of a network's channels is live, layer by layer, as a table and as a dictionary."""

from dataclasses import asdict
from typing import Any

from rillet.report.screen import columns
from rillet.report.tables import Table
from rillet.transforms.live import Live, LiveLayer


def live_record(found: Live) -> dict[str, Any]:
    """As `--json` prints it: sums, then all layers."""
    names = ("macs_before", "macs_after", "param_bytes_before", "param_bytes_after")
    sums = {name: getattr(found, name) for name in names}
    return {"model": found.name, **sums, "layers": [asdict(layer) for layer in found.layers]}


def live_table(found: Live) -> Table:
    """A row for each layer that changes, and the sum of all."""
    names = ("layer", "channels", "live", "constant", "unread", "MACs", "after", "bytes", "then")
    shown = columns(names, words=("layer",), leave=("unread", "constant", "bytes", "MACs"))
    changed = [layer for layer in found.layers if _changes(layer)]
    rows = [
        (
            layer.name,
            f"{layer.channels_before:,}",
            f"{layer.channels_after:,}",
            f"{layer.constant:,}",
            f"{layer.unread:,}",
            *_sizes(layer),
        )
        for layer in changed
    ]
    rows.append(("total", "", "", "", "", *_sizes(found)))
    notes = (
        "constant: channels removed that take one value whatever the input; unread: removed since no output byte "
        "depends on them (docs/live.md)",
        "bytes: of weights, biases and scales; every output byte is the same"
        if changed
        else "every channel is live, or stands beside one that is",
    )
    return Table(shown, tuple(rows), notes)


def _changes(layer: LiveLayer) -> bool:
    after = (layer.channels_after, layer.macs_after, layer.param_bytes_after)
    return after != (layer.channels_before, layer.macs_before, layer.param_bytes_before)


def _sizes(one: Live | LiveLayer) -> tuple[str, str, str, str]:
    macs, sizes = (one.macs_before, one.macs_after), (one.param_bytes_before, one.param_bytes_after)
    return f"{macs[0]:,}", f"{macs[1]:,}", f"{sizes[0]:,}", f"{sizes[1]:,}"
