"""Commands that run a network as a stream: run, verify, plan, emit."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.cli.app import (
    MODEL_HELP,
    JsonOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    make_console,
    numbers,
    open_named,
    parse_size,
    print_json,
    say,
    status,
    warn,
)
from rillet.cli.chips import (
    CeilOption,
    ChipBitsOption,
    ClockOption,
    IntervalOption,
    MemoryOption,
    MultipliersOption,
    NarrowOption,
    TargetOption,
    blocks,
    hertz,
    memory_bits,
    print_pixels,
)
from rillet.errors import GraphError
from rillet.system.options import Uses

if TYPE_CHECKING:
    from rillet.ir.graph import Graph
    from rillet.plan.rows.plan import RowPlan

RUN = Uses({"a picture": ("--resize", "--mean", "--deviation"), "--raw": ()})
"""How a picture becomes the input; an array is one already."""
LabelsOption = Annotated[Path | None, typer.Option("--labels", help="Label file, one class a line.")]
RamOption = Annotated[str | None, typer.Option("--ram", metavar="SIZE", help="Most bytes of activations, as 64KiB.")]
ResidentOption = Annotated[
    bool,
    typer.Option("--resident", help="The whole input image lies in the arena; else its rows are pushed in."),
]
ObjectiveOption = Annotated[
    str | None,
    typer.Option("--objective", metavar="memory|time", help="Least memory (if not said), or least time within --ram."),
]
SlowerOption = Annotated[
    float | None,
    typer.Option("--slower", metavar="PERCENT", min=0, help="Least memory at so much over the least estimated time."),
]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="host|avx512|avx2|neon|portable",
        help="Plan for speed: for this machine (host), or one with these kernels.",
    ),
]


ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Threads that make each tile together, with --target host.")
]


LEAST_MEMORY: tuple[object, ...] = None, None, False, None, None, None
FOR_SPEED: tuple[object, ...] = None, None, False, "host", None, None
"""What `make_plan` takes where nothing is said, and with --target host alone."""


def make_plan(
    graph: "Graph",
    ram: str | None = None,
    objective: str | None = None,
    resident: bool = False,
    target: str | None = None,
    slower: float | None = None,
    threads: int | None = None,
) -> "RowPlan":
    """The row plan of a graph, its batch norms folded; for speed on a host where `target` names one.

    slower: percent of the fastest plan's estimated time that may be added for less memory.
    """
    from rillet.plan import options
    from rillet.targets.host import named_host

    if target is not None:
        named_host(target)
    said = options.PlanOptions(
        target=target,
        ram_bytes=parse_size(ram) if ram is not None else None,
        objective=objective,
        resident=resident,
        slower=slower,
        threads=threads,
    )
    return options.make_plan(graph, said)


def folded(graph: "Graph") -> "Graph":
    """The graph as it is planned: its batch norms folded."""
    from rillet.plan import options

    return options.folded(graph)


def with_weights(graph: "Graph") -> "Graph":
    """The graph, if it can run; raises GraphError with what would."""
    if not graph.params and any(graph.node_params(node) for node in graph.nodes):
        from rillet.models.hub import registry

        joint = "," if "=" in graph.name else ":"
        trained = f"hub:{graph.name} is trained" if graph.name in registry() else "a trained network"
        raise GraphError(
            f"{graph.name}: must have weights to run: {trained}, or {graph.name}{joint}seed=0 for drawn ones"
        )
    return graph


@app.command()
def run(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help=MODEL_HELP)] = None,
    image: Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="A picture.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="IMAGE is an array as stored: .npy, or bytes in row order.")
    ] = False,
    labels: LabelsOption = None,
    resize: Annotated[str | None, typer.Option("--resize", metavar="stretch|crop", help="Fit of the picture.")] = None,
    mean: Annotated[
        str | None, typer.Option("--mean", metavar="M[,M,M]", help="Input: (pixel - mean) / deviation.")
    ] = None,
    deviation: Annotated[str | None, typer.Option("--deviation", metavar="D[,D,D]", help="See --mean.")] = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: HostOption = None,
    threads: ThreadsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Shows a picture to the streamed C program: its classes, or what the outputs hold; and proves what it took.

    Without MODEL: the trained network and the photograph that come with Rillet.
    """
    from rillet.models import specifier as words
    from rillet.report import text
    from rillet.runtime import classify
    from rillet.runtime.identity import identity
    from rillet.runtime.ready import find_ready, make_ready

    if model is None:
        model, image = words.DEMO_MODEL, words.demo_photo()
    if image is None:
        raise GraphError("IMAGE must be given with MODEL: rillet run MODEL IMAGE")
    RUN.check("--raw" if raw else "a picture", {"--resize": resize, "--mean": mean, "--deviation": deviation})
    name, said = model, words.Preprocessing(labels, resize, numbers("--mean", mean), numbers("--deviation", deviation))
    options: tuple[Any, ...] = (ram, objective, resident, target, slower, threads)
    opened = cache(lambda: open_named(name, said, weights))

    def known(options: tuple[object, ...] = options) -> tuple[str, ...] | None:
        found = identity(name, said, weights)
        return None if found is None else (*found, repr(options))

    with status(f"building and running {name}"):
        ready = make_ready(known, lambda: make_plan(with_weights(opened().graph), *options))
        answer = classify.answer(ready, image, raw, told=said != words.Preprocessing())
    if answer.doubt is not None:
        warn(answer.doubt)
    if not json_output:
        console = make_console()
        text.heading(console, image.name, ready.built.graph.name)
        if answer.top:
            text.top(console, answer.top)
        else:
            text.outputs(console, answer.described)
    with status("comparing with the reference"):
        graph, beside = folded(opened().graph), None
        if options == LEAST_MEMORY:
            beside = classify.on_host(graph, find_ready(known(FOR_SPEED)), answer.pixels)
        result = classify.prove(name, answer, graph, beside)
    if json_output:
        print_json(asdict(result))
    else:
        text.proof(make_console(), result)


@app.command()
def verify(
    model: ModelArgument,
    inputs: Annotated[int, typer.Option("--inputs", min=1, help="Seeded random inputs to compare on.")] = 10,
    against: Annotated[
        str | None, typer.Option("--against", metavar="litert|tflm|onnxruntime", help="An oracle as well.")
    ] = None,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: HostOption = None,
    threads: ThreadsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compares reference, C and an oracle byte for byte; exit code 0 only if all agree."""
    from rillet.runtime.verify import verify as compare

    opened = open_named(model, weights=weights)
    plan = make_plan(with_weights(opened.graph), ram, objective, resident, target, slower, threads)
    with Progress("comparing", inputs, json_output) as advance:
        result = compare(plan, inputs, path=opened.path, imported=opened.imported, against=against, progress=advance)
    if json_output:
        print_json({"model": str(opened.path), **asdict(result)})
    elif result.equal:
        names = " = ".join(("reference", *result.against))
        say(f"equal: {names} on {result.inputs} inputs, {result.values:,} values compared")
        if result.rounding is not None:
            say(f"real numbers: within {result.rounding:.1%} of what float32 may round (docs/arithmetic.md)")
        if result.steps_off:
            say(f"integers: {result.steps_off:,} one step off, as they may be (docs/onnx.md)")
    else:
        say(f"different: {result.first_difference}")
    if not result.equal:
        raise typer.Exit(1)


@app.command()
def plan(
    model: ModelArgument,
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: TargetOption = None,
    multipliers: MultipliersOption = None,
    interval: IntervalOption = None,
    memory: MemoryOption = None,
    clock: ClockOption = None,
    bits: ChipBitsOption = None,
    ceil: CeilOption = False,
    narrow: NarrowOption = None,
    threads: ThreadsOption = None,
    several: Annotated[int | None, typer.Option("--several", min=1, help="Cut it over so many chips.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Plans a network as a stream: for a processor, segments and one arena; for a chip, a pipeline that never reloads.

    A chip is meant by --target, --multipliers, --interval or --memory. --target host plans for speed on this machine.
    """
    from rillet.plan import options
    from rillet.report import records, text

    said = options.PlanOptions(
        target=target,
        ram_bytes=parse_size(ram) if ram is not None else None,
        objective=objective,
        resident=resident,
        slower=slower,
        threads=threads,
        multipliers=multipliers,
        interval=interval,
        memory_bits=memory_bits(memory),
        clock_hz=hertz(clock),
        bits=bits,
        ceil=ceil,
        narrow=blocks(narrow),
        several=several,
    )
    graph = open_named(model, weights=weights).graph
    if said.kind is options.PlanKind.CHIP:
        print_pixels(graph, said, json_output)
        return
    made = options.make_plan(graph, said)
    if json_output:
        print_json(records.plan_record(made))
    else:
        text.plan(make_console(), made)


@app.command()
def emit(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the program.")],
    weights: WeightsOption = None,
    ram: RamOption = None,
    objective: ObjectiveOption = None,
    resident: ResidentOption = False,
    slower: SlowerOption = None,
    target: HostOption = None,
    threads: ThreadsOption = None,
    prefix: Annotated[str, typer.Option(metavar="NAME", help="What all names of the program begin with.")] = "net",
    json_output: JsonOption = False,
) -> None:
    """Writes the network as a C99 program with a main.c that reads a raw image."""
    from rillet.backends.c.emit import emit as emit_c
    from rillet.backends.c.flags import build_line, run_line
    from rillet.system.folders import write_folder

    made = make_plan(
        with_weights(open_named(model, weights=weights).graph), ram, objective, resident, target, slower, threads
    )
    files = emit_c(made, prefix=prefix)
    write_folder(out, files)
    if json_output:
        said = {"arena_bytes": made.arena_bytes, "build": build_line(made, prefix)}
        print_json({"folder": str(out), "files": sorted(files), **said})
    else:
        say(f"{out}: {len(files)} files, {made.arena_bytes:,} bytes of activations; build and run with")
        say(f"  {run_line(made, out, prefix)}")
