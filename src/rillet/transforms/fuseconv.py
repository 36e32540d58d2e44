"""FuSe convolutions: a K x K convolution becomes row (1 x K) and column (K x 1) ones (Ganesan et al., DATE 2021).

Half: a depthwise convolution's first half of the channels is filtered along rows, the second half along columns.
Full: both filters see all channels, so what follows sees twice as many. Each branch has a batch norm of its own.
Dense convolutions are replaced too: in a ResNet bottleneck by the same pair (the 1x1 behind it mixes the channels), in
a fire module by both filters on the squeezed channels beside a wider 1x1, elsewhere by the pair and a 1x1.

Weights, where there are any, are a start for retraining and no more: the middle row and column of each kernel, or, with
`fit`, the factors of its least-squares rank-one fit, each times the sum of the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from rillet.errors import GraphError, RilletError, Unsupported
from rillet.ir.facts import has_weights, is_batch_norm, is_channelwise, is_concat, is_function, is_product
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Op,
    Slice,
    Window,
    output_shape,
)
from rillet.ir.sharing import remade
from rillet.ir.types import TensorType
from rillet.transforms.refit import float_only

Variant = Literal["half", "full"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Site:
    """A K x K convolution that can be replaced, and how."""

    node: Node
    kind: Literal["depthwise", "bottleneck", "fire", "dense"]


def sites(graph: Graph) -> tuple[Site, ...]:
    """Every convolution of `graph` that a FuSe pair can replace, in order; the stem (it sees the input) is none."""
    return tuple(Site(node, kind) for node in graph.nodes if (kind := _kind(graph, node)) is not None)


def _kind(graph: Graph, node: Node) -> Literal["depthwise", "bottleneck", "fire", "dense"] | None:
    op = node.op
    if not has_weights(op) or op.window.kernel[0] != op.window.kernel[1]:
        return None
    if op.window.kernel[0] == 1 or op.window.kernel[0] % 2 == 0:
        return None  # a pair needs a middle row and column
    source = graph.input_shapes(node)[0]
    if op.window.covers(source) or op.window.dilation != (1, 1):
        return None
    if op.depthwise(source):
        return "depthwise" if op.out_channels == source.channels else None
    if op.groups != 1 or graph.by_name[node.inputs[0]] in graph.input_nodes:
        return None
    if _fire_partner(graph, node) is not None:
        return "fire"
    after = _after(graph, node)
    mixed = len(after) == 1 and has_weights(after[0].op) and after[0].op.window.kernel == (1, 1)
    return "bottleneck" if mixed and op.out_channels == source.channels else "dense"


def _chain(graph: Graph, node: Node) -> Iterator[Node]:
    """`node`, and the batch norm and the activation right behind it that nothing else reads past."""
    yield node
    for kind in (BatchNorm, Activate):
        after = graph.consumers[node.name]
        if len(after) == 1 and isinstance(after[0].op, kind) and node.name not in graph.outputs:
            node = after[0]
            yield node


def _after(graph: Graph, node: Node) -> tuple[Node, ...]:
    """The nodes that read the value at the end of the chain."""
    return graph.consumers[list(_chain(graph, node))[-1].name]


def _fire_partner(graph: Graph, node: Node) -> Node | None:
    """The 1x1 convolution that expands beside a 3x3 one and meets it in a concatenation, if there is one."""
    for other in graph.consumers[node.inputs[0]]:
        if other is node or not has_weights(other.op) or not other.op.window.pointwise:
            continue
        mine, its = _after(graph, node), _after(graph, other)
        if len(mine) == 1 and mine == its and is_concat(mine[0].op):
            return other
    return None


def choose(graph: Graph, blocks: str = "", share: float | None = None) -> tuple[Site, ...]:
    """The sites that a user means: those of `blocks` such as `2-10` or `3+block5`, or the first `share` of all.

    Raises GraphError for blocks that are none or have no site, or a share that is not above 0 and at most 1.
    """
    found = sites(graph)
    if not found:
        raise GraphError(
            f"{graph.name}: fuse must have a depthwise or dense K x K convolution (K odd) to replace, got none"
        )
    if share is not None:
        if blocks or not 0 < share <= 1:
            raise GraphError(f"{graph.name}: share must be above 0, at most 1, and without blocks, got {share:g}")
        return found[: max(1, round(share * len(found)))]
    if not blocks:
        return found
    wanted = _block_names(graph, blocks, {site.node.block for site in found})
    return tuple(site for site in found if site.node.block in wanted)


def _block_names(graph: Graph, blocks: str, known: set[str]) -> set[str]:
    by_number = {name.lstrip("abcdefghijklmnopqrstuvwxyz"): name for name in known}
    wanted: set[str] = set()
    for word in blocks.split("+"):
        first, dash, last = word.partition("-")
        if dash and first.isdigit() and last.isdigit() and len(first) < 5 and len(last) < 5:
            named = [by_number.get(str(n), str(n)) for n in range(int(first), int(last) + 1)]
        else:
            named = [by_number.get(word, word)]
        for name in named:
            if name not in known:
                raise GraphError(f"{graph.name}: blocks must have a K x K convolution to replace, got {name!r}")
        wanted.update(named)
    return wanted


def fuse(graph: Graph, variant: str, chosen: tuple[Site, ...], *, drop: bool = False, fit: bool = False) -> Graph:
    """`graph` with the chosen convolutions replaced by row and column ones.

    variant: `half` or `full`. drop: leave out the activation right behind a replaced depthwise convolution, as
    published for MobileNetV1. Raises GraphError for another variant or a site where it has no place, Unsupported for
    quantised weights.
    """
    if variant not in ("half", "full"):
        raise GraphError(f"{graph.name}: fuse must be half or full, got {variant!r}")
    float_only(graph, "a network for FuSe convolutions")
    rewriter = _Rewriter(graph, variant == "full", drop, fit)
    return rewriter.run({site.node.name: site for site in chosen})


class _Rewriter:
    def __init__(self, graph: Graph, full: bool, drop: bool, fit: bool) -> None:
        self.graph = graph
        self.full = full
        self.drop = drop
        self.fit = fit
        self.nodes: dict[str, Node] = {}
        self.renamed: dict[str, str] = {}
        self.doubled: set[str] = set()
        """Values that hold every channel twice, first filtered along rows, then along columns."""
        self.params = graph.arrays
        self.skipped: set[str] = set()
        self.widened: dict[str, int] = {}
        """New output channels of 1x1 convolutions beside a replaced 3x3 of a fire module."""

    def run(self, chosen: dict[str, Site]) -> Graph:
        for site in chosen.values():
            if site.kind == "fire":
                self.widen(site.node)
        for node in self.graph.nodes:
            if node.name in self.skipped:
                continue
            site = chosen.get(node.name)
            if site is None:
                self.copy(node)
            else:
                self.replace(site)
        graph = self.graph
        outputs = tuple(self.renamed.get(name, name) for name in graph.outputs)
        if not self.doubled.isdisjoint(outputs):
            raise GraphError(f"{graph.name}: full must have a convolution behind each pair to mix its channels")
        return remade(graph, tuple(self.nodes.values()), outputs, self.params, graph.image)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def add(self, name: str, op: Op, inputs: tuple[str, ...], like: Node) -> str:
        if name in self.nodes:
            raise GraphError(f"{self.graph.name}: {name}: name must be unique")
        shapes = tuple(self.nodes[n].shape for n in inputs)
        try:
            shape = output_shape(op, shapes, like.shape)
        except RilletError as error:
            raise type(error)(f"{self.graph.name}: {name}: {error}") from None
        value = TensorType(shape, like.type.dtype, like.type.quant)
        self.nodes[name] = Node(name, op, inputs, value, like.block)
        return name

    def copy(self, node: Node) -> None:
        """A node that stays, with as many channels as its inputs have now."""
        read = tuple(self.renamed.get(name, name) for name in node.inputs)
        twice = [name in self.doubled for name in read]
        op = node.op
        if has_weights(op):
            if node.name in self.widened:
                op = replace(op, out_channels=self.widened[node.name])
            if any(twice):
                op = self.copy_behind_pair(node, op)
        elif is_batch_norm(op) and any(twice):
            self.twice(node, ("gamma", "beta", "mean", "variance"))
        elif any(twice) and not is_channelwise(op):
            raise GraphError(
                f"{self.graph.name}: {node.name}: full must have a 1x1 convolution behind {node.inputs[0]}, "
                f"and the value goes to {type(op).__name__.lower()}"
            )
        self.add(node.name, op, read, node)
        if any(twice) and not has_weights(op):
            self.doubled.add(node.name)

    def copy_behind_pair(self, node: Node, op: Conv) -> Conv:
        """A convolution that reads a doubled value: both halves at half their weight; a squeeze is doubled as well."""
        if op.groups != 1:
            raise GraphError(f"{self.graph.name}: {node.name}: must be a 1x1 convolution behind a full pair")
        outputs = 1
        if self.excites(node):
            outputs = 2
            op = replace(op, out_channels=2 * op.out_channels)
        if self.gates(node):
            outputs = 2
            op = replace(op, out_channels=2 * self.graph.by_name[node.name].shape.channels)
        if self.graph.params:
            key = f"{node.name}.weight"
            tiled = np.tile(self.params[key].astype(np.float64), (outputs, 1, 1, 2)) / 2
            self.params[key] = tiled.astype(np.float32)
            if op.bias and outputs == 2:
                self.twice(node, ("bias",))
        if outputs == 2:
            self.doubled.add(node.name)
        return op

    def twice(self, node: Node, names: tuple[str, ...]) -> None:
        if self.graph.params:
            for name in names:
                key = f"{node.name}.{name}"
                self.params[key] = np.concatenate([self.params[key]] * 2)

    def readers(self, node: Node) -> tuple[Node, ...]:
        """What reads a convolution's value, its own activation passed over."""
        after = self.graph.consumers[node.name]
        while len(after) == 1 and is_function(after[0].op):
            after = self.graph.consumers[after[0].name]
        return after

    def gates(self, node: Node) -> bool:
        """True for the convolution that makes the gate of a squeeze-and-excite over a doubled value."""
        return any(
            is_product(after.op) and self.renamed.get(after.inputs[0], after.inputs[0]) in self.doubled
            for after in self.readers(node)
        )

    def excites(self, node: Node) -> bool:
        """True for the squeezing convolution of such a squeeze-and-excite."""
        after = self.readers(node)
        return node.shape.pixels == 1 and len(after) == 1 and has_weights(after[0].op) and self.gates(after[0])

    # -- pairs -----------------------------------------------------------------------------------------------------

    def replace(self, site: Site) -> None:
        node = site.node
        source = self.renamed.get(node.inputs[0], node.inputs[0])
        at, out = self.nodes[source].shape, node.shape
        assert has_weights(node.op)
        down, across = node.op.window.stride
        if (-(-at.height // down), -(-at.width // across)) != (out.height, out.width):
            raise GraphError(
                f"{self.graph.name}: {node.name}: must be padded to keep its map's size, got {out} of {at}"
            )
        if source in self.doubled:
            raise GraphError(f"{self.graph.name}: {node.name}: must not follow a full pair without a 1x1 between")
        chain = list(_chain(self.graph, node))
        if site.kind == "dense":
            self.pair_and_mix(node, source, next((link for link in chain if is_batch_norm(link.op)), None))
            return
        full = self.full or site.kind == "fire"
        joined = self.pair(node, source, chain, full, keep_activation=not (self.drop and site.kind == "depthwise"))
        if full and site.kind != "fire":
            self.doubled.add(joined)

    def sides(self, channels: int, full: bool) -> tuple[tuple[bool, slice], tuple[bool, slice]]:
        """The two branches as (along rows, the channels it sees)."""
        half = channels // 2
        if full:
            return (True, slice(0, channels)), (False, slice(0, channels))
        return (True, slice(0, half)), (False, slice(half, channels))

    def shared(self, node: Node, source: str, row: bool, taken: slice) -> str:
        """The channels of `source` that a branch sees."""
        if taken.stop - taken.start == self.nodes[source].shape.channels:
            return source
        if taken.stop == taken.start:
            raise GraphError(f"{self.graph.name}: {node.name}: half must have 2 channels to share, got 1")
        return self.add(f"{node.name}_{_side(row)}_half", Slice(taken.start, taken.stop), (source,), node)

    def line(self, node: Node, read: str, row: bool, activation: Activation) -> str:
        """The row or column convolution of `node`."""
        assert has_weights(node.op)
        channels = self.nodes[read].shape.channels
        window = _line(node.op.window, row)
        op = replace(node.op, out_channels=channels, groups=channels, window=window, activation=activation)
        return self.add(f"{node.name}_{_side(row)}", op, (read,), node)

    def put_line(self, name: str, lines: Floats, row: bool) -> None:
        """Stores the weights of a row or column convolution, given as channels x K."""
        self.params[f"{name}.weight"] = (lines[:, None, :, None] if row else lines[:, :, None, None]).astype(np.float32)

    def pair(self, node: Node, source: str, chain: list[Node], full: bool, keep_activation: bool) -> str:
        """The row and column branches of `node`, with the rest of its chain in each, side by side."""
        assert has_weights(node.op)
        ends: list[str] = []
        for row, taken in self.sides(self.nodes[source].shape.channels, full):
            read = self.shared(node, source, row, taken)
            end = name = self.line(node, read, row, node.op.activation if keep_activation else Activation.NONE)
            if self.graph.params:
                self.start(node, name, row, taken)
            for link in chain[1:]:
                if is_function(link.op) and not keep_activation:
                    continue
                tail = link.name.removeprefix(node.name) if link.name.startswith(node.name) else f"_{link.name}"
                end = self.add(f"{name}{tail}", link.op, (end,), link)
                for param in self.graph.node_params(link) if self.graph.params else ():
                    self.params[f"{end}.{param.name}"] = self.graph.param(link, param.name)[taken]
            ends.append(end)
        joined = f"{node.name}_pair"
        for link in chain:
            self.skipped.add(link.name)
            self.renamed[link.name] = joined
            for param in self.graph.node_params(link):
                self.params.pop(f"{link.name}.{param.name}", None)
        return self.add(joined, Concat(), tuple(ends), node)

    def pair_and_mix(self, node: Node, source: str, norm: Node | None) -> None:
        """A dense convolution as a pair and a 1x1 convolution that does what the dense one did with the channels.

        The pair has biases and batch norms where the dense convolution has them; they start as the identity.
        """
        assert has_weights(node.op)
        ends: list[str] = []
        shape = self.nodes[source].shape
        for row, taken in self.sides(shape.channels, self.full):
            read = self.shared(node, source, row, taken)
            channels = self.nodes[read].shape.channels
            name = self.line(node, read, row, Activation.NONE)
            if self.graph.params:
                lines, _ = _dense_start(self.graph.param(node, "weight").astype(np.float64), node.op.window, row)
                self.put_line(name, lines[taken], row)
                if node.op.bias:
                    self.params[f"{name}.bias"] = np.zeros(channels, np.float32)
            if norm is not None and is_batch_norm(norm.op):
                name = self.add(f"{name}_bn", norm.op, (name,), node)
                if self.graph.params:
                    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
                    values = {"gamma": ones, "beta": zeros, "mean": zeros, "variance": ones - norm.op.epsilon}
                    self.params |= {f"{name}.{key}": value.astype(np.float32) for key, value in values.items()}
            ends.append(name)
        joined = self.add(f"{node.name}_pair", Concat(), tuple(ends), node)
        self.add(node.name, replace(node.op, window=Window()), (joined,), node)
        if self.graph.params:
            weight = self.graph.param(node, "weight").astype(np.float64)
            mixes = [
                _dense_start(weight, node.op.window, row)[1][:, taken]
                for row, taken in self.sides(shape.channels, self.full)
            ]
            mix = np.concatenate(mixes, 1) / (2 if self.full else 1)
            self.params[f"{node.name}.weight"] = mix.astype(np.float32)[:, None, None, :]

    def widen(self, node: Node) -> None:
        """Gives the 1x1 of a fire module the channels that a pair on the squeezed ones does not make."""
        partner = _fire_partner(self.graph, node)
        assert partner is not None
        if self.graph.params:
            raise Unsupported(f"{self.graph.name}: {node.name}: a trained fire module has no weights for a wider 1x1")
        made = 2 * self.graph.input_shapes(node)[0].channels
        wide = partner.shape.channels + node.shape.channels - made
        if wide < 1:
            raise GraphError(f"{self.graph.name}: {node.name}: must make more than {made} channels, twice the squeezed")
        self.widened[partner.name] = wide

    # -- weights ---------------------------------------------------------------------------------------------------

    def start(self, node: Node, name: str, row: bool, taken: slice) -> None:
        """Weights (and bias) of one branch, out of those of the convolution that it replaces."""
        assert has_weights(node.op)
        weight, window = self.graph.param(node, "weight").astype(np.float64), node.op.window
        if node.op.groups > 1:
            lines = _line_weights(weight[..., 0], window, row, self.fit)
        elif _kind(self.graph, node) == "bottleneck":
            lines = _line_weights(np.einsum("cijc->cij", weight), window, row, self.fit)
        else:
            lines, _ = _dense_start(weight, window, row)
        self.put_line(name, lines[taken], row)
        if node.op.bias:
            self.params[f"{name}.bias"] = self.graph.param(node, "bias")[taken]


def _side(row: bool) -> str:
    return "row" if row else "column"


def _line(window: Window, row: bool) -> Window:
    """A window's row or column: the stride stays in both directions, the padding only along the line."""
    top, bottom, left, right = window.padding
    if row:
        return Window((1, window.kernel[1]), window.stride, (0, 0, left, right))
    return Window((window.kernel[0], 1), window.stride, (top, bottom, 0, 0))


def _seen(window: Window, row: bool) -> int:
    """Which row (or column) of the kernel sees what its line sees: the middle one, but for lopsided padding."""
    return min(window.padding[0 if row else 2], window.kernel[0 if row else 1] - 1)


def _line_weights(kernels: Floats, window: Window, row: bool, fit: bool) -> Floats:
    """One row or column for each K x K kernel."""
    if not fit:
        seen = _seen(window, row)
        return kernels[:, seen, :] if row else kernels[:, :, seen]
    left, sizes, right = np.linalg.svd(kernels)
    columns, rows = left[:, :, 0], right[:, 0, :]
    if row:
        return rows * (sizes[:, :1] * columns.sum(1, keepdims=True))
    return columns * (sizes[:, :1] * rows.sum(1, keepdims=True))


def _dense_start(weight: Floats, window: Window, row: bool) -> tuple[Floats, Floats]:
    """For each input channel of a dense convolution, the line and the mix of its least-squares rank-one fit.

    weight: out x K x K x in. Returns lines (in x K) and mix (out x in), for the rows or columns that the lines see.
    """
    seen = _seen(window, row)
    lines = weight[:, seen] if row else weight[:, :, seen]
    left, sizes, right = np.linalg.svd(lines.transpose(2, 0, 1), full_matrices=False)
    return right[:, 0, :], (left[:, :, 0] * sizes[:, :1]).T
