"""Views (tables, dictionaries, HTML) of the records that the public functions themselves define."""

from typing import Any

from rillet.api.pages import Page
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
    said = f"{made.folder}: {len(made.files)} files, {made.arena_bytes:,} bytes of activations"
    console.print(f"{said}; {'build and run' if made.build else 'serve it'} with" if made.run else said, soft_wrap=True)
    if made.run:
        console.print(f"  {made.run}", soft_wrap=True)


def _page(made: Page) -> dict[str, Any]:
    return {"path": str(made.path), "bytes": made.bytes, "machines": made.machines, "runs": made.runs}


def _page_text(console: Screen, made: Page) -> None:
    console.print(f"{made.path}: {made.bytes:,} bytes, {made.machines} machines", soft_wrap=True)


def _simulated(made: Simulated) -> dict[str, Any]:
    return pixels.simulation_record(made.plan, made.measured)


def _simulated_table(console: Screen, made: Simulated) -> None:
    pixels.simulation_table(console, made.plan, made.measured)


views[Page] = View(_page, by(_page_text))
views[Emitted] = View(_emitted, by(_emitted_text))
views[Simulated] = View(_simulated, by(_simulated_table))
