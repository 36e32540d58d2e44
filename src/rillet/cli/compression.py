"""The command that prunes, shares and measures: compress."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    MarkdownOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    names,
    one_form,
    open_named,
    print_json,
    say,
    status,
)
from rillet.errors import GraphError
from rillet.system.options import Uses

_WHICH = ("--layers", "--more-than")
USES = Uses({"--sparsity": _WHICH, "--bits": _WHICH, "neither": ()})


@app.command()
def compress(
    model: ModelArgument,
    weights: WeightsOption = None,
    sparsity: Annotated[
        float | None, typer.Option("--sparsity", help="Share of each layer's weights that become zero, the least ones.")
    ] = None,
    bits: Annotated[
        int | None, typer.Option("--bits", help="Share weights: at most 2^bits values a layer, beside zero.")
    ] = None,
    more_than: Annotated[
        int | None,
        typer.Option("--more-than", min=0, help="Layers of so few weights stay as they are; 1000 if not said."),
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="NAME,...", help="These layers instead of all large ones.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="A file ending in .rlt or .onnx.")
    ] = None,
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", metavar="DATA", help="Measure top-1 before and after on its test part.")
    ] = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Prunes a network, shares its weights, and shows its size dense, packed and coded."""
    from rillet.analyses.coding import network_size
    from rillet.models.convert import convert
    from rillet.report import sizes as report
    from rillet.report.tables import write
    from rillet.runtime import quantization as work
    from rillet.transforms.fold import fold
    from rillet.transforms.prune import prunable_layers, prune
    from rillet.transforms.share import share

    one_form(csv, markdown, json_output)
    mode = "--sparsity" if sparsity is not None else "--bits" if bits is not None else "neither"
    USES.check(mode, {"--layers": layers, "--more-than": more_than})
    # Folded first: a batch norm folded afterwards would give every channel values of its own.
    graph = fold(open_named(model, weights=weights).graph)
    if not graph.params:
        raise GraphError(f"{graph.name}: must have weights to be compressed, got none")
    if evaluate is not None:
        work.check_classes(graph, evaluate)
    made = graph
    if sparsity is not None or bits is not None:
        chosen = prunable_layers(graph, more_than, names(layers))
        made = made if sparsity is None else prune(made, sparsity, chosen)
        made = made if bits is None else share(made, bits, chosen)
    with status("coding"):
        size = network_size(made)
    before = after = None
    if evaluate is not None:
        with status("measuring accuracy"):
            after = work.accuracy(made, evaluate)
            before = after if made is graph else work.accuracy(graph, evaluate)
    written = None if out is None else convert(made, out)
    record: dict[str, Any] = {
        "sparsity": sparsity or 0.0,
        "bits": bits,
        **asdict(size),
        "top1_before": before,
        "top1": after,
        "file": None if out is None else str(out),
        "file_bytes": written,
    }
    if json_output:
        print_json(record)
        return
    write(make_console(), report.sizes(size), csv=csv, markdown=markdown)
    if csv or markdown:
        return
    if before is not None and after is not None:
        say(f"top-1    {before:.2%} -> {after:.2%}, {100 * (before - after):.2f} points lost")
    if out is not None:
        say(f"{out}: {written:,} bytes, every weight in {'its own type' if made is graph else '32 bits'}")
