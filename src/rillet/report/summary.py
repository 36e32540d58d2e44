"""A network's layers as `net.summary()` lists them: output shapes, parameters and multiply-accumulates."""

from rich.table import Table

from rillet.analyses.count import parameters
from rillet.ir.graph import Graph
from rillet.ir.ops import op_macs
from rillet.report.screen import Screen
from rillet.report.text import bytes_text, node_text


def summary(console: Screen, graph: Graph) -> None:
    """The layers with the totals beneath."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("layer", "op", "output shape", "parameters", "MACs"):
        table.add_column(name, justify="right" if name in ("parameters", "MACs") else "left", no_wrap=True)
    total = 0
    for node in graph.nodes:
        count, macs = parameters(graph, node), op_macs(node.op, graph.input_shapes(node))
        total += count
        cells = (f"{count:,}" if count else "", f"{macs:,}" if macs else "")
        table.add_row(node.name, node_text(graph, node), str(node.shape), *cells)
    console.print(table)
    inputs = sum(node.type.bytes for node in graph.input_nodes)
    made = sum(node.type.bytes for node in graph.nodes) - inputs
    console.print(f"total parameters: {total:,}")
    console.print(f"total MACs: {graph.macs:,}")
    console.print(f"input size: {bytes_text(inputs)}")
    console.print(f"all layers' outputs: {bytes_text(made)}")
    console.print(f"parameters size: {bytes_text(graph.weight_bytes)}")
