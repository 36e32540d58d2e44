"""Counts and explanations, for the terminal and as records."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from rillet.analyses.count import Count, Layer, by
from rillet.analyses.explain import Demand, Explanation
from rillet.report.screen import BAR, Grid, Screen, columns
from rillet.report.text import bytes_text, facts
from rillet.transforms.lowbit import TernaryReport


def summed(counted: Count, key: str) -> tuple[Layer, ...]:
    """The layers themselves, or summed by `block` or `kind`."""
    if key == "layer":
        return counted.layers
    return by(counted, (lambda layer: layer.block or layer.name) if key == "block" else (lambda layer: layer.kind))


def count_record(counted: Count, key: str) -> dict[str, Any]:
    """A count with its layers summed by `key`."""
    record = asdict(counted)
    record["by"] = key
    record["layers"] = [asdict(layer) for layer in summed(counted, key)]
    for layer in record["layers"]:
        layer["shape"] = list(layer["shape"].values()) if layer["shape"] else None
    return record


def ternary_text(console: Screen, counted: TernaryReport) -> None:
    """How many weights are binary or ternary, in which layers."""
    console.print(
        f"{counted.tensors} tensors of {counted.params:,} weights are ternary or binary: {counted.plus:,} at +, "
        f"{counted.zero:,} at 0, {counted.minus:,} at -"
    )
    console.print(f"{counted.other_tensors} tensors of {counted.other_params:,} numbers are not")


def count_table(console: Screen, counted: Count, key: str) -> None:
    """The layers with bars, the totals, and what was left out."""
    names = (key, "kind", "output", "MACs", "share", "", "parameters", "activations")
    if key != "layer":
        names = (key, "MACs", "share", "", "parameters", "activations")
    if counted.convention in ("thop-2020", "pthflops"):
        names = tuple("operations" if name == "MACs" else name for name in names)
    rows: list[tuple[str | Text, ...]] = []
    layers = summed(counted, key)
    most = max((layer.macs for layer in layers), default=0)
    for layer in layers:
        where = (layer.name, layer.kind, str(layer.shape)) if key == "layer" else (layer.name,)
        bar = "█" * round(16 * layer.macs / most) if most else ""
        share = f"{layer.macs / counted.macs:.1%}" if layer.macs else ""
        rows.append((*where, _number(layer.macs), share, Text(bar, BAR), *_rest(layer)))
    leave = ("", "output", "kind", "activations", "share", "parameters")
    console.draw(Grid(columns(names, words=(key, "kind", "output", ""), leave=leave), rows))
    what = "operations" if counted.convention in ("thop-2020", "pthflops") else "MACs"
    console.print(
        f"{counted.name}, convention {counted.convention}: {counted.macs:,} {what}, {counted.params:,} parameters"
    )
    console.print(
        f"at {counted.weight_bits} bits, batch norms folded: weights {bytes_text(counted.weight_bytes)}, "
        f"activations layer by layer {bytes_text(counted.peak_activation_bytes)} at the most, "
        f"traffic {bytes_text(counted.traffic_bytes)}"
    )
    console.print(
        f"{counted.macs_per_weight:.1f} MACs a weight, {counted.arithmetic_intensity:.1f} MACs a byte of traffic, "
        f"{counted.activations:,} activations"
    )
    if counted.shared:
        console.print(f"{counted.shared} arrays are those of earlier layers, and counted there", markup=False)
    left = ", ".join(f"{u.what} ({u.nodes} x, {u.values:,} values)" for u in counted.uncounted)
    console.print(f"not counted by this convention: {left or 'nothing'}")


def _number(value: int) -> str:
    return f"{value:,}" if value else ""


def _rest(layer: Layer) -> tuple[str, str]:
    return _number(layer.params), _number(layer.activations)


def explain_table(console: Screen, layers: Sequence[Explanation], asked: Demand) -> None:
    """Every separable pair beside the standard convolution that it stands for, and what a machine must do."""
    names = ("layers", "window", "channels", "pair", "standard", "pair / standard", "1/N + 1/K²")
    rows: list[tuple[str, ...]] = []
    pairs = standards = 0
    for one in layers:
        if not one.pair or one.name != one.pair[-1] or one.ratio is None:
            continue
        filters = [layer for layer in layers if layer.name in one.pair[:-1]]
        pairs += one.pair_multiplications or 0
        standards += one.standard_multiplications or 0
        windows = " + ".join(f"{f.kernel[0]}x{f.kernel[1]}" for f in filters)
        stride = f" /{filters[0].stride[0]}" if filters[0].stride != (1, 1) else ""
        row = (
            f"{filters[0].name} + {one.name.removeprefix(one.block + '.')}",
            windows + stride,
            f"{filters[0].input_shape.channels} -> {one.output_shape.channels}",
            f"{one.pair_multiplications:,}",
            f"{one.standard_multiplications:,}",
            f"{one.ratio:.4f}",
            f"{one.formula_ratio:.4f}" if one.formula_ratio else "",
        )
        rows.append(row)
    if pairs:
        leave = ("1/N + 1/K²", "window", "channels", "standard", "pair")
        console.draw(Grid(columns(names, words=("layers", "window", "channels"), leave=leave), rows))
        console.print(
            f"depthwise-separable pairs: {pairs:,} multiplications; standard convolutions would take {standards:,}, "
            f"{standards / pairs:.1f} x as many"
        )
    else:
        console.print(f"{asked.name}: no depthwise convolution with a pointwise one behind it")
    console.print(
        f"at {asked.frames_per_second:g} images a second: {asked.macs_per_second / 1e9:.2f} G MACs a second "
        f"({asked.operations_per_second / 1e9:.2f} G operations), "
        f"{asked.input_bytes_per_second / 1e6:.2f} MB/s of pixels, "
        f"{asked.weight_bytes_per_second / 1e6:,.0f} MB/s of weights if they are read for each image, "
        f"{asked.traffic_bytes_per_second / 1e6:,.0f} MB/s in all, layer by layer"
    )
    over = asked.model_over_board
    fits = f"{over:.1f} x the board's" if over > 1 else f"{over:.0%} of the board's"
    console.print(f"weights {bytes_text(asked.model_bytes)}: {fits} {bytes_text(asked.board_bytes)}")


def layer_text(console: Screen, one: Explanation) -> None:
    """One layer in detail."""
    kernel, stride = f"{one.kernel[0]}x{one.kernel[1]}", f"{one.stride[0]}x{one.stride[1]}"
    rows = [
        ("layer", f"{one.name} ({one.kind})", f"{one.input_shape} -> {one.output_shape}"),
        ("window", f"{kernel}, stride {stride}", f"{one.weights:,} weights, {bytes_text(one.weight_bytes)}"),
        ("multiplications", f"{one.multiplications:,}", _product(one)),
        ("an input value", f"used {one.uses_of_an_input:g} times", "on average, over window and output channels"),
        ("a weight", f"used {one.uses_of_a_weight:,} times", "once for each output pixel"),
        ("memory", f"{bytes_text(one.input_bytes)} in", f"{bytes_text(one.output_bytes)} out, as full tensors"),
        ("as a stream", bytes_text(one.ring_bytes), "of input: K - 1 rows and K pixels"),
    ]
    if one.pair:
        rows.append(("separable pair", " + ".join(one.pair), f"{one.pair_multiplications:,} multiplications"))
        rows.append(("standard", f"{one.standard_multiplications:,}", "for the same window, channels and output"))
    elif one.ratio is not None:
        rows.append(("separable", f"{one.pair_multiplications:,}", "as a depthwise and a pointwise convolution"))
    if one.ratio is not None:
        formula = f"1/N + 1/K² = {one.formula_ratio:.4f}" if one.formula_ratio else ""
        rows.append(("ratio", f"{one.ratio:.4f}", formula))
    console.draw(facts(rows))


def _product(one: Explanation) -> str:
    out, each = one.output_shape, one.multiplications // one.output_shape.elements
    return f"{out.height} x {out.width} pixels x {out.channels} channels x {each:,} each"
