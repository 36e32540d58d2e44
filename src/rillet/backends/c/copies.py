"""The body of a stage that moves values: pixels, or parts of them, from where they are; or between four of them."""

from rillet.backends.c import threads
from rillet.backends.c.constants import rescaled
from rillet.backends.c.reads import await_pixels, await_window, outside_pixel, place_of, source_at, window_record
from rillet.backends.c.storage import offset
from rillet.errors import Unsupported
from rillet.ir.graph import Node
from rillet.ir.ops import Concat, DepthToSpace, Pad, Resize, Select, Slice, SpaceToDepth
from rillet.plan.rows.plan import RowPlan, Stage

Body = tuple[list[str], list[str], list[str]]
"""Constants before the loop, what leaves it unless a tile's inputs are there, and the lines of one tile: pixels
made.NAME to made.NAME + n - 1."""


def braced(heads: list[str]) -> list[str]:
    """Heads of loops, the innermost with a brace."""
    return [*heads[:-1], f"{heads[-1]} {{"]


def copied(plan: RowPlan, node: Node, stage: Stage, kind: str) -> Body:
    """Ops that only move values: pixels are copied from where they are."""
    graph, op = plan.graph, node.op
    name = node.name
    size = node.type.dtype.numpy.itemsize
    loop, out = threads.each_pixel(node, stage), f"at_{name}(self, self->made.of_{name} + p)"
    source = graph.by_name[node.inputs[0]]
    at = source.name
    match op:
        case Slice(start=start, stop=stop):
            from_ = f"{source_at(graph, source.name, node, 'p')} + {start}"
            return [], await_pixels(graph, node), [*loop, f"      memcpy({out}, {from_}, {(stop - start) * size});"]
        case Pad():
            place = place_of(plan, node, "p")
            lines = [
                *braced(loop),
                "      const void *tap[1];",
                f"      rillet_window_taps(window, at_{at}(self, 0), {outside_pixel(graph, node)}, {place}, tap);",
                f"      memcpy({out}, tap[0], {node.type.pixel_bytes});",
                "    }",
            ]
            return [window_record(plan, node)], [await_window(plan, node)], lines
        case Resize():
            return _taken(plan, node, loop, out, "")
        case DepthToSpace(block=block):
            row, column = place_of(plan, node, "p").split(", ")
            part = f" + ((({row}) % {block}) * {block} + ({column}) % {block}) * {node.shape.channels}"
            return _taken(plan, node, loop, out, part)
        case Select(channels=channels):
            from_ = source_at(graph, source.name, node, "p")
            taken = f"in[net_{name}_channels[c]]"
            if min(channels) < 0:
                zero = node.type.quant.zero_point if node.type.quant else 0
                taken = f"net_{name}_channels[c] < 0 ? {zero} : {taken}"
            lines = [
                *braced(loop),
                f"      const {kind} *const in = {from_};",
                f"      {kind} *const out = {out};",
                f"      for (int32_t c = 0; c < {len(channels)}; c++) out[c] = {taken};",
                "    }",
            ]
            return [], await_pixels(graph, node), lines
        case SpaceToDepth(block=block):
            place = place_of(plan, node, "p")
            lines = [
                *braced(loop),
                f"      const void *tap[{block * block}];",
                f"      {kind} *const out = {out};",
                f"      rillet_window_taps(window, at_{at}(self, 0), {outside_pixel(graph, node)}, {place}, tap);",
                f"      for (int32_t t = 0; t < {block * block}; t++)",
                f"        memcpy(out + t * {source.shape.channels}, tap[t], {source.type.pixel_bytes});",
                "    }",
            ]
            return [window_record(plan, node)], [await_window(plan, node)], lines
        case Concat():
            lines, channel = [*braced(loop), f"      {kind} *const out = {out};"], 0
            for i, input_name in enumerate(node.inputs):
                part = graph.by_name[input_name]
                from_, count = source_at(graph, input_name, node, "p"), part.shape.channels
                if rescaled(node, part):
                    lines.append(f"      rillet_lookup({from_}, out + {channel}, {count}, net_{name}_table{i});")
                else:
                    lines.append(f"      memcpy(out + {channel}, {from_}, {count * size});")
                channel += count
            return [], await_pixels(graph, node), [*lines, "    }"]
        case _:
            raise Unsupported(f"{graph.name}: {node.name}: does not only move values")


def _taken(plan: RowPlan, node: Node, loop: list[str], out: str, part: str) -> Body:
    """Pixels, or parts of them, of the rows and columns that tables name."""
    name, source = node.name, plan.graph.by_name[node.inputs[0]]
    at = source.name

    def pixel(p: str) -> str:
        row, column = place_of(plan, node, p).split(", ")
        return f"net_{name}_rows[{row}] * {source.shape.width} + net_{name}_columns[{column}]"

    ready = [f"    if (self->made.of_{at} <= {pixel('n - 1')}) return 0;"]
    copied = f"      memcpy({out}, at_{at}(self, {pixel('p')}){part}, {node.type.pixel_bytes});"
    return [], ready, [*loop, copied]


def interpolated(plan: RowPlan, node: Node, stage: Stage) -> Body:
    """A linear resize: each pixel comes of two rows and two columns, of which the second may have no share."""
    name, source = node.name, plan.graph.by_name[node.inputs[0]]
    at, width, real = source.name, source.shape.width, node.type.quant is None
    row, column = place_of(plan, node, "n - 1").split(", ")
    last = f"net_{name}_bottom[{row}] * {width} + net_{name}_end[{column}]"
    row, column = place_of(plan, node, "p").split(", ")
    kind, kernel = "float" if real else "int32_t", f"rillet_interpolate_{node.type.dtype.value}"
    zero = "" if real else f", {offset(plan, node)}"
    made = f"at_{name}(self, self->made.of_{name} + p), {node.shape.channels}"
    lines = [
        *braced(threads.each_pixel(node, stage)),
        f"      const int32_t y = {row}, x = {column};",
        f"      const int32_t first = net_{name}_rows[y] * {width} + net_{name}_columns[x];",
        f"      const {kind} right = net_{name}_right[x], down = net_{name}_down[y];",
        f"      const int32_t step = right > 0, below = first + (down > 0 ? {width} : 0);",
        f"      {kernel}(at_{at}(self, first), at_{at}(self, first + step), at_{at}(self, below),",
        f"        at_{at}(self, below + step), {made}, right, down{zero});",
        "    }",
    ]
    return [], [f"    if (self->made.of_{at} <= {last}) return 0;"], lines
