"""Commands that look at networks: show, models, count, explain, compare, convert."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rillet.cli.app import (
    BitsOption,
    CsvOption,
    JsonOption,
    LiveOption,
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
)
from rillet.cli.options import (
    BoardMemoryOption,
    ByOption,
    ConventionOption,
    ConvertFileOption,
    DemandOption,
    DequantizeOption,
    FoldOption,
    LayerOption,
    LiveCountOption,
    TernaryCountOption,
)
from rillet.system.options import Uses, at_most_one

if TYPE_CHECKING:
    from rillet import Graph

COUNT = Uses({"counts": ("--convention", "--by", "--bits"), "--ternary": (), "--live": ()})
KEYS = ("layer", "block", "kind")


@app.command()
def show(
    model: ModelArgument,
    text_form: Annotated[bool, typer.Option("--text", help="The graph's text form.")] = False,
    weights: WeightsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Lists the layers: shapes, MACs, parameters, quantisation."""
    from rillet.api.networks import print_graph
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
    from rillet.api.networks import published, zoo_networks
    from rillet.report import text

    found, zoo = published(), zoo_networks()
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
    convention: ConventionOption = None,
    by: ByOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    ternary: TernaryCountOption = False,
    live: LiveCountOption = False,
    json_output: JsonOption = False,
) -> None:
    """Counts MACs, parameters, activations and bytes; says what the convention leaves out."""
    from rillet.api import analysis
    from rillet.report import counts

    at_most_one({"--ternary": ternary, "--live": live})
    mode = "--ternary" if ternary else "--live" if live else "counts"
    COUNT.check(mode, {"--convention": convention, "--by": by, "--bits": bits})
    key = one_of("--by", by or "block", KEYS)
    graph = open_named(model, weights=weights).graph
    if live:
        _count_live(graph, json_output)
        return
    if ternary:
        signs = analysis.census(graph)
        if json_output:
            print_json(asdict(signs))
        else:
            counts.ternary_text(make_console(), signs)
        return
    counted = analysis.count(graph, convention or "macs", bits=bits)
    if json_output:
        print_json(counts.count_record(counted, key))
    else:
        counts.count_table(make_console(), counted, key)


def _count_live(graph: "Graph", json_output: bool) -> None:
    from rillet.api import changes
    from rillet.report import tables
    from rillet.report.live import live_table

    found = changes.live(graph)
    if json_output:
        print_json(found.to_dict())
    else:
        tables.write(make_console(), live_table(found))


@app.command()
def explain(
    model: ModelArgument,
    layer: LayerOption = None,
    fps: DemandOption = None,
    board: BoardMemoryOption = None,
    weights: WeightsOption = None,
    bits: BitsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Shows what depthwise-separable convolutions save, layer by layer, and what a network asks of a machine."""
    from rillet.api import analysis
    from rillet.report import counts

    found = analysis.explain(open_named(model, weights=weights).graph, layer, fps=fps, board=board, bits=bits)
    if json_output:
        print_json(found.to_dict())
    elif isinstance(found, analysis.Explanation):
        counts.layer_text(make_console(), found)
    else:
        counts.explain_table(make_console(), found.layers, found.demand)


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two networks or more.")],
    bits: Annotated[int, typer.Option("--bits", metavar="8|32", help="Bits of weights and activations.")] = 8,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Puts networks side by side: MACs, parameters, bytes layer by layer and streamed, published accuracy."""
    from rillet.api import analysis
    from rillet.report import tables
    from rillet.report.progress import silent

    one_form(csv, markdown, json_output)
    found = analysis.compare(
        [open_named(name).graph for name in models], bits=bits, progress=silent if json_output else None
    )
    if json_output:
        print_json(found.to_dict())
    else:
        tables.write(make_console(), tables.comparison(found.networks, bits), csv=csv, markdown=markdown)


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
