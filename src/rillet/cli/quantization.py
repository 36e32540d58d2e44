"""The command that makes integers of a float network: quantize."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rillet.api.networks import with_weights
from rillet.cli.app import (
    JsonOption,
    ModelArgument,
    Progress,
    WeightsOption,
    app,
    make_console,
    one_form,
    one_of,
    open_named,
    print_json,
    say,
    status,
    warn,
)
from rillet.cli.networks import CsvOption, MarkdownOption
from rillet.errors import GraphError
from rillet.system.options import Uses

if TYPE_CHECKING:
    from rillet.ir.graph import Graph

_INTEGERS = ("--rounding", "--calibration", "--correct-bias", "--limit", "--evaluate", "--layers", "-o")
USES = Uses(
    {
        "--bits 8": (*_INTEGERS, "--equalize"),
        "--compare": ("--correct-bias", "--limit", "--equalize"),
        "--bits ternary": (*_INTEGERS, "--threshold"),
        "--bits binary": _INTEGERS,
        "--bits ternary --float": ("--threshold", "--evaluate", "-o"),
        "--bits binary --float": ("--evaluate", "-o"),
    }
)
"""What is made, and what may be said with it."""
SHOWN = Uses({"--compare": ("--csv", "--markdown"), "--layers": ("--csv", "--markdown"), "neither": ()})
"""What is shown as a table."""


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
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0.0,
            max=1.0,
            help="What becomes 0 of weights not trained to be ternary: a share of the greatest; else 0.7 of the mean.",
        ),
    ] = None,
    real: Annotated[
        bool, typer.Option("--float", help="With few bits: keep values, and all other weights, real numbers.")
    ] = False,
    rounding: Annotated[
        str | None,
        typer.Option("--rounding", metavar="shift|fixed_point", help="How results are rounded; shift if not said."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="minmax|percentile|mse",
            help="How ranges are chosen; percentile if not said.",
        ),
    ] = None,
    equalize: Annotated[bool, typer.Option("--equalize", help="Even out channels across layers before.")] = False,
    correct_bias: Annotated[
        bool, typer.Option("--correct-bias", help="Take the mean error of rounded weights out of the biases.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Pictures to calibrate with, 128 if not said.")
    ] = None,
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
    """Makes a network of 8-bit integers of a float one, by post-training quantisation; large layers of fewer bits."""
    from rillet.models.convert import convert
    from rillet.report import quantization as report
    from rillet.report.tables import write
    from rillet.runtime import quantization as work
    from rillet.transforms.fold import fold
    from rillet.transforms.lowbit import pack
    from rillet.transforms.quantize import Quantization, Rule, was_quantized
    from rillet.transforms.quantize import quantize as quantize_graph
    from rillet.transforms.statistics import Calibration

    few = one_of("--bits", bits, ("8", "ternary", "binary")) != "8"
    if few and compare:
        raise GraphError(f"--compare must come with --bits 8, got {bits}")
    if not few and real:
        raise GraphError("--float must come with --bits ternary or binary, got 8")
    said = {
        "-o": out,
        "--threshold": threshold,
        "--rounding": rounding,
        "--calibration": calibration,
        "--equalize": equalize,
        "--correct-bias": correct_bias,
        "--limit": limit,
        "--evaluate": evaluate,
        "--layers": layers,
    }
    USES.check("--compare" if compare else f"--bits {bits}{' --float' if real else ''}", said)
    shown = "--compare" if compare else "--layers" if layers else "neither"
    SHOWN.check(shown, {"--csv": csv, "--markdown": markdown})
    one_form(csv, markdown, json_output)
    rule = Rule(one_of("--rounding", rounding or "shift", tuple(r.value for r in Rule)))
    method = Calibration(one_of("--calibration", calibration or "percentile", tuple(c.value for c in Calibration)))
    limit = 128 if limit is None else limit
    graph = with_weights(open_named(model, weights=weights).graph)
    if evaluate or compare:
        work.check_classes(graph, data)
    original = graph
    if few:
        graph, trained = work.with_few_bits(graph, bits, threshold)
        if not trained:
            warn(f"{graph.name}: weights were not trained to be {bits}; expect to lose accuracy")
    if real:
        made, was_float = pack(fold(graph)), fold(original)
        written = None if out is None else convert(made, out)
        before, after = _top1(was_float, made, data) if evaluate else (None, None)
        _report(_record(was_float, made, bits, before, after, out, written), json_output)
        return
    with Progress("calibrating", limit, json_output) as advance:
        calibrated = work.calibrate(graph, data, limit, equalize, advance)
    if was_quantized(calibrated.graph) and (compare or rule is Rule.SHIFT):
        warn(
            f"{graph.name}: weights were 8-bit integers before; "
            "--rounding fixed_point keeps them as they were, shift rounds them again"
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
    made = pack(made) if few else made
    written = None if out is None else convert(made, out)
    was_float = fold(original) if few else calibrated.graph
    before, after = _top1(was_float, made, data) if evaluate else (None, None)
    record = _record(was_float, made, bits, before, after, out, written)
    record |= {"rounding": rule.value, "calibration": method.value, "images": calibrated.images}
    errors = work.layer_errors(calibrated, made) if layers else []
    if json_output:
        print_json(record | ({"layers": [asdict(error) for error in errors]} if layers else {}))
        return
    _report(record, json_output)
    if layers:
        write(make_console(), report.layers(errors), csv=csv, markdown=markdown)


def _top1(before: "Graph", after: "Graph", data: str) -> tuple[float, float]:
    from rillet.runtime.quantization import accuracy

    with status("measuring accuracy"):
        return accuracy(before, data), accuracy(after, data)


def _record(
    before: "Graph",
    made: "Graph",
    bits: str,
    top1_before: float | None,
    top1: float | None,
    out: Path | None,
    size: int | None,
) -> dict[str, Any]:
    from rillet.transforms.lowbit import census

    counted = census(made)
    return {
        "model": before.name,
        "bits": bits,
        "few_bits": {"tensors": counted.tensors, "plus": counted.plus, "zero": counted.zero, "minus": counted.minus},
        "float_weight_bytes": before.weight_bytes,
        "weight_bytes": made.weight_bytes,
        "file": None if out is None else str(out),
        "file_bytes": size,
        "float_top1": top1_before,
        "top1": top1,
    }


def _report(record: dict[str, Any], json_output: bool) -> None:
    if json_output:
        print_json(record)
        return
    how = "real numbers"
    if "rounding" in record:
        how = f"int8, rounding {record['rounding']}, {record['calibration']} of {record['images']} pictures"
    say(f"{record['model']} in {how}")
    few = record["few_bits"]
    if record["bits"] != "8":
        say(f"{record['bits']:8} {few['tensors']} tensors: {few['plus']:,} +, {few['zero']:,} 0, {few['minus']:,} -")
    say(f"weights  {record['float_weight_bytes']:,} B -> {record['weight_bytes']:,} B")
    if record["top1"] is not None:
        lost = 100 * (record["float_top1"] - record["top1"])
        say(f"top-1    {record['float_top1']:.2%} -> {record['top1']:.2%}, {lost:.2f} points lost")
    if record["file"] is not None:
        say(f"{record['file']}: {record['file_bytes']:,} bytes")
