"""Literals of the range of a result."""

from rillet.arithmetic import fixed_point as fp
from rillet.backends.c.constants import real
from rillet.errors import Unsupported
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activation


def bounds(graph: Graph, node: Node, activation: Activation) -> tuple[str, str]:
    """Literals of the result's range, its fused clamp included."""
    if node.type.quant is None:
        bounds = activation.clamp
        if bounds is None:
            raise Unsupported(f"{graph.name}: {node.name}: fused activation must be a clamp, got {activation.value}")
        return real(bounds[0]), real(bounds[1])
    clamp = fp.activation_clamp(activation, node.type.quant, node.type.dtype)
    return str(clamp.low), str(clamp.high)
