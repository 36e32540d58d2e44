"""Layers that read windows of a map: their ring, the steps of a firing, and the operands of the taps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rillet.backends.rtl.layout import Layout, bits_of, layout
from rillet.backends.rtl.stage import Stage
from rillet.backends.rtl.walk import walk
from rillet.ir.ops import Places, Window


@dataclass(frozen=True, slots=True)
class Cut:
    """How the steps of a firing go through the channels under its window."""

    blocks: int
    """Of outputs, one behind the other, each over all its taps."""
    parts: int
    """Of the channels of a tap, one behind the other."""
    inner: bool
    """Channels advance with the parts; else every `repeat` blocks."""
    repeat: int
    ends: bool
    """The last block of a pixel is short; else the last of each `repeat`."""
    operand: int
    """Channels of a word that are chosen at once: `groups` times `channels`, which are taken in parts."""
    groups: int
    channels: int
    taken: int
    """Channels of each group that a step takes."""


def by_channels(lanes: int, blocks: int) -> Cut:
    """Block by block some channels, each by itself."""
    return Cut(blocks, 1, False, 1, True, lanes, 1, lanes, lanes)


def windowed(
    stage: Stage, window: Window, cut: Cut, fill: int, uses: tuple[str, ...], copied: Places | None = None
) -> None:
    """The operands of all taps as `x`, the first tap lowest, in the cycle of `valid2`, two behind their `step`.

    A tap in the padding reads `fill`; `copied` are the pixels that firings read where no window says it. `uses` are
    what the layer needs beside: `at`, the number of a step, and `first`, `last` and `short` of a block and `pad`, a
    bit for each tap, each as `NAME2`.
    """
    source, folding, out = stage.sources[0], stage.plan.folding, stage.node.shape
    shape, taps = source.node.shape, folding.taps
    made = layout(shape.channels, source.bits, source.beat, cut.operand, source.depth, taps)
    moves = None if copied is None else _moves(copied, made, shape.width, shape.pixels)
    found = walk(source.reading, out, shape.pixels, moves, made.address_bits)
    stage.ring(0, made, found.free_bits)
    tables: dict[str, object] = {}
    if not found.even:
        tables = {
            "WALK": 1, "MOVES": int(copied is not None), "CLASSES": found.classes, "RB": bits_of(found.classes),
            "CB": bits_of(found.classes), "ROWS": stage.memory("rows", found.rows),
            "COLUMNS": stage.memory("columns", found.columns),
        }  # fmt: skip
    top, left = (window.padding[0], window.padding[2]) if copied is None else (-copied.rows[0], -copied.columns[0])
    step_bits, part_bits = bits_of(folding.cycles), bits_of(cut.parts)
    told = [name for name in ("first", "last", "short") if name in uses]
    stage.add(
        f"wire step, {', '.join(f'{name}1' for name in ('valid', *told))};",
        f"wire [{taps - 1}:0] pad1;",
        f"wire [{made.select_bits - 1}:0] select1;",
        f"wire [{part_bits - 1}:0] part1;",
        *([f"wire [{step_bits - 1}:0] at;"] if "at" in uses else []),
        "/* verilator lint_off PINCONNECTEMPTY */  // what this layer has no use for",
    )
    stage.part("rillet_window", "window", {
        "H": shape.height, "W": shape.width, "OH": out.height, "OW": out.width, "KH": window.kernel[0],
        "KW": window.kernel[1], "SY": window.stride[0], "SX": window.stride[1], "DY": window.dilation[0],
        "DX": window.dilation[1], "TOP": top, "LEFT": left, "TAPS": taps, "BLOCKS": cut.blocks, "PARTS": cut.parts,
        "INNER": int(cut.inner), "REPEAT": cut.repeat, "ENDS": int(cut.ends), "OPERANDS": made.operands,
        "WORDS": made.words, "DEPTH": made.depth, "NEED": found.need, **tables, "AB": made.address_bits,
        "SB": made.select_bits, "PB": part_bits, "WB": step_bits, "NB": found.need_bits, "FB": found.free_bits,
    }, {
        "clk": "clk", "rst": "rst", "arrived": "arrived0", "room": "out_room", "step": "step",
        "out_begin": "out_begin", "done": "fired", "stall": "stalled", "freed": "freed0", "ra": "ra0",
        "at": "at" if "at" in uses else "", "valid": "valid1", "first": "first1" if "first" in told else "",
        "last": "last1" if "last" in told else "", "short_block": "short1" if "short" in told else "", "pad": "pad1",
        "select": "select1", "part": "part1",
    })  # fmt: skip
    late = [*told, *(["pad"] if "pad" in uses else [])]
    wide = cut.groups * cut.taken * made.bits
    stage.add(
        "/* verilator lint_on PINCONNECTEMPTY */",
        "assign re0 = step;",
        f"wire [{taps * wide - 1}:0] x;",
        f"reg {', '.join(f'{name}2' for name in ('valid', *told))};",
        *([f"reg [{taps - 1}:0] pad2;"] if "pad" in uses else []),
        "always @(posedge clk) begin",
        "  valid2 <= valid1 && !rst;",
        *(
            [f"  {{{', '.join(f'{name}2' for name in late)}}} <= {{{', '.join(f'{name}1' for name in late)}}};"]
            * bool(late)
        ),
        "end",
    )
    for tap in range(taps):
        stage.part("rillet_operand", f"operand{tap}", {
            "BITS": made.bits, "WORD": made.word_channels * made.bits, "OPERANDS": made.operands,
            "GROUPS": cut.groups, "CHANNELS": cut.channels, "TAKEN": cut.taken,
            "PARTS": 1 if cut.inner else cut.parts, "SB": made.select_bits, "PB": part_bits, "ZERO": fill,
        }, {
            "clk": "clk", "enable": "valid1",
            "word": f"rd0[{made.word_channels * made.bits * tap} +: {made.word_channels * made.bits}]",
            "select": "select1", "part": "part1", "pad": f"pad1[{tap}]", "x": f"x[{wide * tap} +: {wide}]",
        })  # fmt: skip


def _moves(copied: Places, made: Layout, width: int, pixels: int) -> npt.NDArray[np.int64]:
    """By how many words of the ring each firing's pixel lies before that of the next, whose image may be the next."""
    rows, columns = np.array(copied.rows, np.int64), np.array(copied.columns, np.int64)
    place = (rows[:, None] * width + columns).reshape(-1)
    return np.diff(place, append=pixels + place[0]) % made.depth * made.words
