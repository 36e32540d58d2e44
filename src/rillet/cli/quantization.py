"""The command that makes integers of a float network: quantize."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rillet.cli.app import (
    JsonOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    make_console,
    one_of,
    open_named,
    print_json,
    status,
)
from rillet.cli.networks import CsvOption, MarkdownOption
from rillet.cli.streams import with_weights
from rillet.errors import GraphError, Unsupported


@app.command()
def quantize(
    model: ModelArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="cifar10[:DIR]|cifar100[:DIR]|DIR|random",
            help="Pictures to calibrate with, their training part; or noise, where accuracy does not matter.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="A file ending in .rlt or .onnx.")
    ] = None,
    weights: WeightsOption = None,
    bits: Annotated[str, typer.Option("--bits", metavar="8|ternary|binary", help="Bits of a weight.")] = "8",
    rounding: Annotated[
        str, typer.Option("--rounding", metavar="shift|fixed_point", help="How results are rounded.")
    ] = "shift",
    calibration: Annotated[
        str, typer.Option("--calibration", metavar="minmax|percentile|mse", help="How ranges are chosen.")
    ] = "percentile",
    equalize: Annotated[bool, typer.Option("--equalize", help="Even out channels across layers before.")] = False,
    correct_bias: Annotated[
        bool, typer.Option("--correct-bias", help="Take the mean error of rounded weights out of the biases.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pictures to calibrate with.")] = 128,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Measure accuracy before and after, on the test part.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Only print accuracy and size under both rules and all calibrations.")
    ] = False,
    layers: Annotated[bool, typer.Option("--layers", help="Show how much each layer loses, in decibels.")] = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Makes a network of 8-bit integers of a float one, by post-training quantisation."""
    from rillet.report import quantization as report
    from rillet.report.tables import write
    from rillet.runtime import quantization as work
    from rillet.runtime.convert import convert
    from rillet.transforms.quantize import Quantization, Rule, was_quantized
    from rillet.transforms.quantize import quantize as quantize_graph
    from rillet.transforms.statistics import Calibration

    if one_of("--bits", bits, ("8", "ternary", "binary")) != "8":
        raise Unsupported(f"--bits must be 8 here: {bits} weights must be trained, not rounded afterwards")
    if compare and (out is not None or layers):
        raise GraphError("--compare must come without -o and --layers: it makes a network for each row, and keeps none")
    rule = Rule(one_of("--rounding", rounding, tuple(r.value for r in Rule)))
    method = Calibration(one_of("--calibration", calibration, tuple(c.value for c in Calibration)))
    graph = with_weights(open_named(model, weights=weights).graph)
    if evaluate or compare:
        work.check_classes(graph, data)
    with Progress("calibrating", limit, json_output) as advance:
        calibrated = work.calibrate(graph, data, limit, equalize, advance)
    if was_quantized(calibrated.graph) and (compare or rule is Rule.SHIFT):
        print(
            f"rillet: {graph.name}: weights were 8-bit integers before; "
            "--rounding fixed_point keeps them as they were, shift rounds them again",
            file=sys.stderr,
        )
    if compare:
        with Progress("comparing", 1 + len(Rule) * len(Calibration), json_output) as advance:
            rows = work.compare(calibrated, data, correct_bias, progress=advance)
        if json_output:
            print_json({"model": graph.name, "images": calibrated.images, "rows": [asdict(row) for row in rows]})
        else:
            write(make_console(), report.comparison(rows), csv=csv, markdown=markdown)
        return
    made = quantize_graph(calibrated.graph, calibrated.seen, Quantization(rule, method, correct_bias))
    written = None if out is None else convert(made, out)
    before = after = None
    if evaluate:
        with status("measuring accuracy"):
            before, after = work.accuracy(calibrated.graph, data), work.accuracy(made, data)
    errors = work.layer_errors(calibrated, made) if layers else []
    record: dict[str, Any] = {
        "model": graph.name,
        "rounding": rule.value,
        "calibration": method.value,
        "images": calibrated.images,
        "float_weight_bytes": calibrated.graph.weight_bytes,
        "weight_bytes": made.weight_bytes,
        "file": None if out is None else str(out),
        "file_bytes": written,
        "float_top1": before,
        "top1": after,
    }
    if json_output:
        print_json(record | ({"layers": [asdict(error) for error in errors]} if layers else {}))
        return
    print(f"{graph.name} in int8, rounding {rule.value}, {method.value} of {calibrated.images} pictures")
    print(f"weights  {calibrated.graph.weight_bytes:,} B -> {made.weight_bytes:,} B")
    if before is not None and after is not None:
        print(f"top-1    {before:.2%} -> {after:.2%}, {100 * (before - after):.2f} points lost")
    if out is not None:
        print(f"{out}: {written:,} bytes")
    if layers:
        write(make_console(), report.layers(errors), csv=csv, markdown=markdown)
