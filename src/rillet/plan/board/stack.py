"""Bytes of stack that a board's program takes: a bound, the frames along its deepest chain of calls.

Stages do not nest, however many there are: the caller's function, the loop over the steps, one stage's function, and
what that calls. Frames of the kernels of a core are what their assembler text pushes. Those of compiled code are the
largest measured in programs with every kernel and some hundred random ones, at -O3, -O2 and -Os of gcc 12 and at -O3 of
zig 0.17, and an eighth more; they include what a stage calls of the compiler's own and of the C library: divisions,
products of 64 bits, float32 without a floating-point unit (libgcc, compiler-rt, newlib), memcpy and memset.
"""

from collections.abc import Mapping

from rillet.ir.ops import op_window
from rillet.ir.types import DType
from rillet.plan.board.kernels import gathers_windows
from rillet.plan.rows.plan import CoreKernels, Kernel, RowPlan, Stage
from rillet.targets.cores import Core

ENTRY = 96
"""From the caller to a stage's function: net_run, net_push_row, the loop over the steps: at most 88 were measured."""
_ARGUMENT = 8
"""Of each input and output but the first, whose place net_run keeps and which may be an argument: at most 5 were
measured.
"""
_TAP = 8
"""Of a tap of a window: its address, which such stages list, and a word that compilers keep beside it."""
_FAMILIES = (CoreKernels.ARMV6M, CoreKernels.DSP, CoreKernels.HELIUM)
Frames = tuple[int, int, int]
"""Bytes on Cortex-M0, M0+ and M3, on M4, M7 and M33, and on M55 and M85."""

KERNELS: Mapping[Kernel, Frames] = {
    Kernel.CORE_DENSE: (64, 72, 192),
    Kernel.CORE_DEPTHWISE: (48, 72, 104),
    Kernel.CORE_PLANES: (128, 104, 168),
    Kernel.CORE_LISTS: (68, 68, 0),
    Kernel.CORE_SUM: (0, 0, 104),
}
"""Of the kernels of a core, by their text: the largest of a kind."""
GATHERS: Frames = (232, 280, 248)
"""More of a dense stage that gathers windows."""
STAGES: Mapping[Kernel, Frames] = {
    Kernel.ARGMAX: (152, 128, 192),  # of SOFTMAX; gcc's are less
    Kernel.ARITHMETIC: (304, 304, 232),
    Kernel.COPY: (304, 296, 208),
    Kernel.INTERPOLATE: (400, 400, 400),  # above what gcc makes of it
    Kernel.CORE_DENSE: (192, 176, 232),
    Kernel.CORE_DEPTHWISE: (304, 272, 240),
    Kernel.CORE_LISTS: (300, 104, 0),
    Kernel.CORE_PLANES: (136, 128, 128),
    Kernel.CORE_SUM: (0, 0, 168),
    Kernel.DENSE: (568, 376, 432),
    Kernel.DEPTHWISE: (640, 520, 608),
    Kernel.GLOBAL_POOL: (128, 128, 328),
    Kernel.LOOKUP: (304, 64, 72),
    Kernel.LOW_BIT: (1552, 1392, 1368),
    Kernel.LOW_BIT_DEPTHWISE: (824, 792, 984),
    Kernel.PAIR: (304, 304, 232),  # of ARITHMETIC, whose stages are alike; gcc's are at most 92
    Kernel.POOL: (200, 160, 160),
    Kernel.QUANTIZE: (200, 88, 88),
    Kernel.SIGN: (144, 56, 56),
    Kernel.SOFTMAX: (152, 128, 192),
    Kernel.XNOR: (624, 640, 528),
}
"""Of stages' functions and all else that they call; values of 8 bits."""
REAL: Mapping[Kernel, Frames] = {
    Kernel.CURVE: (200, 144, 328),
    Kernel.ARITHMETIC: (240, 96, 200),
    Kernel.PAIR: (240, 96, 200),  # of ARITHMETIC
    Kernel.COPY: (240, 208, 208),
    Kernel.INTERPOLATE: (400, 400, 400),
    Kernel.DENSE: (544, 456, 1392),
    Kernel.DEPTHWISE: (448, 320, 3144),
    Kernel.DEQUANTIZE: (216, 88, 80),
    Kernel.FUNCTION: (208, 72, 328),
    Kernel.GLOBAL_POOL: (216, 104, 168),
    Kernel.LOW_BIT: (1464, 1288, 1904),
    Kernel.LOW_BIT_DEPTHWISE: (864, 776, 1024),
    Kernel.POOL: (200, 184, 176),
    Kernel.SOFTMAX: (216, 64, 88),
}
"""The same, of float32 values."""
_TAPS = frozenset(
    {
        *(Kernel.DENSE, Kernel.DEPTHWISE, Kernel.POOL, Kernel.LOW_BIT, Kernel.LOW_BIT_DEPTHWISE, Kernel.XNOR),
        *(Kernel.CORE_DEPTHWISE, Kernel.CORE_LISTS),
    }
)
"""Kernels whose stages take a window tap by tap."""


def stack_bytes(plan: RowPlan, core: Core) -> int:
    """The most that `net_run` takes of its caller's stack on a core, interrupts apart."""
    stages = (stage for segment in plan.segments for stage in segment.stages)
    arguments = len(plan.graph.input_nodes) - 1 + len(plan.graph.outputs) - 1
    return ENTRY + _ARGUMENT * arguments + max((stage_bytes(plan, stage, core) for stage in stages), default=0)


def stage_bytes(plan: RowPlan, stage: Stage, core: Core) -> int:
    """The most that one stage takes: its function, and what that calls."""
    node, at = plan.graph.by_name[stage.node], _place(core)
    real = node.type.dtype is DType.F32
    frame = (REAL if real else STAGES)[stage.kernel][at] + KERNELS.get(stage.kernel, (0, 0, 0))[at]
    window = op_window(node.op)
    if window is not None and not window.pointwise and stage.kernel in _TAPS:
        frame += _TAP * window.taps
    if stage.kernel is Kernel.CORE_DENSE and plan.core is not None and gathers_windows(plan.graph, node, plan.core):
        frame += GATHERS[at]
    return frame


def _place(core: Core) -> int:
    return _FAMILIES.index(CoreKernels(core.kernels))
