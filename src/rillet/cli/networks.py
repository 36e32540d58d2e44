"""Commands that look at networks: show, models, count, explain, compare, convert."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    BitsOption,
    JsonOption,
    LiveOption,
    ModelArgument,
    WeightsOption,
    app,
    one_of,
    open_named,
    print_json,
    say,
    shared,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import (
    BoardMemoryOption,
    ByOption,
    ComparedMachinesOption,
    ComparePageOption,
    ConventionOption,
    ConvertFileOption,
    DemandOption,
    DequantizeOption,
    FoldOption,
    LayerOption,
    LiveCountOption,
    SignsOption,
)
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet import Graph
    from rillet.report.screen import Screen

COUNT = Uses({"counts": ("--convention", "--by", "--bits"), "--signs": (), "--live": ()})
COMPARE = Uses({"the table printed": (), "-o": ("--target",)})
KEYS = ("layer", "block", "kind")


@command
def show(
    model: ModelArgument,
    text_form: Annotated[bool, typer.Option("--text", help="Print the graph's text form.")] = False,
    weights: WeightsOption = None,
    *,
    form: Form,
) -> None:
    """Lists the layers: shapes, MACs, parameters, quantisation."""
    from rillet.api.networks import print_graph
    from rillet.report import records, text
    from rillet.system.printable import printable

    at_most_one({"--text": text_form, **form.asked})
    graph = open_named(model, weights=weights).graph
    if text_form:
        print(printable(print_graph(graph), keep="\n"), end="")
    else:
        form.show(lambda: records.graph_record(graph), lambda console: text.show(console, graph))


@command
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A published model, to see its card: data, accuracy, costs.")
    ] = None,
    *,
    form: Form,
) -> None:
    """Lists the networks of the zoo with their parameters, and published trained models and where each is."""
    from rillet.api.networks import card, published, zoo_networks
    from rillet.report import card as report
    from rillet.report import tables, text

    if name is not None:
        made = card(name)
        form.show(made.to_dict, lambda console: [tables.write(console, one) for one in report.tables(made)])
        return
    found, zoo = published(), zoo_networks()

    def record() -> dict[str, object]:
        listed = [{**asdict(entry), "path": str(path) if path else None} for entry, path in found]
        return {"models": listed, "zoo": [asdict(network) for network in zoo]}

    def both(console: "Screen") -> None:
        text.zoo(console, zoo)
        console.print()
        text.models(console, found)

    form.show(record, both)


@command
def ops(
    file_format: Annotated[
        str | None, typer.Option("--format", help="Format of the models: tflite, onnx or torch; default all three.")
    ] = None,
    *,
    form: Form,
) -> None:
    """Lists the operators that Rillet reads, what each becomes in a network, and its limits."""
    from rillet.api.networks import FORMATS, operators
    from rillet.report import text

    asked = FORMATS if file_format is None else (one_of("--format", file_format, FORMATS),)
    found = {name: operators(name) for name in asked}
    keys = ("operator", "becomes", "limits")
    form.show(
        lambda: {name: [dict(zip(keys, row, strict=True)) for row in rows] for name, rows in found.items()},
        lambda console: text.operators(console, found),
    )


@command
def count(
    model: ModelArgument,
    convention: ConventionOption = None,
    by: ByOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    signs: SignsOption = False,
    live: LiveCountOption = False,
    *,
    form: Form,
) -> None:
    """Counts MACs, parameters, activations and bytes; says what the convention leaves out."""
    from rillet.api import analysis
    from rillet.report import counts

    at_most_one({"--signs": signs, "--live": live})
    mode = "--signs" if signs else "--live" if live else "counts"
    COUNT.check(mode, {"--convention": convention, "--by": by, "--bits": bits})
    key = one_of("--by", by or "block", KEYS)
    graph = open_named(model, weights=weights).graph
    if live:
        _count_live(graph, form)
        return
    if signs:
        found = analysis.census(graph)
        form.show(lambda: asdict(found), lambda console: counts.ternary_text(console, found))
        return
    counted = analysis.count(graph, convention or "macs", bits=bits)
    form.show(lambda: counts.count_record(counted, key), lambda console: counts.count_table(console, counted, key))


def _count_live(graph: "Graph", form: Form) -> None:
    from rillet.api import changes
    from rillet.report import tables
    from rillet.report.live import live_table

    found = changes.live(graph)
    form.show(found.to_dict, lambda console: tables.write(console, live_table(found)))


@command
def explain(
    model: ModelArgument,
    layer: LayerOption = None,
    fps: DemandOption = None,
    memory: BoardMemoryOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    *,
    form: Form,
) -> None:
    """Shows what depthwise-separable convolutions save, layer by layer, and what a network asks of a machine."""
    from rillet.api import analysis
    from rillet.report import counts

    found = analysis.explain(open_named(model, weights=weights).graph, layer, fps=fps, memory=memory, bits=bits)

    def text(console: "Screen") -> None:
        if isinstance(found, analysis.Explanation):
            counts.layer_text(console, found)
        else:
            counts.explain_table(console, found.layers, found.demand)

    form.show(found.to_dict, text)


@command
def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two networks or more.")],
    bits: Annotated[int, shared("--bits", metavar="8|32")] = 8,
    out: ComparePageOption = None,
    target: ComparedMachinesOption = None,
    *,
    form: Form,
) -> None:
    """Compares networks: MACs, parameters, bytes layer by layer and streamed, published accuracy.

    With -o page.html: a page that draws any two of these, or latency and energy on machines, against each other, with
    the networks that no other beats in both.
    """
    from rillet.api import analysis, pages
    from rillet.report import tables
    from rillet.report.progress import silent

    COMPARE.check("the table printed" if out is None else "-o", {"--target": target})
    if out is not None:
        one_of("--out: suffix", out.suffix, (".html",))
    nets, progress = [open_named(name).graph for name in models], silent if form.json else None
    if out is None:
        found = analysis.compare(nets, bits=bits, progress=progress)
    else:
        found, page = pages.compare_page(nets, out, target, bits=bits, progress=progress)
        if form.text:
            say(f"{out}: {len(nets)} networks on {page.machines} machines; open it in a browser")
            return
    form.show(found.to_dict, lambda console: tables.write(console, tables.comparison(found.networks, bits)))


@app.command()
def convert(
    model: ModelArgument,
    out: ConvertFileOption,
    weights: WeightsOption = None,
    dequantize: DequantizeOption = False,
    fold: FoldOption = False,
    live: LiveOption = False,
    json_output: JsonOption = False,
) -> None:
    """Writes a network as a file of another kind."""
    from rillet.api import changes, networks

    graph = open_named(model, weights=weights, live=live).graph
    graph = changes.dequantize(graph) if dequantize else graph
    graph = changes.fold(graph) if fold else graph
    written = networks.save(graph, out)
    if json_output:
        print_json({"file": str(out), "bytes": written, "graph": graph.name, "nodes": len(graph.nodes)})
    else:
        say(f"{out}: {graph.name}, {len(graph.nodes)} nodes, {written:,} bytes")
