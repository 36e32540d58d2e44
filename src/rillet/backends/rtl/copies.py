"""Layers that move values: side by side, some of the channels, with a border, to other places of a map."""

import numpy as np

from rillet.arithmetic import fixed_point as fp
from rillet.arithmetic import tables
from rillet.backends.rtl.memories import words
from rillet.backends.rtl.stage import Stage
from rillet.backends.rtl.streams import COPIED, Turn, by_byte, constant, firing, stream
from rillet.backends.rtl.windows import by_channels, windowed
from rillet.ir.facts import is_constant
from rillet.ir.ops import Pad, Places, Resize, Slice, Window
from rillet.ir.types import TensorType
from rillet.plan.pipeline.memories import TABLE_WORDS


def sliced(stage: Stage, op: Slice) -> None:
    """Some channels of each pixel."""
    lanes = stage.plan.folding.outputs
    stage.beat = lanes
    firing(stage, COPIED)
    _copy(stage, stream(stage, 0, lanes, first=op.start, count=stage.node.shape.channels))


def padded(stage: Stage, op: Pad) -> None:
    """A map with a border of zeros."""
    _placed(stage, Window(padding=op.padding), None)


def resized(stage: Stage, op: Resize) -> None:
    """The pixels of a map at other places, some again and some not at all."""
    _placed(stage, Window(), Places(op.rows, op.columns))


def _placed(stage: Stage, window: Window, copied: Places | None) -> None:
    folding = stage.plan.folding
    stage.beat = folding.outputs
    windowed(stage, window, by_channels(folding.outputs, folding.cycles), stage.sources[0].zero_point, (), copied)
    stage.add("reg valid3;", "always @(posedge clk) valid3 <= valid2 && !rst;", "assign out_valid = valid3;")
    _copy(stage, "x")


def _copy(stage: Stage, x: str) -> None:
    wide = stage.beat * stage.bits
    stage.add(f"reg [{wide - 1}:0] y;", f"always @(posedge clk) y <= {x};", "assign out_data = y;")


def concatenated(stage: Stage) -> None:
    """Values side by side: all in one step, or one behind the other in steps that each read one of them."""
    lanes, node, graph = stage.plan.folding.outputs, stage.node, stage.graph
    stage.beat = lanes
    channels = [shape.channels for shape in graph.input_shapes(node)]
    together = lanes == node.shape.channels
    ends = np.cumsum([1 if together else -(-count // lanes) for count in channels]).tolist()
    firing(stage, COPIED, ("last",) if together else ("at",))
    if not together:
        _turns(stage, ends)
    read: dict[str, str] = {}
    for place, source in enumerate(stage.sources):
        own = [i for i, name in enumerate(node.inputs) if name == source.node.name]
        if together:
            read[source.node.name] = stream(stage, place, channels[own[0]])
        else:
            last = [f"at == {ends[i] - 1}" for i in own]
            when = Turn(
                f"step && ({' || '.join(f'turn[{i}]' for i in own)})",
                " || ".join(last),
                f"step && {last[-1]}",
                len(own) > 1,
            )
            read[source.node.name] = stream(stage, place, lanes, when)
    for i, (name, count) in enumerate(zip(node.inputs, channels, strict=True)):
        if is_constant(graph.by_name[name].op):
            read[name] = constant(stage, i, count if together else lanes, "step" if together else f"step && turn[{i}]")
        _part(stage, i, graph.by_name[name].type, count if together else lanes, read[name])
    if together:
        stage.add(f"assign out_data = {{{', '.join(f'y{i}' for i in reversed(range(len(channels))))}}};")
    else:
        chosen = [f"turn3[{i}] ? y{i}" for i in range(len(channels) - 1)]
        stage.add(f"assign out_data = {' : '.join([*chosen, f'y{len(channels) - 1}'])};")


def _turns(stage: Stage, ends: list[int]) -> None:
    """A bit for each input: whether a step reads it, and the same beside the results."""
    count = len(ends)
    begins = [0, *ends[:-1]]
    said = [
        " && ".join(([f"at >= {begin}"] if begin else []) + ([f"at < {end}"] if end < ends[-1] else []))
        for begin, end in zip(begins, ends, strict=True)
    ]
    stage.add(
        f"wire [{count - 1}:0] turn = {{{', '.join(reversed(said))}}};",
        f"reg [{count - 1}:0] turn1, turn2;",
        "/* verilator lint_off UNUSEDSIGNAL */  // the last is what is left",
        f"reg [{count - 1}:0] turn3;",
        "/* verilator lint_on UNUSEDSIGNAL */",
        "always @(posedge clk) {turn3, turn2, turn1} <= {turn2, turn1, turn};",
    )


def _part(stage: Stage, i: int, type_: TensorType, lanes: int, x: str) -> None:
    """What an input is in the quantisation of the result, as `y` and its number; a register."""
    assert type_.quant is not None and stage.node.type.quant is not None
    moved = fp.concatenated(tables.stored_values(type_.dtype), type_.quant, stage.node.type.quant)
    table = by_byte(np.clip(moved, *stage.node.type.dtype.integers), type_, stage.node.type)
    if np.array_equal(table & 0xFF, np.arange(256)):
        stage.add(f"reg [{lanes * 8 - 1}:0] y{i};", f"always @(posedge clk) y{i} <= {x};")
        return
    path = stage.memory(f"table{i}", words((table, 8)))
    stage.add(f"wire [{lanes * 8 - 1}:0] y{i};")
    stage.lanes(
        lanes,
        f"rillet_table #(.STYLE({stage.style(8, TABLE_WORDS)}), .FILE({path})) part"
        f" (.clk(clk), .x({x}[i*8 +: 8]), .y(y{i}[i*8 +: 8]));",
    )
