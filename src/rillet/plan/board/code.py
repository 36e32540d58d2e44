"""Bytes of a board's program beside its constants: an estimate from above, for gcc -O3."""

from rillet.ir.facts import is_sum
from rillet.ir.graph import Node
from rillet.ir.ops import op_window
from rillet.plan.board.kernels import abreast, finish
from rillet.plan.rows.plan import Kernel, RowPlan, Stage

_ENTRY = 1000
"""What the caller calls, the segments' loops, memcpy and memset: 224 to 704 bytes in five networks under both plans."""
_SEGMENT = 40
_CORE = 2200
"""Kernels of a core that a network uses: 728 to 1,960 bytes of those for Cortex-M4."""
_LISTS = 1200
"""Those of lists."""
_WINDOW = 400
"""More of a dense stage that gathers windows."""
_BOTH = 150
"""More of a dense stage that takes three pixels at once where they lie side by side, and else one."""
_BY_SUMS = 220
"""More of a dense stage whose sums a portable function makes stored values."""
_STAGES = {
    Kernel.CORE_DENSE: 260,
    Kernel.CORE_LISTS: 420,
    Kernel.CORE_DEPTHWISE: 900,
    Kernel.CORE_PLANES: 360,
    Kernel.GLOBAL_POOL: 280,
    Kernel.SOFTMAX: 2560,
    Kernel.LOOKUP: 200,
}
"""Functions of stages: the largest of a kind, or nearly, where each was kept by itself."""
_SAME, _RESCALED = 320, 640
"""Sums of two values, of one scale or of several."""
_OTHER = 1600
"""Stages of portable kernels: 580 to 1,500 bytes of convolutions and pools."""


def code_bytes(plan: RowPlan) -> int:
    """About how many bytes of instructions the program of a plan for a board has at most."""
    stages = sum(_stage(plan, stage) for segment in plan.segments for stage in segment.stages)
    kernels = {stage.kernel for segment in plan.segments for stage in segment.stages}
    core = (_CORE if plan.core else 0) + (_LISTS if Kernel.CORE_LISTS in kernels else 0)
    return _ENTRY + _SEGMENT * len(plan.segments) + core + stages


def _stage(plan: RowPlan, stage: Stage) -> int:
    node = plan.graph.by_name[stage.node]
    if stage.kernel is Kernel.CORE_DENSE:
        assert plan.core is not None
        window = op_window(node.op)
        gathers = window is not None and not window.pointwise
        by_sums = not finish(plan.graph, node, plan.core).by_words
        both = not plan.by_rows and abreast(node, stage.tile_pixels) > 1
        return _STAGES[stage.kernel] + _WINDOW * gathers + _BOTH * both + _BY_SUMS * by_sums
    if stage.kernel is Kernel.CORE_LISTS:
        return _STAGES[stage.kernel] + _WINDOW * (stage.scratch is not None)
    if stage.kernel is Kernel.ARITHMETIC:
        return _SAME if _of_one_scale(plan, node) else _RESCALED
    return _STAGES.get(stage.kernel, _OTHER)


def _of_one_scale(plan: RowPlan, node: Node) -> bool:
    sources = plan.graph.input_types(node)
    return is_sum(node.op) and all(source.quant == node.type.quant for source in sources)
