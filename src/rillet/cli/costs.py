"""Commands that cost a network on machines: systolic, energy, fit, cost."""

from typing import TYPE_CHECKING

import typer

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    LiveOption,
    MarkdownOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    one_form,
    open_named,
    print_json,
    say,
)
from rillet.cli.options import (
    AccumulatorOption,
    AllBoardsOption,
    ArrayOption,
    BoardBitsOption,
    BoardOption,
    ColumnsOption,
    CyclesOption,
    DataflowOption,
    DramOption,
    ExactMapsOption,
    HardwareOption,
    MachinesOption,
    MostWeightBitsOption,
    NodeOption,
    OperandOption,
    PageOption,
    RateOption,
    RowsOption,
    ScheduleOption,
    SramOption,
    WeightBitsOption,
    WeightMemoryOption,
)
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet.api.analysis import CostTable

USES = Uses({"the table printed": ("--csv", "--markdown"), "-o": ()})
"""Of cost: with -o the file's name tells the form."""


@app.command()
def systolic(
    model: ModelArgument,
    rows: RowsOption = 64,
    columns: ColumnsOption = 64,
    dataflow: DataflowOption = "os",
    convention: CyclesOption = "exact",
    hardware: HardwareOption = "systolic",
    exact_maps: ExactMapsOption = False,
    sram: SramOption = None,
    dram: DramOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Counts the cycles of a network on a systolic array, layer by layer."""
    from rillet.api import analysis
    from rillet.report import systolic as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    how = {"dataflow": dataflow, "convention": convention, "hardware": hardware}
    graph = open_named(model, weights=weights).graph
    made = analysis.systolic(graph, rows=rows, columns=columns, exact_maps=exact_maps, sram=sram, dram=dram, **how)
    if json_output:
        print_json(made.to_dict())
    else:
        tables.write(make_console(), report.layers(made), csv=csv, markdown=markdown)


@app.command()
def energy(
    model: ModelArgument,
    node: NodeOption = "45nm",
    bits: OperandOption = "8",
    accumulator: AccumulatorOption = "32",
    weight_bits: WeightBitsOption = None,
    schedule: ScheduleOption = "layerwise",
    memory: WeightMemoryOption = None,
    array: ArrayOption = None,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Counts the energy of an image: arithmetic, weights and activations, each figure with a band."""
    from rillet.api import analysis
    from rillet.report import energy as report
    from rillet.report import tables

    found = analysis.energy(
        open_named(model, weights=weights).graph,
        node=node,
        bits=_type(bits),
        accumulator=_type(accumulator),
        weight_bits=weight_bits,
        schedule=schedule,
        memory=memory,
        array=array,
    )
    if json_output:
        print_json(found.to_dict())
    else:
        tables.write(make_console(), report.parts(found))


def _type(word: str) -> int | str:
    return int(word) if word.isdigit() and len(word) < 4 else word


@app.command()
def fit(
    model: ModelArgument,
    target: BoardOption = None,
    everywhere: AllBoardsOption = False,
    bits: BoardBitsOption = None,
    weight_bits: MostWeightBitsOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    live: LiveOption = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Says whether a network fits a microcontroller, by how much not, and the smallest change that makes it fit.

    The exit code is 1 where it does not fit, with --all where it fits no board.
    """
    from rillet.api import analysis
    from rillet.report import analysis_views, tables

    one_form(csv, markdown, json_output)
    at_most_one({"--target": target, "--all": everywhere})
    graph, on = open_named(model, weights=weights, live=live).graph, "all" if everywhere else target or "nano33ble"
    found = analysis.fit(graph, on, bits=bits, weight_bits=weight_bits)
    if json_output:
        print_json(found.to_dict())
    else:
        for table in analysis_views.fits_tables(found)[: 1 if csv else None]:
            tables.write(make_console(), table, csv=csv, markdown=markdown)
    if not found.fits:
        raise typer.Exit(1)


@app.command()
def cost(
    model: ModelArgument,
    target: MachinesOption = None,
    bits: BoardBitsOption = None,
    node: NodeOption = "45nm",
    fps: RateOption = 30.0,
    out: PageOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Puts a network on machines of all kinds, side by side: memory, cycles, images a second, energy, and fit.

    Each row says at what precision it was computed: arrays and chips have integers alone. The exit code is 1 where the
    network fits none of the machines. With -o page.html: the table, what each column says, where cycles and energy go,
    and a roofline for each machine.
    """
    from rillet.api import analysis

    one_form(csv, markdown, json_output)
    USES.check("the table printed" if out is None else "-o", {"--csv": csv, "--markdown": markdown})
    if out is not None:
        analysis.check_page(out)
    graph = open_named(model, weights=weights).graph
    found = analysis.cost(graph, target or "all", fps=fps, node=node, bits=bits)
    if out is not None:
        analysis.cost_page(graph, found, out)
    if json_output:
        print_json(found.to_dict())
    elif out is not None:
        say(f"{out}: {found.model} on {len(found.targets)} machines")
    else:
        _print(found, csv=csv, markdown=markdown)
    if not found.fits:
        raise typer.Exit(1)


def _print(found: "CostTable", *, csv: bool, markdown: bool) -> None:
    from rillet.report import cost as report
    from rillet.report import tables

    console = make_console()
    if csv:
        tables.write(console, report.exact(found.targets, found.technology), csv=True)
        return
    if not markdown:
        console.print(report.heading(found.targets))
    tables.write(console, report.machines(found.targets, found.technology, wide=markdown), markdown=markdown)
