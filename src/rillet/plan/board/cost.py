"""Instructions of a stage on a microcontroller's core, counted from the kernels' text.

What surrounds a kernel is compiled C: its parts are counts of gcc 12 -O3 for the Cortex-M4, and differ by compiler.
"""

from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import op_macs
from rillet.plan.board.kernels import ABREAST, abreast, dense_words, gathers_windows
from rillet.plan.rows.kernels import Choice
from rillet.plan.rows.plan import Kernel
from rillet.plan.rows.timing import Tile

_FIRING = 40
"""Of a stage's function: what tells whether it may fire, and which pixels."""
_CALL = 25
"""Of a call of a kernel by the pixel: its arguments."""
_DENSE_PAIR = {ABREAST: 59, 1: 40}
"""Of two output channels: constants, rounding and storing of so many pixels."""
_DENSE_WORD = {ABREAST: 18, 1: 9}
"""Of two words of weights."""
_GATHER_WORD, _WINDOW_ROW = 6, 40
_TAP, _TAPS_GROUP, _POINTER = 9.7, 64, 16
"""Of depthwise pixels: four channels of a tap, their rounding, and the place of a tap."""
_ROWS_CHANNEL, _ROWS_PAIR = 27, 38
_PORTABLE = 6.0
"""Of a portable kernel: each multiply-accumulate or value."""


def instructions(graph: Graph, node: Node, choice: Choice, tile: Tile) -> float:
    """About how many one image takes in this stage."""
    op, shape = node.op, node.shape
    pixels = tile.of(shape)
    firings = -(-shape.pixels // pixels) if tile.rows else shape.height * -(-shape.width // pixels)
    spent = firings * float(_FIRING)
    match choice.kernel:
        case Kernel.CORE_DENSE:
            assert has_weights(op)
            words, together = dense_words(graph, node), abreast(node, pixels)
            calls = shape.height * -(-shape.width // together)
            gather = words * _GATHER_WORD * together + 20
            if gathers_windows(graph, node):
                gather += op.window.kernel[0] * _WINDOW_ROW
            pair = _DENSE_PAIR[together] + words * _DENSE_WORD[together]
            return spent + calls * (_CALL + gather + -(-shape.channels // 2) * pair)
        case Kernel.CORE_DEPTHWISE:
            assert has_weights(op)
            group = op.window.taps * _TAP + _TAPS_GROUP
            return spent + shape.pixels * (_CALL + op.window.taps * _POINTER + shape.channels // 4 * group)
        case Kernel.CORE_PLANES:
            row = shape.channels * (_ROWS_CHANNEL + -(-shape.width // 2) * _ROWS_PAIR)
            return spent + shape.height * (2 * _CALL + row)
        case _:
            macs = op_macs(op, graph.input_shapes(node))
            return spent + _PORTABLE * (macs + sum(s.pixels * s.channels for s in graph.input_shapes(node)))
