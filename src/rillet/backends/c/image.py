"""The input image: whether a program reads it zero-copy, from the caller's memory."""

from rillet.ir.graph import Node
from rillet.plan.rows.plan import Kernel, RowPlan


def borrowed(plan: RowPlan) -> str:
    """The zero-copy image of net_run, as a C expression; null while rows are pushed."""
    # A thread may look once more for rows of an image that was given up, while the caller begins the next.
    return "self->borrowed" if plan.threads == 1 else "__atomic_load_n(&self->net->borrowed, __ATOMIC_ACQUIRE)"


def input_of(plan: RowPlan) -> Node:
    """The network's image: its first input."""
    return plan.graph.input_nodes[0]


def other_inputs(plan: RowPlan) -> list[tuple[str, Node]]:
    """The inputs that are given whole, each with the suffix of its names in C: _2, _3 and so on."""
    return [(f"_{i}", node) for i, node in enumerate(plan.graph.input_nodes[1:], 2)]


def reads_pushed(plan: RowPlan) -> bool:
    """True where the first stage reads the pushed row zero-copy, from the caller's memory."""
    return not plan.resident and input_of(plan).name not in plan.buffers


def borrows_image(plan: RowPlan) -> bool:
    """True where net_run reads the image zero-copy: every reader copies rows to a padded band of its own.

    The band's rows have the sign bits that the program stores. Readers without a band could read past the image's end.
    """
    source = input_of(plan)
    if plan.host is None or plan.resident or source.name not in plan.buffers or source.name in plan.graph.outputs:
        return False
    stages = (stage for segment in plan.segments for stage in segment.stages)
    readers = [stage for stage in stages if source.name in plan.graph.by_name[stage.node].inputs]
    return all(stage.kernel in (Kernel.TILES, Kernel.WINOGRAD) and stage.scratch is not None for stage in readers)
