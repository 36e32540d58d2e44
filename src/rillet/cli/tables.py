"""The command that prints the sources' tables: table."""

from typing import Annotated

import typer

from rillet.cli.app import shared, status
from rillet.cli.forms import Form, command

TABLES = "alpha|fuseconv|impossible|recompute|narrow|rates|hardware|chips|microjoule"


@command
def table(
    name: Annotated[str, typer.Argument(metavar=TABLES, help="Table to print.")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model for the tables from impossible on; default mobilenet_v2, for microjoule microbotnet.",
        ),
    ] = None,
    speedup: Annotated[bool, typer.Option("--speedup", help="With fuseconv: speedups on a systolic array.")] = False,
    array: Annotated[
        int | None,
        shared("--array", here="With --speedup.", min=1),
    ] = None,
    node: Annotated[
        str | None,
        shared("--node", here="With microjoule.", metavar="45nm|7nm|FILE.toml"),
    ] = None,
    *,
    form: Form,
) -> None:
    """Prints a table of the sources, published numbers beside computed ones.

    alpha: MobileNetV1 by width and resolution. fuseconv: FuSeConv's networks. impossible: a fully unrolled network, its
    multipliers and buffers. recompute: cost of no buffering. narrow: cost of bottleneck buffering. rates: pipelines at
    many initiation intervals. hardware: what hardware adds to them. chips: the best interval on every known chip.
    microjoule: whether MicroBotNet classifies an image within one microjoule.
    """
    from rillet.api.sources import source_table
    from rillet.report import tables

    with status("computing"):
        found = source_table(name, model, speedup=speedup, array=array, node=node)
    form.show(lambda: {"table": name, **found.record}, lambda console: tables.write(console, found.drawn))
