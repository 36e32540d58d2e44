"""Views (tables, dictionaries, HTML) of the records that the public functions themselves define."""

from typing import Any

from rillet.api.plans import Emitted, Simulated
from rillet.report import pixels
from rillet.report.screen import Screen
from rillet.report.views import by
from rillet.system.record import View, views


def _emitted(made: Emitted) -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        "files": list(made.files),
        "arena_bytes": made.arena_bytes,
        "build": made.build,
    }


def _emitted_text(console: Screen, made: Emitted) -> None:
    said = f"{made.folder}: {len(made.files)} files, {made.arena_bytes:,} bytes of activations; build and run with"
    console.print(said, soft_wrap=True)
    console.print(f"  {made.run}", soft_wrap=True)


def _simulated(made: Simulated) -> dict[str, Any]:
    return pixels.simulation_record(made.plan, made.measured)


def _simulated_table(console: Screen, made: Simulated) -> None:
    pixels.simulation_table(console, made.plan, made.measured)


views[Emitted] = View(_emitted, by(_emitted_text))
views[Simulated] = View(_simulated, by(_simulated_table))
