"""Commands that cost a network on machines: systolic."""

from dataclasses import asdict
from typing import Annotated

import typer

from rillet.cli.app import JsonOption, ModelArgument, app, make_console, open_named, print_json


@app.command()
def systolic(
    model: ModelArgument,
    rows: Annotated[int, typer.Option("--rows", help="Rows of the array.")] = 64,
    columns: Annotated[int, typer.Option("--columns", help="Columns of the array.")] = 64,
    dataflow: Annotated[str, typer.Option("--dataflow", metavar="os|ws|is", help="What stays in its place.")] = "os",
    convention: Annotated[
        str, typer.Option("--convention", metavar="exact|scalesim|fuse", help="Whose cycles (docs/systolic.md).")
    ] = "exact",
    hardware: Annotated[
        str, typer.Option("--hardware", metavar="systolic|fuse", help="Plain, or with a broadcast in each row.")
    ] = "systolic",
    exact_maps: Annotated[bool, typer.Option("--exact-maps", help="Mend SCALE-Sim's output sizes.")] = False,
    sram: Annotated[float | None, typer.Option("--sram", help="Bytes a cycle that the buffers give.")] = None,
    dram: Annotated[float | None, typer.Option("--dram", help="Bytes a cycle that the memory gives.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Counts the cycles of a network on a systolic array, layer by layer."""
    from rillet.analyses.systolic import systolic as cycles
    from rillet.report import systolic as report
    from rillet.report import tables

    made = cycles(
        open_named(model).graph,
        rows=rows,
        columns=columns,
        dataflow=dataflow,
        convention=convention,
        hardware=hardware,
        exact_maps=exact_maps,
        sram_bytes_per_cycle=sram,
        dram_bytes_per_cycle=dram,
    )
    if json_output:
        print_json(asdict(made))
    else:
        tables.write(make_console(), report.layers(made), csv=csv, markdown=markdown)
