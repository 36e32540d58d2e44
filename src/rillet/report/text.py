"""Tables and sentences for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from rillet.backends.c.footprint import footprint
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs, op_name, op_window
from rillet.ir.types import TensorType
from rillet.plan.rows.plan import BufferKind, RowPlan
from rillet.report import board
from rillet.report.screen import BAR, Grid, Screen, columns
from rillet.system.printable import printable

if TYPE_CHECKING:
    from rillet.analyses.boxes import Box
    from rillet.analyses.classify import Class, Output
    from rillet.analyses.regions import Region
    from rillet.importers.supported import Rows
    from rillet.models.hub import Published
    from rillet.runtime.classify import OnHost, RunResult
    from rillet.runtime.emulator.proof import CoreVerification
    from rillet.runtime.verify import Verification
    from rillet.zoo.registry import Described


def bytes_text(count: int) -> str:
    """A number of bytes, in KiB beside it where it is more than one."""
    if count < 1024:
        return f"{count} B"
    return f"{count:,} B ({count / 1024:,.1f} KiB)"


def node_text(graph: Graph, node: Node) -> str:
    """What a node does, in a few words: `conv 3x3 /2 relu6`."""
    op, words = node.op, [op_name(node.op)]
    if has_weights(op) and op.groups > 1:
        words = ["depthwise" if op.depthwise(graph.input_shapes(node)[0]) else f"conv in {op.groups} groups"]
    window = op_window(op)
    if window is not None:
        words.append(f"{window.kernel[0]}x{window.kernel[1]}")
        if window.stride != (1, 1):
            words.append(f"/{window.stride[0]}" if len(set(window.stride)) == 1 else f"/{window.stride}")
    activation = getattr(op, "activation", None)
    if activation is not None and activation.value != "none":
        words.append(activation.value)
    return " ".join(words)


def quant_text(value: TensorType) -> str:
    """Element type with scale and zero point."""
    if value.quant is None:
        return value.dtype.value
    return f"{value.dtype.value} {value.quant.scale:.5g} {value.quant.zero_point:+d}"


def show(console: Screen, graph: Graph) -> None:
    """The layers as a table."""
    from rillet.analyses.count import parameters

    names = ("node", "what", "output", "MACs", "parameters", "type scale zero")
    words, leave = ("node", "what", "output", "type scale zero"), ("type scale zero", "what", "parameters", "output")
    rows: list[tuple[str, ...]] = []
    total = 0
    for node in graph.nodes:
        count = parameters(graph, node)
        total += count
        macs = op_macs(node.op, graph.input_shapes(node))
        numbers = (f"{macs:,}" if macs else "", f"{count:,}" if count else "")
        rows.append((node.name, node_text(graph, node), str(node.shape), *numbers, quant_text(node.type)))
    console.draw(Grid(columns(names, words=words, leave=leave), rows))
    console.print(
        f"{graph.name}: {len(graph.nodes)} nodes, {graph.macs:,} MACs, {total:,} parameters, "
        f"weights {bytes_text(graph.weight_bytes)}"
    )


def plan(console: Screen, made: RowPlan) -> None:
    """The segments, and the largest buffers of the fullest one."""
    names = ("segment", "from", "to", "layers", "tile", "driver", "rings", "maps", "working", "peak")
    leave = ("driver", "working", "maps", "rings", "tile", "layers")
    rows: list[tuple[str, ...]] = []
    for i, segment in enumerate(made.segments):
        alive = [b for b in made.buffers.values() if b.first <= i <= b.last]
        rings = sum(b.bytes for b in alive if b.kind is BufferKind.RING)
        maps = sum(b.bytes for b in alive if b.kind is BufferKind.MAP)
        working = sum(b.bytes for b in alive if b.kind in (BufferKind.SCRATCH, BufferKind.SUMS))
        row = (
            str(i + 1),
            segment.stages[0].node,
            segment.stages[-1].node,
            str(len(segment.stages)),
            f"{segment.tile_rows} rows" if segment.tile_rows else f"{segment.tile_pixels} px",
            segment.driver,
            f"{rings:,}",
            f"{maps:,}",
            f"{working:,}",
            f"{segment.peak_bytes:,}",
        )
        rows.append(row)
    console.draw(Grid(columns(names, words=("from", "to", "driver"), leave=leave), rows))
    console.print("bytes; peak is less than the sum where an output lies over the spent part of its input")
    console.print(f"activations {bytes_text(made.arena_bytes)}, {len(made.segments)} segments, {made.macs:,} MACs")
    if made.board is not None:
        board.planned(console, footprint(made, made.board))


def verification(console: Screen, result: "Verification") -> None:
    """What was compared, or the first difference."""
    if not result.equal:
        console.print(f"different: {result.first_difference}", soft_wrap=True)
        return
    names = " = ".join(("reference", *result.against))
    said = [f"equal: {names} on {result.inputs} inputs, {result.values:,} values compared"]
    if result.bf16_error is not None:
        said.append(f"bfloat16: outputs within {result.bf16_error:.2%} of the greatest value in float64")
    if result.rounding is not None:
        said.append(f"float32 values: within {result.rounding:.1%} of what float32 may round (docs/arithmetic.md)")
    if result.steps_off:
        said.append(f"integers: {result.steps_off:,} one step off, as they may be (docs/onnx.md)")
    for line in said:
        console.print(line, soft_wrap=True)


def core_verification(console: Screen, result: "CoreVerification") -> None:
    """What was compared on an emulated core and what it took there, or the first difference."""
    if not result.equal:
        console.print(f"different: {result.first_difference}; {result.wrong:,} values wrong", soft_wrap=True)
        return
    for line in (
        f"equal: reference = {result.core} on {result.inputs} inputs ({result.emulator}; {result.compiler})",
        f"an image: {result.instructions:,} instructions, {result.flash_read_bytes:,} bytes read of flash",
        f"RAM: {result.ram_bytes:,} bytes and {result.stack_bytes:,} of stack; flash: {result.flash_bytes:,} bytes",
        *board.beside(result),
    ):
        console.print(line, soft_wrap=True)


def verifications(console: Screen, result: "Verification", emulated: "CoreVerification | None") -> None:
    """What was compared on this machine, and on an emulated core where it was."""
    verification(console, result)
    if emulated is not None:
        core_verification(console, emulated)


def heading(console: Screen, image: str, name: str) -> None:
    """What is shown to which network."""
    console.print(Text.assemble((printable(image), "bold"), f" by {printable(name)}:"))


def top(console: Screen, classes: "Sequence[Class]") -> None:
    """The most probable classes with bars."""
    rows = [
        (f"{choice.probability:7.1%}", choice.label, Text("█" * round(choice.probability * 30), BAR))
        for choice in classes
    ]
    shown = columns(("top-1", "class", ""), words=("top-1", "class", ""), leave=("",))
    console.draw(Grid(shown, rows, heading=False))


def boxes(console: Screen, found: "Sequence[Box]") -> None:
    """What a detector found and where, in pixels of the picture."""
    if not found:
        console.print("nothing found")
        return
    rows = [
        (box.label, f"{box.score:.1%}", *(f"{n:.0f}" for n in (box.left, box.top, box.right, box.bottom)))
        for box in found
    ]
    console.draw(Grid(columns(("found", "score", "left", "top", "right", "bottom"), words=("found",)), rows))


def regions(console: Screen, found: "Sequence[Region]") -> None:
    """The classes of a map, and how much of it each covers."""
    rows = [(f"{region.share:7.1%}", region.label, Text("█" * round(region.share * 30), BAR)) for region in found]
    shown = columns(("share", "class", ""), words=("share", "class", ""), leave=("",))
    console.draw(Grid(shown, rows, heading=False))


def outputs(console: Screen, found: "tuple[Output, ...]") -> None:
    """What each output holds: its largest values by index, or its range."""
    for output in found:
        shape = "x".join(map(str, output.shape))
        ends = f"min {output.minimum:.4g}, mean {output.mean:.4g}, max {output.maximum:.4g}"
        console.print(f"output {output.name}: {shape} {output.dtype}, {ends}")
        if output.largest:
            rows = [(f"  at {value.index}", f"{value.value:.4g}", value.label or "") for value in output.largest]
            console.draw(Grid(columns(("index", "value", "label"), words=("label",)), rows, heading=False))


def proof(console: Screen, result: "RunResult") -> None:
    """What the answer took, planned and measured."""
    less = result.layerwise_bytes / result.arena_bytes
    rows = [
        ("activations, planned", bytes_text(result.arena_bytes), f"{result.segments} streaming segments"),
        ("activations, measured", bytes_text(result.measured_bytes), "last byte written in a poisoned arena"),
        ("layer by layer", bytes_text(result.layerwise_bytes), f"{less:.1f} x as much"),
        ("weights", bytes_text(result.weight_bytes), "each in its one place"),
        ("multiply-accumulates", f"{result.macs:,}", "nothing computed twice"),
        ("latency", f"{result.latency_ms:.1f} ms", "median, one core"),
        ("output", f"the reference's {result.compared}", "compared for this picture"),
    ]
    beside = result.on_host
    if beside is not None and result.latency_ms >= max(2 * beside.latency_ms, beside.latency_ms + 1):
        rows.insert(-1, ("with --target host", *_host_text(beside, result.latency_ms)))
    console.draw(facts(rows))


def facts(rows: Sequence[tuple[str, str, str]]) -> Grid:
    """Names, values and remarks without a heading; a narrow screen does without the remarks, or wraps them."""
    shown = columns(("name", "value", "remark"), words=("name", "value", "remark"), wrap=("remark",), leave=("remark",))
    return Grid(shown, rows, heading=False)


def _host_text(beside: "OnHost", latency_ms: float) -> tuple[str, str]:
    """What a host plan takes, and what that saves."""
    took = f"{beside.latency_ms:.{1 if beside.latency_ms >= 0.1 else 2}f} ms"
    times = latency_ms / beside.latency_ms
    if beside.arena_bytes is None:
        return f"about {took}", f"about {float(f'{times:.1g}'):g} x as fast, estimated and not measured"
    return took, f"{times:.1f} x as fast, in {bytes_text(beside.arena_bytes)}"


def models(console: Screen, found: "list[tuple[Published, Path | None]]") -> None:
    """Published models, and where each is."""
    rows = [
        (f"hub:{entry.name}", f"{entry.size_bytes:,}", entry.licence, entry.about, _where(path))
        for entry, path in found
    ]
    names = ("name", "bytes", "licence", "what", "where")
    words, leave = ("name", "licence", "what", "where"), ("licence", "where", "bytes")
    console.draw(Grid(columns(names, words=words, wrap=("what", "where"), leave=leave), rows))


def operators(console: Screen, found: Mapping[str, "Rows"]) -> None:
    """The operators of each importer, what they become, and their limits."""
    names = ("operator", "becomes", "limits")
    for title, rows in found.items():
        grid = Grid(columns(names, words=names, wrap=names, leave=("limits",)), rows)
        if len(found) > 1:
            console.print(f"{title}: {len(rows)} operators")
        console.draw(grid)


def _where(path: Path | None) -> str:
    return str(path) if path else "not here; it is downloaded when used"


def zoo(console: Screen, networks: "list[Described]") -> None:
    """The networks of the zoo and their parameters."""
    names = ("network", "parameters and defaults")
    rows = [(network.name, ", ".join(network.parameters)) for network in networks]
    console.draw(Grid(columns(names, words=names, wrap=names[1:]), rows))
    console.print(
        "any model: untrained=, width=, resolution=, classes=, strides=, fuse=half|full, blocks=, share=, fit=, seed="
    )
