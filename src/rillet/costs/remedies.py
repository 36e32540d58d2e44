"""Changes that make a network fit a board: each planned before it is named, and named as a command."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rillet.analyses.memory import precision, value_bits
from rillet.costs.fit import Fit, Planned, at_bits, kernel_bytes, planned, silent
from rillet.errors import GraphError, Unsupported
from rillet.ir.facts import has_weights
from rillet.ir.graph import Graph
from rillet.ir.types import Shape
from rillet.plan.board.planner import may_fit
from rillet.plan.choose import folded
from rillet.system.record import Record
from rillet.targets.boards import Board
from rillet.transforms.fold import without_weights
from rillet.transforms.live import live
from rillet.transforms.resize import with_resolution, with_width

WIDTH_STEP = 0.05
_OBJECTIVES = ("memory", "time")
_NOBODY = "there is no smaller step"

Words = Mapping[str, str]
"""What stands behind a model's name, such as {"width": "0.5", "resolution": "96"}."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a network is from, so that another of its kind can be made and named."""

    opened: Callable[[Words], Graph]
    """The network made anew under other words."""
    said: Callable[[Words], tuple[str, ...]]
    """What is typed for it, with its options; nothing where it has no name."""
    width: float = 1.0
    """Of the network as it is."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that makes a network fit, or the reason why changes of its kind do not."""

    kind: str
    """`live channels` (docs/live.md), `other plan`, `8 bits`, `width`, `resolution`, `width and resolution`."""
    change: str
    """What is said behind the model's name and as options, such as `width=0.35 --bits 8`; empty where there is none."""
    command: str
    """What is typed to see it fit; empty where there is no change, or no name for the network."""
    fit: Fit | None
    why: str
    """Empty where there is a change."""


@dataclass(frozen=True, slots=True, repr=False)
class Fits(Record):
    """A network on one board or several."""

    rows: tuple[Fit, ...]
    boards: tuple[Board, ...]
    remedies: tuple[Remedy, ...]
    """The smallest changes that make it fit, where it was asked about one board and does not."""

    @property
    def fits(self) -> bool:
        """True where it fits a board."""
        return any(row.fits for row in self.rows)

    def __repr__(self) -> str:
        number = sum(row.fits for row in self.rows)
        where = self.rows[0].board if len(self.rows) == 1 else f"{number} of {len(self.rows)} boards"
        return f"<Fits {self.rows[0].model}: {'fits' if self.fits else 'does not fit'} {where}>"


def remedies(
    graph: Graph,
    board: Board,
    source: Source | None = None,
    *,
    bits: int | None = None,
    objective: str = "memory",
    progress: Callable[[int, int], None] = silent,
) -> tuple[Remedy, ...]:
    """The smallest change of each kind that makes the network fit, each found by planning the changed network.

    source: makes the network under other words (a network of the zoo rounds its channels in its own way); else the
    network itself is resized. Live channels come first, as they keep every output byte, then the other plan, which
    does too; then 8 bits for a float network, the largest width in steps of 0.05, the largest resolution in steps of 8
    (16 from 128 pixels on), and the largest scale that takes both down alike. A smaller network is taken never to need
    more. A float network that 8 bits alone do not bring in is made smaller in 8 bits. None where the network fits.
    """
    found = planned(graph, bits, objective).on(board)
    if found.fits:
        return ()
    search = _Search(board, source or resized(graph), bits, objective, precision(graph))
    changes = [*_live(graph, search), _other_plan(graph, search)]
    progress(1, 4)
    if found.bits == 32:
        whole = _Search(board, search.source, 8, objective, precision(graph))
        changes.append(whole.remedy("8 bits", {}, planned(graph, 8, objective)))
        search = search if changes[-1].fit is not None else whole
    kinds = _smaller(graph, search)
    for done, (kind, steps) in enumerate(kinds.items(), 2):
        changes.append(search.largest(kind, steps))
        progress(done, 1 + len(kinds))
    return tuple(changes)


def _live(graph: Graph, search: "_Search") -> tuple[Remedy, ...]:
    """The network without the channels that change no output byte; nothing where it has none of them."""
    if not graph.params or value_bits(graph) == 32 or search.bits == 32:
        return ()
    try:
        made = live(graph)
    except Unsupported:
        return ()
    if made.param_bytes_after == made.param_bytes_before:
        return ()
    return (search.remedy("live channels", {}, search.planned(made.graph), "--live"),)


def _other_plan(graph: Graph, search: "_Search") -> Remedy:
    (other,) = (word for word in _OBJECTIVES if word != search.objective)
    tried = _Search(search.board, search.source, search.bits, other, search.own)
    return tried.remedy("other plan", {}, tried.planned(graph))


def _smaller(graph: Graph, search: "_Search") -> dict[str, list[dict[str, str]]]:
    """The steps of each kind, the largest first."""
    shape, width = graph.input_nodes[0].shape, search.source.width
    words = [f"{k * WIDTH_STEP:.4g}" for k in range(int(width / WIDTH_STEP + 1), 0, -1)]
    widths = [word for word in words if float(word) < width - 1e-9]
    step = 16 if max(shape.height, shape.width) >= 128 else 8
    sides, _ = search.usable([{"resolution": _side(shape, k * step)} for k in range((shape.height - 1) // step, 0, -1)])
    both: list[dict[str, str]] = []
    for word in widths:
        side = _side(shape, max(1, round(float(word) / width * shape.height / step)) * step)
        both.append({"width": word, **({"resolution": side} if {"resolution": side} in sides else (sides or [{}])[-1])})
    return {"width": [{"width": word} for word in widths], "resolution": sides, "width and resolution": both}


def _side(shape: Shape, rows: int) -> str:
    """A resolution of `rows` and as many columns as keep the picture's form."""
    square = shape.height == shape.width
    return str(rows) if square else f"{rows}x{max(1, round(rows * shape.width / shape.height))}"


def resized(graph: Graph) -> Source:
    """A network that has no name: it is resized where it lies."""

    def opened(words: Words) -> Graph:
        out = without_weights(graph)
        if "width" in words:
            out = with_width(out, float(words["width"]))
        if "resolution" in words:
            high, _, wide = words["resolution"].partition("x")
            out = with_resolution(out, int(high), int(wide or high))
        return out

    return Source(opened, lambda _: ())


class _Search:
    """Finds the first of a row of ever smaller networks that fits."""

    def __init__(self, board: Board, source: Source, bits: int | None, objective: str, own: str) -> None:
        self.board, self.source, self.bits, self.objective, self.own = board, source, bits, objective, own
        self._found: dict[tuple[tuple[str, str], ...], Fit] = {}

    def planned(self, graph: Graph) -> Planned:
        """A network of this search, to be planned."""
        return Planned(at_bits(graph, self.bits), self.objective, self.own)

    def remedy(self, kind: str, words: Words, made: Planned, *options: str) -> Remedy:
        """A change of the whole network, where it fits."""
        return self._remedy(kind, words, made.on(self.board), *options)

    def _remedy(self, kind: str, words: Words, found: Fit, *options: str) -> Remedy:
        said = [f"{key}={word}" for key, word in words.items()]
        bits = ["--bits", str(self.bits)] if self.bits is not None else []
        plan = ["--objective", self.objective] if self.objective != "memory" else []
        change = " ".join(filter(None, (",".join(said), *options, *bits, *plan))) or f"--objective {self.objective}"
        if not found.fits:
            return Remedy(kind, "", "", None, f"even with {change}: {found.misses[0]}")
        model = self.source.said(words)
        command = shlex.join(("rillet", "fit", *model, "--target", self.board.key, *options, *bits, *plan))
        return Remedy(kind, change, command if model else "", found, "")

    def largest(self, kind: str, changes: Sequence[dict[str, str]]) -> Remedy:
        """The first change that fits: bounds below every plan say where to begin, whole plans go on from there."""
        usable, why = self.usable(changes)
        if not usable:
            return Remedy(kind, "", "", None, why or _NOBODY)
        last = len(usable) - 1
        if not self.fit(usable[last]).fits:
            return self._remedy(kind, usable[last], self.fit(usable[last]))
        low, high = 0, last
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.may_fit(usable[middle]) else (middle + 1, high)
        high = last
        step = 1
        while low < high and not self.fit(usable[low]).fits:
            low, step = min(low + step, high), 2 * step
        # Between the last that did not fit and this one.
        before = max(0, low - step // 2 + 1) if step > 1 else low
        while before < low:
            middle = (before + low) // 2
            before, low = (before, middle) if self.fit(usable[middle]).fits else (middle + 1, low)
        return self._remedy(kind, usable[low], self.fit(usable[low]))

    def usable(self, changes: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
        """The changes down to the smallest that the network takes, and why it takes none smaller."""
        why = ""
        for stop in range(len(changes), 0, -1):
            try:
                self.source.opened(changes[stop - 1])
            except (GraphError, Unsupported) as error:
                why = str(error)
            else:
                return list(changes[:stop]), why
        return [], why

    def fit(self, change: dict[str, str]) -> Fit:
        """The changed network on the board."""
        key = tuple(sorted(change.items()))
        if key not in self._found:
            self._found[key] = self.planned(self.source.opened(change)).on(self.board)
        return self._found[key]

    def may_fit(self, change: dict[str, str]) -> bool:
        """False where no plan fits; a plan can still take more than the least peak, and code beside the weights."""
        stored = folded(at_bits(self.source.opened(change), self.bits))
        if _least_flash(stored) > self.board.flash_bytes:
            return False
        try:
            return may_fit(stored, self.board)
        except Unsupported:
            return may_fit(stored, self.board, resident=True)


def _least_flash(stored: Graph) -> int:
    """A bound below the flash of every plan: whole weights, shared ones once; those of one or two bits may be lists."""
    own = (n for n in stored.nodes if has_weights(n.op) and stored.key(n, "weight") == f"{n.name}.weight")
    return sum(kernel_bytes(stored, node) for node in own if has_weights(node.op) and node.op.weights.bits >= 8)
