"""Commands that cost a network on machines: systolic, energy, fit, cost."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    MarkdownOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    one_form,
    one_of,
    open_named,
    print_json,
    status,
    write,
)
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet.ir.graph import Graph

PrecisionOption = Annotated[
    int | None,
    typer.Option(
        "--bits", metavar="8|32", help="Bits of values and weights on a board; those of the network if not said."
    ),
]
USES = Uses({"the table printed": ("--csv", "--markdown"), "-o": ()})
"""Of cost: with -o the file's name tells the form."""
PICTURES = ("systolic", "energy", "roofline")
"""What draw --cost can show."""


def picture(graph: "Graph", what: str, target: str | None, node: str | None) -> str:
    """The picture of what a network costs on a machine: cycles, energy, or its roofline, as SVG.

    target: a systolic array for `systolic`, any machine for the others; energy without one is that of a stream by rows.
    """
    from rillet.analyses import cost as analysis
    from rillet.analyses.roofline import roofline
    from rillet.report import roofline as roof
    from rillet.report import spending
    from rillet.targets import catalogue
    from rillet.targets.arrays import ArrayMachine
    from rillet.targets.technology import load

    asked = f"--cost {what}"
    if what == "energy":
        technology = load(node or "45nm")
        machine = catalogue.need(catalogue.load(target), analysis.MACHINES, asked, target) if target else None
        return spending.energy(graph, analysis.energy_on(graph, machine, technology), technology)
    found = catalogue.load(target or "systolic_64x64")
    if what == "roofline":
        return roof.svg(graph, roofline(graph, catalogue.need(found, analysis.MACHINES, asked, target)))
    machine = catalogue.need(found, (ArrayMachine,), asked, target)
    return spending.cycles(graph, analysis.on_array(graph, machine), machine.name)


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
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Counts the cycles of a network on a systolic array, layer by layer."""
    from rillet.analyses.systolic import systolic as cycles
    from rillet.report import systolic as report
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    made = cycles(
        open_named(model, weights=weights).graph,
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


@app.command()
def energy(
    model: ModelArgument,
    node: Annotated[str, typer.Option("--node", metavar="45nm|7nm|FILE.toml", help="Technology.")] = "45nm",
    bits: Annotated[str, typer.Option("--bits", help="Operands: 8, 32, int8, bf16, fp32 ...")] = "8",
    accumulator: Annotated[str, typer.Option("--accumulator", help="Sums: 32, int32, fp32 ...")] = "32",
    weight_bits: Annotated[int | None, typer.Option("--weight-bits", help="Bits of a weight, if other.")] = None,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="layerwise|stream|systolic", help="How often each value is read.")
    ] = "layerwise",
    memory: Annotated[str | None, typer.Option("--memory", metavar="sram_8KB|...|dram", help="Of the weights.")] = None,
    array: Annotated[
        int | None, typer.Option("--array", min=1, help="Rows and columns of the systolic array, 64 if not said.")
    ] = None,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Counts the energy of an image: arithmetic, weights and activations, each figure with a band."""
    from rillet.analyses.energy import energy as count
    from rillet.analyses.energy import traffic_under
    from rillet.report import energy as report
    from rillet.report import tables
    from rillet.targets.technology import load

    graph, technology = open_named(model, weights=weights).graph, load(node)
    found = count(
        graph,
        technology,
        bits=_type(bits),
        accumulator=_type(accumulator),
        weight_bits=weight_bits,
        schedule=schedule,
        weight_memory=memory,
        traffic=traffic_under(graph, schedule, array),
    )
    if json_output:
        print_json(asdict(found))
    else:
        tables.write(make_console(), report.parts(found, technology))


def _type(word: str) -> int | str:
    return int(word) if word.isdigit() and len(word) < 4 else word


@app.command()
def fit(
    model: ModelArgument,
    target: Annotated[
        str | None, typer.Option("--target", metavar="BOARD|FILE.toml", help="A board, nano33ble if not said.")
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all", help="A table of all known boards.")] = False,
    bits: PrecisionOption = None,
    weight_bits: Annotated[int | None, typer.Option("--weight-bits", help="Weights of no more bits than so.")] = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Says whether a network fits a microcontroller, by how much not, and the smallest change that makes it fit.

    The exit code is 1 where it does not fit, with --all where it fits no board.
    """
    from rillet.analyses import mcu
    from rillet.models.opening import open_model
    from rillet.models.specifier import split
    from rillet.report import fit as report
    from rillet.report import tables
    from rillet.targets import boards, catalogue

    one_form(csv, markdown, json_output)
    at_most_one({"--target": target, "--all": everywhere})
    asked = boards.names() if everywhere else (target or "nano33ble",)
    found = [catalogue.need(catalogue.load(name), (boards.Board,), "fit", name) for name in asked]
    graph = open_named(model, weights=weights).graph
    rows = list(zip(mcu.fit_all(graph, found, bits, weight_bits), found, strict=True))
    base, words = split(model)
    remedies: tuple[mcu.Remedy, ...] = ()
    if not everywhere:
        zoo = "/" not in base and "." not in base and not base.startswith("hub:")

        def again(changed: dict[str, str]):  # noqa: ANN202 - Graph, whose import is heavy
            return open_model(f"{base}:{','.join(f'{key}={word}' for key, word in {**words, **changed}.items())}").graph

        remedies = mcu.remedies(
            graph,
            found[0],
            again if zoo else None,
            bits=bits,
            weight_bits=weight_bits,
            width=float(words.get("width", "1")),
        )
    if json_output:
        records = [asdict(row) for row, _ in rows]
        print_json({"boards": records} if everywhere else {**records[0], "remedies": [asdict(r) for r in remedies]})
    else:
        console = make_console()
        tables.write(console, report.boards(rows), csv=csv, markdown=markdown)
        if remedies and not csv:
            tables.write(console, report.remedies(remedies), markdown=markdown)
    if not any(row.fits for row, _ in rows):
        raise typer.Exit(1)


@app.command()
def cost(
    model: ModelArgument,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME|FILE.toml|all", help="A machine; may be said again. All if not said."),
    ] = None,
    bits: PrecisionOption = None,
    node: Annotated[str, typer.Option("--node", metavar="45nm|7nm|FILE.toml", help="Technology of energy.")] = "45nm",
    fps: Annotated[float, typer.Option("--fps", help="Images a second that are asked of a machine.")] = 30.0,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="A page (.html, with pictures), or the table (.md, .csv)."),
    ] = None,
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
    from rillet.analyses import cost as analysis
    from rillet.report import cost as report
    from rillet.report import tables
    from rillet.targets import catalogue
    from rillet.targets.technology import load

    one_form(csv, markdown, json_output)
    USES.check("the table printed" if out is None else "-o", {"--csv": csv, "--markdown": markdown})
    technology = load(node)
    if out is not None:
        one_of("--out: suffix", out.suffix, (".html", ".md", ".csv"))
    said = target or ["all"]
    known = catalogue.names(analysis.KINDS)
    names = dict.fromkeys(name for word in said for name in (known if word == "all" else (word,)))
    machines = [(name, catalogue.need(catalogue.load(name), analysis.MACHINES, "cost", name)) for name in names]
    graph = open_named(model, weights=weights).graph
    with status("planning"):
        found = analysis.costs(graph, machines, technology, fps, bits)
    if out is not None:
        match out.suffix:
            case ".md":
                write(out, tables.as_markdown(report.machines(found, technology, wide=True)))
            case ".csv":
                write(out, tables.as_csv(report.exact(found, technology)))
            case _:
                with status("drawing"):
                    write(out, report.page(graph, found, [machine for _, machine in machines], technology))
    if json_output:
        print_json(
            {"model": found[0].model, "fps": fps, "node": technology.name, "targets": [asdict(c) for c in found]}
        )
    elif out is not None:
        make_console().print(f"{out}: {found[0].model} on {len(found)} machines")
    elif csv:
        tables.write(make_console(), report.exact(found, technology), csv=True)
    else:
        console = make_console()
        if not markdown:
            console.print(report.heading(found))
        tables.write(console, report.machines(found, technology, wide=markdown), markdown=markdown)
    if not any(one.fits for one in found):
        raise typer.Exit(1)
