"""Commands that look at networks: show, models, count, explain, compare, convert."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import (
    BitsOption,
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
    say,
    status,
)
from rillet.system.options import Uses, at_most_one
from rillet.system.quantities import parse_size

COUNT = Uses({"counts": ("--convention", "--by", "--bits"), "--ternary": ()})
EXPLAIN = Uses({"the whole network": ("--fps", "--board"), "--layer": ()})


@app.command()
def show(
    model: ModelArgument,
    text_form: Annotated[bool, typer.Option("--text", help="The graph's text form.")] = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Lists the layers: shapes, MACs, parameters, quantisation."""
    from rillet.ir.text import print_graph
    from rillet.report import records, text
    from rillet.system.printable import printable

    at_most_one({"--text": text_form, "--json": json_output})
    graph = open_named(model, weights=weights).graph
    if json_output:
        print_json(records.graph_record(graph))
    elif text_form:
        print(printable(print_graph(graph), keep="\n"), end="")
    else:
        text.show(make_console(), graph)


@app.command()
def models(json_output: JsonOption = False) -> None:
    """Lists the networks of the zoo with their parameters, and published trained models and where each is."""
    from rillet.models import hub
    from rillet.report import text
    from rillet.zoo.registry import NETWORKS, described

    found = [(entry, hub.local(entry)) for entry in hub.models()]
    zoo = [described(network) for network in NETWORKS.values()]
    if json_output:
        listed = [{**asdict(entry), "path": str(path) if path else None} for entry, path in found]
        print_json({"models": listed, "zoo": [asdict(network) for network in zoo]})
    else:
        text.zoo(make_console(), zoo)
        print()
        text.models(make_console(), found)


@app.command()
def count(
    model: ModelArgument,
    convention: Annotated[
        str | None,
        typer.Option(
            "--convention", metavar="macs|thop-2020|pthflops|slim|keras", help="What is counted; macs if not said."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="layer|block|kind", help="How it is summed; by block if not said.")
    ] = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    ternary: Annotated[
        bool, typer.Option("--ternary", help="Only how many weights are ternary or binary, and how many at +, 0, -.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Counts MACs, parameters, activations and bytes; says what the convention leaves out."""
    from rillet.analyses.count import Convention
    from rillet.analyses.count import count as count_graph
    from rillet.report import counts
    from rillet.transforms.lowbit import census

    COUNT.check("--ternary" if ternary else "counts", {"--convention": convention, "--by": by, "--bits": bits})
    chosen = Convention(one_of("--convention", convention or "macs", tuple(c.value for c in Convention)))
    key = one_of("--by", by or "block", ("layer", "block", "kind"))
    graph = open_named(model, weights=weights).graph
    if ternary:
        signs = census(graph)
        if json_output:
            print_json(asdict(signs))
        else:
            counts.ternary_text(make_console(), signs)
        return
    counted = count_graph(graph, chosen, bits)
    if json_output:
        print_json(counts.count_record(counted, key))
    else:
        counts.count_table(make_console(), counted, key)


@app.command()
def explain(
    model: ModelArgument,
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="One layer in detail.")] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Images a second that the machine must do, 30 if not said.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", metavar="SIZE", help="Memory of the board, 256KiB if not said.")
    ] = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Shows what depthwise-separable convolutions save, layer by layer, and what a network asks of a machine."""
    from rillet.analyses.explain import demand, explain_layer
    from rillet.analyses.explain import explain as explain_graph
    from rillet.report import counts

    EXPLAIN.check("the whole network" if layer is None else "--layer", {"--fps": fps, "--board": board})
    graph = open_named(model, weights=weights).graph
    if layer is not None:
        one = explain_layer(graph, layer, bits)
        if json_output:
            print_json(asdict(one))
        else:
            counts.layer_text(make_console(), one)
        return
    asked = demand(graph, 30.0 if fps is None else fps, parse_size(board or "256KiB", "--board"), bits)
    layers = explain_graph(graph, bits)
    if json_output:
        print_json({"demand": asdict(asked), "layers": [asdict(one) for one in layers]})
    else:
        counts.explain_table(make_console(), layers, asked)


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two networks or more.")],
    bits: Annotated[int, typer.Option("--bits", metavar="8|32", help="Bits of weights and activations.")] = 8,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Puts networks side by side: MACs, parameters, bytes layer by layer and streamed, published accuracy."""
    from rillet.models.compare import compare as compare_graphs
    from rillet.report import tables

    one_form(csv, markdown, json_output)
    with status("counting and planning"):
        rows = compare_graphs([open_named(name).graph for name in models], bits)
    if json_output:
        print_json({"bits": bits, "networks": [asdict(row) for row in rows]})
    else:
        tables.write(make_console(), tables.comparison(rows, bits), csv=csv, markdown=markdown)


@app.command()
def convert(
    model: ModelArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="A file ending in .onnx, .rlt, .safetensors or .tflite.")
    ],
    weights: WeightsOption = None,
    dequantize: Annotated[bool, typer.Option("--dequantize", help="Make a quantised network a float one.")] = False,
    fold: Annotated[bool, typer.Option("--fold", help="Fold batch norms into the convolutions before them.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Writes a network as a file of another kind."""
    from rillet.models.convert import convert as convert_graph
    from rillet.transforms.dequantize import dequantize as make_float
    from rillet.transforms.fold import fold as fold_graph

    graph = open_named(model, weights=weights).graph
    graph = make_float(graph) if dequantize else graph
    graph = fold_graph(graph) if fold else graph
    written = convert_graph(graph, out)
    if json_output:
        print_json({"file": str(out), "bytes": written, "graph": graph.name, "nodes": len(graph.nodes)})
    else:
        say(f"{out}: {graph.name}, {len(graph.nodes)} nodes, {written:,} bytes")
