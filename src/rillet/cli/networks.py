"""Commands that look at networks: show, models, count, explain, compare, table, draw."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.cli.app import (
    BitsOption,
    JsonOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    one_of,
    open_named,
    parse_size,
    print_json,
    status,
    write,
)
from rillet.errors import GraphError

if TYPE_CHECKING:
    from rillet.report.tables import Table

CsvOption = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]


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

    graph = open_named(model, weights=weights).graph
    if json_output:
        print_json(records.graph_record(graph))
    elif text_form:
        print(print_graph(graph), end="")
    else:
        text.show(make_console(), graph)


@app.command()
def models(json_output: JsonOption = False) -> None:
    """Lists the networks of the zoo with their parameters, and published trained models and where each is."""
    from rillet.report import text
    from rillet.runtime import hub
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
        str, typer.Option("--convention", metavar="macs|thop-2020|pthflops|slim|keras", help="What is counted.")
    ] = "macs",
    by: Annotated[str, typer.Option("--by", metavar="layer|block|kind", help="How the counts are summed.")] = "block",
    weights: WeightsOption = None,
    bits: BitsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Counts MACs, parameters, activations and bytes; says what the convention leaves out."""
    from rillet.analyses.count import Convention
    from rillet.analyses.count import count as count_graph
    from rillet.report import counts

    chosen = Convention(one_of("--convention", convention, tuple(c.value for c in Convention)))
    key = one_of("--by", by, ("layer", "block", "kind"))
    counted = count_graph(open_named(model, weights=weights).graph, chosen, bits)
    if json_output:
        print_json(counts.count_record(counted, key))
    else:
        counts.count_table(make_console(), counted, key)


@app.command()
def explain(
    model: ModelArgument,
    layer: Annotated[str | None, typer.Option("--layer", metavar="NAME", help="One layer in detail.")] = None,
    fps: Annotated[float, typer.Option("--fps", help="Images a second that the machine must do.")] = 30.0,
    board: Annotated[str, typer.Option("--board", metavar="SIZE", help="Memory of the board.")] = "256KiB",
    weights: WeightsOption = None,
    bits: BitsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Shows what depthwise-separable convolutions save, layer by layer, and what a network asks of a machine."""
    from rillet.analyses.explain import demand, explain_layer
    from rillet.analyses.explain import explain as explain_graph
    from rillet.report import counts

    graph = open_named(model, weights=weights).graph
    if layer is not None:
        one = explain_layer(graph, layer, bits)
        if json_output:
            print_json(asdict(one))
        else:
            counts.layer_text(make_console(), one)
        return
    asked = demand(graph, fps, parse_size(board, "--board"), bits)
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
    from rillet.report import tables
    from rillet.runtime.compare import compare as compare_graphs

    with status("counting and planning"):
        rows = compare_graphs([open_named(name).graph for name in models], bits)
    if json_output:
        print_json({"bits": bits, "networks": [asdict(row) for row in rows]})
    else:
        tables.write(make_console(), tables.comparison(rows, bits), csv=csv, markdown=markdown)


TABLES = ("alpha", "fuseconv", "impossible", "recompute", "narrow")


@app.command()
def table(
    name: Annotated[str, typer.Argument(metavar="|".join(TABLES), help="Which table.")],
    model: Annotated[
        str,
        typer.Argument(metavar="[MODEL]", help="Of impossible, recompute and narrow: MobileNetV2 else."),
    ] = "mobilenet_v2:top=false",
    speedup: Annotated[bool, typer.Option("--speedup", help="Of fuseconv: the speedups on an array.")] = False,
    array: Annotated[int, typer.Option("--array", min=1, help="Rows and columns of that array.")] = 64,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Prints a table of the sources, the printed numbers beside the true ones: MobileNetV1 by width (alpha), FuSeConv's
    networks, the impossible goal (its multipliers and buffers, the price of none, the narrow side of each block).
    """
    from rillet.report import tables

    chosen = one_of("table", name, TABLES)
    if speedup and chosen != "fuseconv":
        raise GraphError(f"--speedup must come with the table fuseconv, got {chosen}")
    record, made = _speedups(array) if speedup else _table(chosen, model)
    if json_output:
        print_json({"table": name, **record})
    else:
        tables.write(make_console(), made, csv=csv, markdown=markdown)


def _speedups(array: int) -> "tuple[dict[str, Any], Table]":
    from rillet.analyses.speedups import speedups
    from rillet.report import systolic
    from rillet.runtime.models import open_model

    rows = speedups(lambda model: open_model(model).graph, array)
    return {"array": array, "rows": [asdict(row) for row in rows]}, systolic.speedups(rows)


def _table(name: str, model: str) -> "tuple[dict[str, Any], Table]":
    """A table as a record and as people read it."""
    from rillet.analyses import tables as computed
    from rillet.analyses.impossible import impossible
    from rillet.analyses.narrow import narrow
    from rillet.analyses.recompute import granularities
    from rillet.report import impossible as goal
    from rillet.report import tables
    from rillet.runtime.models import open_model

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
        case _:
            options = narrow(open_named(model).graph)
            return asdict(options), goal.narrow_table(options)


@app.command()
def draw(
    model: ModelArgument,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Where the picture goes.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="svg|mermaid", help="Kind of picture.")] = "svg",
    json_output: JsonOption = False,
) -> None:
    """Draws a network: blocks wide by channels and high by resolution, skips, MACs and parameters."""
    from rillet.report.draw import svg
    from rillet.report.mermaid import mermaid

    chosen = one_of("--format", form, ("svg", "mermaid"))
    graph = open_named(model).graph
    picture = svg(graph) if chosen == "svg" else mermaid(graph)
    if out is not None:
        write(out, picture)
    if json_output:
        print_json({"format": chosen, "file": str(out) if out else None, "picture": None if out else picture})
    elif out is None:
        print(picture, end="")
    else:
        print(f"{out}: {graph.name} as {chosen}")


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
    from rillet.runtime.convert import convert as convert_graph
    from rillet.transforms.dequantize import dequantize as make_float
    from rillet.transforms.fold import fold as fold_graph

    graph = open_named(model, weights=weights).graph
    graph = make_float(graph) if dequantize else graph
    graph = fold_graph(graph) if fold else graph
    written = convert_graph(graph, out)
    if json_output:
        print_json({"file": str(out), "bytes": written, "graph": graph.name, "nodes": len(graph.nodes)})
    else:
        print(f"{out}: {graph.name}, {len(graph.nodes)} nodes, {written:,} bytes")
