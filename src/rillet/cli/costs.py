"""Commands that cost a network on machines: systolic, energy, fit, cost."""

from typing import TYPE_CHECKING

import typer

from rillet.cli.app import (
    LiveOption,
    ModelArgument,
    WeightsOption,
    open_named,
    say,
)
from rillet.cli.forms import Form, command
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
    FitObjectiveOption,
    HardwareOption,
    MachinesOption,
    NodeOption,
    OperandOption,
    PageOption,
    RateOption,
    RowsOption,
    ScheduleOption,
    SramOption,
    TargetOption,
    WeightBitsOption,
    WeightMemoryOption,
)
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet.api.analysis import CostTable
    from rillet.report.screen import Screen

USES = Uses({"the table printed": ("--csv", "--markdown"), "-o": ()})
"""Of cost: with -o the file's name tells the form."""


@command
def systolic(
    model: ModelArgument,
    target: TargetOption = None,
    rows: RowsOption = None,
    columns: ColumnsOption = None,
    dataflow: DataflowOption = None,
    convention: CyclesOption = "exact",
    hardware: HardwareOption = None,
    exact_maps: ExactMapsOption = False,
    sram: SramOption = None,
    dram: DramOption = None,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Counts the cycles of a network on a systolic array, layer by layer."""
    from rillet.api import analysis
    from rillet.report import systolic as report
    from rillet.report import tables

    made = analysis.systolic(
        open_named(model, weights=weights).graph,
        target,
        rows=rows,
        columns=columns,
        dataflow=dataflow,
        convention=convention,
        hardware=hardware,
        exact_maps=exact_maps,
        sram=sram,
        dram=dram,
    )
    form.show(made.to_dict, lambda console: tables.write(console, report.layers(made)))


@command
def energy(
    model: ModelArgument,
    target: TargetOption = None,
    node: NodeOption = "45nm",
    operand: OperandOption = None,
    accumulator: AccumulatorOption = None,
    weight_bits: WeightBitsOption = None,
    schedule: ScheduleOption = None,
    memory: WeightMemoryOption = None,
    array: ArrayOption = None,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Counts the energy of an image: arithmetic, weights and activations, each figure with a band."""
    from rillet.api import analysis
    from rillet.report import energy as report
    from rillet.report import tables

    found = analysis.energy(
        open_named(model, weights=weights).graph,
        target,
        node=node,
        operand=_type(operand),
        accumulator=_type(accumulator),
        weight_bits=weight_bits,
        schedule=schedule,
        memory=memory,
        array=array,
    )
    form.show(found.to_dict, lambda console: tables.write(console, report.parts(found)))


def _type(word: str | None) -> int | str | None:
    return int(word) if word is not None and word.isdigit() and len(word) < 4 else word


@command
def fit(
    model: ModelArgument,
    target: BoardOption = None,
    everywhere: AllBoardsOption = False,
    bits: BoardBitsOption = None,
    objective: FitObjectiveOption = "memory",
    live: LiveOption = False,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Tells whether a network's plan fits a microcontroller, what it misses, and the smallest changes that make it fit.

    The exit code is 1 where it does not fit, with --all where it fits no board.
    """
    from rillet.api import analysis
    from rillet.report import analysis_views, tables

    at_most_one({"--target": target, "--all": everywhere})
    graph, on = open_named(model, weights=weights, live=live).graph, "all" if everywhere else target or "nano33ble"
    found = analysis.fit(graph, on, bits=bits, objective=objective)
    drawn = analysis_views.fits_tables(found)
    form.show(found.to_dict, lambda console: [tables.write(console, table) for table in drawn])
    if not found.fits:
        raise typer.Exit(1)


@command
def cost(
    model: ModelArgument,
    target: MachinesOption = None,
    bits: BoardBitsOption = None,
    node: NodeOption = "45nm",
    fps: RateOption = 30.0,
    out: PageOption = None,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Compares machines of all kinds for a network: memory, cycles, images a second, energy, and fit.

    Each row says at what precision it was computed: arrays and chips have integers alone. The exit code is 1 where the
    network fits none of the machines. With -o page.html: the table, what each column says, where cycles and energy go,
    and a roofline for each machine.
    """
    from rillet.api import analysis

    form_of = {"--csv": form.csv, "--markdown": form.markdown}
    USES.check("the table printed" if out is None else "-o", form_of)
    if out is not None:
        analysis.check_page(out)
    graph = open_named(model, weights=weights).graph
    found = analysis.cost(graph, target or "all", fps=fps, node=node, bits=bits)
    if out is not None:
        analysis.cost_page(graph, found, out)
    if out is not None and form.text:
        say(f"{out}: {found.model} on {len(found.targets)} machines")
    else:
        form.show(found.to_dict, lambda console: _draw(console, found, form))
    if not found.fits:
        raise typer.Exit(1)


def _draw(console: "Screen", found: "CostTable", form: Form) -> None:
    from rillet.report import cost as report
    from rillet.report import tables

    if form.csv:
        tables.write(console, report.exact(found.targets, found.technology))
        return
    if form.text:
        console.print(report.heading(found.targets))
    tables.write(console, report.machines(found.targets, found.technology, wide=form.markdown))
