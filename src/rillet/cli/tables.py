"""The command that prints the sources' tables: table."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    MarkdownOption,
    app,
    make_console,
    one_form,
    one_of,
    open_named,
    print_json,
    status,
)
from rillet.system.options import Uses

if TYPE_CHECKING:
    from rillet.report.tables import Table

USES = Uses(
    {
        "table alpha": (),
        "table fuseconv": ("--speedup",),
        "table fuseconv --speedup": ("--speedup", "--array"),
        "table impossible": ("MODEL",),
        "table recompute": ("MODEL",),
        "table narrow": ("MODEL",),
        "table rates": ("MODEL",),
        "table chips": ("MODEL",),
        "table microjoule": ("MODEL", "--node"),
    }
)
"""The tables, and what may be said with each."""
TABLES = tuple(dict.fromkeys(mode.split()[1] for mode in USES.modes))


@app.command()
def table(
    name: Annotated[str, typer.Argument(metavar="|".join(TABLES), help="Table to print.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model for the tables from impossible on; default mobilenet_v2, for microjoule microbotnet.",
        ),
    ] = None,
    speedup: Annotated[bool, typer.Option("--speedup", help="With fuseconv: speedups on a systolic array.")] = False,
    array: Annotated[
        int | None, typer.Option("--array", min=1, help="With --speedup: rows and columns of the array; default 64.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="45nm|7nm|FILE.toml", help="With microjoule: process technology.")
    ] = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Prints a table of the sources, published numbers beside computed ones.

    alpha: MobileNetV1 by width and resolution. fuseconv: FuSeConv's networks. impossible: a fully unrolled network, its
    multipliers and buffers. recompute: cost of no buffering. narrow: cost of bottleneck buffering. rates: pipelines at
    many initiation intervals. chips: the best interval on every known chip. microjoule: whether MicroBotNet classifies
    an image within one microjoule.
    """
    from rillet.report import tables

    chosen = one_of("table", name, TABLES)
    mode = f"table {chosen}{' --speedup' if speedup and chosen == 'fuseconv' else ''}"
    USES.check(mode, {"MODEL": model, "--speedup": speedup, "--array": array, "--node": node})
    one_form(csv, markdown, json_output)
    if chosen == "microjoule":
        record, made = _microjoule(model, node or "45nm")
    else:
        record, made = _speedups(array or 64) if speedup else _table(chosen, model or "mobilenet_v2:top=false")
    if json_output:
        print_json({"table": name, **record})
    else:
        tables.write(make_console(), made, csv=csv, markdown=markdown)


def _speedups(array: int) -> "tuple[dict[str, Any], Table]":
    from rillet.analyses.sources.speedups import speedups
    from rillet.models.opening import open_model
    from rillet.report import systolic

    rows = speedups(lambda model: open_model(model).graph, array)
    return {"array": array, "rows": [asdict(row) for row in rows]}, systolic.speedups(rows)


def _microjoule(model: str | None, node: str) -> "tuple[dict[str, Any], Table]":
    from rillet.analyses.sources.microjoule import BUDGET_UJ, CHIPS, source_003
    from rillet.report import energy
    from rillet.targets.technology import load

    technology, model = load(node), model or energy.SOURCE_003
    rows = source_003(open_named(model).graph, technology)
    record = {
        "model": model,
        "node": technology.name,
        "budget_uj": BUDGET_UJ,
        "rows": [asdict(row) for row in rows],
        "chips": [asdict(chip) for chip in CHIPS],
    }
    return record, energy.source_003(rows, technology, model)


def _table(name: str, model: str) -> "tuple[dict[str, Any], Table]":
    """A table as a record and as people read it."""
    from rillet.analyses.sources import tables as computed
    from rillet.analyses.sources.chips import on_chips
    from rillet.analyses.sources.impossible import impossible
    from rillet.analyses.sources.narrow import narrow
    from rillet.analyses.sources.recompute import granularities
    from rillet.models.opening import open_model
    from rillet.report import tables
    from rillet.report.sources import impossible as goal
    from rillet.simulation.sweep import rates

    match name:
        case "alpha":
            alpha = computed.alpha(lambda model: open_model(model).graph)
            return {"rows": [asdict(row) for row in alpha]}, tables.alpha(alpha)
        case "fuseconv":
            fuse = computed.fuseconv(lambda model: open_model(model).graph)
            return {"rows": [asdict(row) for row in fuse]}, tables.fuseconv(fuse)
        case "impossible":
            found = impossible(open_named(model).graph)
            return asdict(found), goal.impossible_table(found)
        case "recompute":
            rows = granularities(open_named(model).graph)
            return {"rows": [asdict(row) for row in rows]}, goal.recompute_table(rows)
        case "narrow":
            options = narrow(open_named(model).graph)
            return asdict(options), goal.narrow_table(options)
        case "rates":
            graph = open_named(model).graph
            with status("planning and simulating"):
                found = rates(graph)
            return {"rows": [asdict(row) for row in found]}, goal.rates_table(graph.name, found)
        case _:
            graph = open_named(model).graph
            with status("planning"):
                found = on_chips(graph)
            return {"rows": [asdict(row) for row in found]}, goal.chips_table(graph.name, found)
