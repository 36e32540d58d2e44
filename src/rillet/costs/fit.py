"""Fit of a network on a microcontroller: flash, RAM and time on a board, what is missing, and remedies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from rillet.analyses.memory import precision, stored_at, value_bits
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.facts import has_weights, has_window, is_constant, is_given, is_input, is_pool
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Rounding, Window
from rillet.ir.types import Shape
from rillet.plan.pipeline.bottleneck import span_along
from rillet.plan.rows.kernels import choose
from rillet.plan.rows.plan import Kernel, RowPlan
from rillet.plan.rows.planner import least_row_bytes, plan_layerwise, plan_rows
from rillet.system.record import Record
from rillet.targets.boards import Board
from rillet.transforms.fold import without_weights
from rillet.transforms.live import live
from rillet.transforms.resize import with_resolution, with_width

CODE_BYTES_PER_STAGE = 600
"""Emitted C for a Cortex-M4 by clang -Os, weights apart: 39,685 bytes for the 67 stages of MobileNetV2 (592 a stage),
17,102 for 30 of MobileNetV1 0.25 (570), 6,494 for 15 of a ResNet-8 (433); at -O2 four to five times as much."""
STARTUP_BYTES = 4096
"""Vectors, start-up code, memcpy and exp: an assumption."""
STACK_BYTES = 2048
"""Stack and the caller's own data: an assumption."""
STATE_BYTES_PER_STAGE = 5
"""Counters of the emitted C beside the arena: 276 bytes for 67 stages, 68 for 15."""
CHANNEL_BYTES = 9
"""Bias, mantissa and shift of each output channel of an 8-bit layer, as emitted; a float layer has its bias alone."""
SHIFT_CHANNEL_BYTES = 5
"""The same under the rule `shift`, which has no mantissa."""
_TABLE_BYTES = {Kernel.LOOKUP: 256, Kernel.SOFTMAX: 1024}
WIDTH_STEP = 0.05
WEIGHT_BITS = (8, 4, 2)

Open = Callable[[dict[str, str]], Graph]
"""Makes the network anew under words such as {"width": "0.5", "resolution": "96"}."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One network on one board."""

    model: str
    board: str
    precision: str
    """What it was planned at, such as `int8`."""
    own_precision: str
    """What the network is by itself."""
    bits: int
    """Bits of an activation: 32 for float32."""
    weight_bits: int
    """Of the widest weights."""
    fits: bool
    ram_bytes: int
    """Arena of the row plan with the least, counters and stack."""
    arena_bytes: int
    layerwise_bytes: int
    """The arena layer by layer, full tensors and all."""
    ram_limit: int
    ram_spare: int
    """Bytes left over; negative where some are missing."""
    flash_bytes: int
    """Weights, other constants and code."""
    weight_bytes: int
    code_bytes: int
    """An estimate."""
    flash_limit: int
    flash_spare: int
    macs: int
    milliseconds: float | None
    """An estimate, with 8-bit kernels; None for floats."""
    low_milliseconds: float | None
    high_milliseconds: float | None
    fullest: str
    """The layers that run when RAM is fullest."""
    image_resident: bool
    """True where the whole image must lie in RAM, as its rows cannot be pushed in."""
    misses: tuple[str, ...]
    """Resources that are short and by how much, a sentence each."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A change that makes a network fit, or the reason why changes of its kind do not."""

    kind: str
    """`live channels` (docs/live.md), `weights`, `width`, `resolution`, `width and resolution`, `width and weights`,
    `resolution and weights`.
    """
    change: str
    """In words such as `width=0.35,weight_bits=4`; empty where there is none."""
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


def fit(graph: Graph, board: Board, bits: int | None = None, weight_bits: int | None = None) -> Fit:
    """The network on a board at its own precision, or with values and weights of 8 or 32 (float) `bits`.

    weight_bits: weights of no more than so many. Raises TargetError for other bits, Unsupported where the network has
    no row plan.
    """
    return fit_all(graph, (board,), bits, weight_bits)[0]


def fit_all(
    graph: Graph, boards: Sequence[Board], bits: int | None = None, weight_bits: int | None = None
) -> tuple[Fit, ...]:
    """The network on each board, planned once; raises as `fit` does."""
    as_stored = _checked(graph, bits, weight_bits)
    plan, own = least_plan(as_stored), precision(graph)
    return tuple(judge(plan, board, weight_bits, own) for board in boards)


def judge(plan: RowPlan, board: Board, weight_bits: int | None = None, own_precision: str = "") -> Fit:
    """What a planned network, folded, takes beside what a board has, at the precision that it was planned at.

    weight_bits: weights of no more than so many. own_precision: that of the network where it is another.
    """
    stored, bits = plan.graph, value_bits(plan.graph)
    flash = _flash(stored, weight_bits)
    ram = plan.arena_bytes + _other_ram(stored)
    fullest = max(plan.segments, key=lambda segment: segment.peak_bytes)
    where = " to ".join(dict.fromkeys((fullest.stages[0].node, fullest.stages[-1].node)))
    misses: list[str] = []
    if ram > board.ram_bytes:
        few = f"{ram - board.ram_bytes:,} too few"
        misses.append(f"RAM must be at least {ram:,} bytes, got {board.ram_bytes:,}: {few}; fullest in {where}")
    misses += _lacks_flash(flash.total, board)
    misses += _too_small_for(stored, board, weight_bits)
    rates = (board.cycles_per_mac.value, board.cycles_per_mac.low, board.cycles_per_mac.high)
    times = [stored.macs * rate / board.clock_hz * 1e3 if bits == 8 else None for rate in rates]
    planned_at = precision(stored)
    return Fit(
        model=stored.name,
        board=board.name,
        precision=planned_at,
        own_precision=own_precision or planned_at,
        bits=bits,
        weight_bits=min(_widest(stored), weight_bits or 32),
        fits=not misses,
        ram_bytes=ram,
        arena_bytes=plan.arena_bytes,
        layerwise_bytes=plan_layerwise(stored).arena_bytes,
        ram_limit=board.ram_bytes,
        ram_spare=board.ram_bytes - ram,
        flash_bytes=flash.total,
        weight_bytes=flash.weights,
        code_bytes=flash.code,
        flash_limit=board.flash_bytes,
        flash_spare=board.flash_bytes - flash.total,
        macs=stored.macs,
        milliseconds=times[0],
        low_milliseconds=times[1],
        high_milliseconds=times[2],
        fullest=where,
        image_resident=plan.resident,
        misses=tuple(misses),
    )


def _checked(graph: Graph, bits: int | None, weight_bits: int | None) -> Graph:
    """The network as it is to be stored; raises TargetError for bits that there are not."""
    if bits not in (None, 8, 32):
        raise TargetError(f"--bits must be 8 or 32, got {bits}")
    as_stored = stored_at(graph, bits)
    widest = _widest(as_stored)
    if weight_bits is not None and not 1 <= weight_bits <= widest:
        raise TargetError(f"--weight-bits must be 1 to {widest}, those of the widest weights, got {weight_bits}")
    return as_stored


def _widest(stored: Graph) -> int:
    """Bits of the widest weights; those of values where there are none."""
    return max((n.op.weights.bits for n in stored.nodes if has_weights(n.op)), default=value_bits(stored))


def least_plan(stored: Graph) -> RowPlan:
    """The row plan with the least arena, rows pushed in where that can be; raises Unsupported where there is none."""
    try:
        return plan_rows(stored)
    except Unsupported:
        return plan_rows(stored, resident=True)


def _stages(stored: Graph) -> list[Node]:
    return [node for node in stored.nodes if not is_given(node.op)]


def _other_ram(stored: Graph) -> int:
    return STACK_BYTES + STATE_BYTES_PER_STAGE * len(_stages(stored))


# -- flash -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Flash:
    weights: int
    """Kernels, biases, rescaling constants, tables and constants."""
    code: int

    @property
    def total(self) -> int:
        return self.weights + self.code


def _kernel_bytes(stored: Graph, node: Node, weight_bits: int | None) -> int:
    assert has_weights(node.op)
    shape, own = node.op.weight_shape(stored.input_shapes(node)[0]), node.op.weights.bits
    return (reduce(lambda a, b: a * b, shape, 1) * min(own, weight_bits or own) + 7) // 8


def _flash(stored: Graph, weight_bits: int | None) -> _Flash:
    weights = 0
    for node in stored.nodes:
        if has_weights(node.op):
            if stored.key(node, "weight") == f"{node.name}.weight":  # a shared kernel lies in flash once
                weights += _kernel_bytes(stored, node, weight_bits)
            channel = SHIFT_CHANNEL_BYTES if node.op.rounding is Rounding.SHIFT else CHANNEL_BYTES
            levels = 0 if node.op.levels is None else 2 * node.op.levels.bits // 8
            weights += node.op.out_channels * ((4 if node.op.real else channel) + levels)
        elif is_constant(node.op):
            weights += node.type.bytes
        elif not is_input(node.op):
            weights += _TABLE_BYTES.get(choose(stored, node, 1).kernel, 0)
    return _Flash(weights, STARTUP_BYTES + CODE_BYTES_PER_STAGE * len(_stages(stored)))


def _lacks_flash(total: int, board: Board) -> tuple[str, ...]:
    """A sentence where flash is too small."""
    if total <= board.flash_bytes:
        return ()
    few = f"{total - board.flash_bytes:,} too few"
    return (f"flash must be at least {total:,} bytes, got {board.flash_bytes:,}: {few}",)


def _too_small_for(stored: Graph, board: Board, weight_bits: int | None) -> list[str]:
    """The worst of the layers that no plan brings into the board: by a window with its result, or by its kernel."""
    stages = _stages(stored)
    kernels = {node.name: _kernel_bytes(stored, node, weight_bits) for node in stages if has_weights(node.op)}
    windows = {node.name: least_layer_bytes(stored, node) + STACK_BYTES for node in stages}
    out: list[str] = []
    for sizes, limit, what in (
        (windows, board.ram_bytes, "RAM for a window, its result and scratch memory"),
        (kernels, board.flash_bytes, "flash for its weights"),
    ):
        over = [name for name, size in sizes.items() if size > limit]
        if over:
            worst = max(over, key=sizes.__getitem__)
            more = f" ({len(over) - 1} other layers too)" if len(over) > 1 else ""
            out.append(f"{worst} alone must have {sizes[worst]:,} bytes of {what}, got {limit:,}{more}")
    return out


def least_layer_bytes(stored: Graph, node: Node) -> int:
    """Bytes that every plan has while a layer works: the pixels from the first to the last that one window sees, one
    pixel of the result, and scratch memory. Pushed pixels that may be read where the caller has them count nothing.
    """
    if not has_window(node.op):
        return node.type.pixel_bytes
    source = stored.by_name[node.inputs[0]]
    scratch = choose(stored, node, 1).scratch_bytes
    if is_pool(node.op) and node.op.window.covers(source.shape):
        return scratch + source.type.pixel_bytes
    held = 0 if _may_stay_with_the_caller(stored, source) else _window_pixels(node.op.window, node.shape, source.shape)
    return held * source.type.pixel_bytes + node.type.pixel_bytes + scratch


def _window_pixels(window: Window, out: Shape, source: Shape) -> int:
    """The pixels from the first to the last under one window, where they are most; padding is no pixel."""
    (high, wide), (down, right), (top, _, left, _) = window.kernel, window.stride, window.padding
    rows = span_along(out.height, source.height, high, down, top, window.dilation[0])
    columns = span_along(out.width, source.width, wide, right, left, window.dilation[1])
    further = [int((last - first).max()) for first, last in (rows, columns)]
    return 0 if min(further) < 0 else further[0] * source.width + further[1] + 1


def _may_stay_with_the_caller(stored: Graph, source: Node) -> bool:
    return is_input(source.op) and all(reader.shape == source.shape for reader in stored.consumers[source.name])


# -- remedies --------------------------------------------------------------------------------------------------------


def remedies(
    graph: Graph,
    board: Board,
    open_with: Open | None = None,
    *,
    bits: int | None = None,
    weight_bits: int | None = None,
    width: float = 1.0,
) -> tuple[Remedy, ...]:
    """The smallest change of each kind that makes the network fit, each found by planning the changed network.

    open_with: makes the network under other words (a network of the zoo rounds its channels in its own way); else the
    network itself is resized. width: its width now. Live channels come first, as they
    keep every output byte, then narrower weights, as they keep the network; then the
    largest width in steps of 0.05, the largest resolution in steps of 8 (16 from 128 pixels on), the largest scale that
    takes both down alike, and width or resolution with narrower weights. A smaller network is taken never to need more.
    None where the network fits.
    """
    plan = least_plan(_checked(graph, bits, weight_bits))
    found = judge(plan, board, weight_bits)
    if found.fits:
        return ()
    real, now, own = found.bits == 32, found.weight_bits, precision(graph)
    weight_bits = now if now < _widest(plan.graph) else None
    shape = graph.input_nodes[0].shape
    plans: dict[tuple[object, ...], RowPlan] = {}
    search = _Search(board, open_with or _resized(graph, width), bits, weight_bits, plans, own)
    steps = [_number(k * WIDTH_STEP) for k in range(int(width / WIDTH_STEP + 1), 0, -1)]
    widths = [word for word in steps if float(word) < width - 1e-9]
    step = 16 if max(shape.height, shape.width) >= 128 else 8
    sides, _ = search.usable([{"resolution": _side(shape, k * step)} for k in range((shape.height - 1) // step, 0, -1)])
    both: list[dict[str, str]] = []
    for word in widths:
        side = _side(shape, max(1, round(float(word) / width * shape.height / step)) * step)
        both.append({"width": word, **({"resolution": side} if {"resolution": side} in sides else (sides or [{}])[-1])})
    by_width = [{"width": word} for word in widths]
    narrower = _Search(board, search.opened, 8 if real else bits, 4, plans, own, narrowed=real)
    changes = [
        *_without_dead(graph, board, bits, weight_bits, own),
        _narrower(graph, plan, board, now, own),
        search.largest("width", by_width),
        search.largest("resolution", sides),
        search.largest("width and resolution", both),
    ]
    if now > 4:
        changes += [
            narrower.largest("width and weights", by_width),
            narrower.largest("resolution and weights", sides),
        ]
    return tuple(changes)


def _without_dead(
    graph: Graph, board: Board, bits: int | None, weight_bits: int | None, own: str
) -> tuple[Remedy, ...]:
    """The network without the channels that change no output byte; nothing where it has none of them."""
    if not graph.params or value_bits(graph) == 32 or bits == 32:
        return ()
    made = live(graph)
    if made.param_bytes_after == made.param_bytes_before:
        return ()
    found = judge(least_plan(_checked(made.graph, bits, weight_bits)), board, weight_bits, own)
    if not found.fits:
        return (Remedy("live channels", "", None, f"even with --live: {found.misses[0]}"),)
    return (Remedy("live channels", "live", found, ""),)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _side(shape: Shape, rows: int) -> str:
    """A resolution of `rows` and as many columns as keep the picture's form."""
    square = shape.height == shape.width
    return str(rows) if square else f"{rows}x{max(1, round(rows * shape.width / shape.height))}"


def _resized(graph: Graph, width: float) -> Open:
    def opened(words: dict[str, str]) -> Graph:
        out = without_weights(graph)
        if "width" in words:
            out = with_width(out, float(words["width"]) / width)
        if "resolution" in words:
            high, _, wide = words["resolution"].partition("x")
            out = with_resolution(out, int(high), int(wide or high))
        return out

    return opened


def _narrower(graph: Graph, plan: RowPlan, board: Board, now: int, own: str) -> Remedy:
    """The widest weights that fit; a float network first takes 8-bit values altogether."""
    tried = [narrow for narrow in WEIGHT_BITS if narrow < now]
    if not tried:
        return Remedy("weights", "", None, f"weights have {now} bits already")
    real = value_bits(plan.graph) == 32
    plan = least_plan(stored_at(graph, 8)) if real else plan
    fits = [judge(plan, board, None if narrow == 8 else narrow, own) for narrow in tried]
    found = next((one for one in fits if one.fits), None)
    if found is None:
        return Remedy("weights", "", None, f"even with weights of {tried[-1]} bits: {fits[-1].misses[0]}")
    return Remedy("weights", _words({}, None if found.weight_bits == 8 else found.weight_bits, real), found, "")


class _Search:
    """Finds the first of a row of ever smaller networks that fits."""

    def __init__(
        self,
        board: Board,
        opened: Open,
        bits: int | None,
        weight_bits: int | None,
        plans: dict[tuple[object, ...], RowPlan],
        own: str,
        *,
        narrowed: bool = False,
    ) -> None:
        """plans: those made so far, for all searches; narrowed: activations are of fewer bits than they were."""
        self.board, self.opened, self.bits, self.weight_bits = board, opened, bits, weight_bits
        self.plans, self.own, self.narrowed = plans, own, narrowed

    def largest(self, kind: str, changes: Sequence[dict[str, str]]) -> Remedy:
        """The first change that fits, by halving with the least peak, then by whole plans from there on."""
        usable, why = self.usable(changes)
        if not usable:
            return Remedy(kind, "", None, why or "there is no smaller step")
        smallest = usable[-1]
        missing = _lacks_flash(_flash(self.stored(smallest), self.weight_bits).total, self.board)
        low, high = 0, len(usable) - 1
        while low < high and not missing:
            middle = (low + high) // 2
            low, high = (low, middle) if self.may_fit(usable[middle]) else (middle + 1, high)
        for change in usable[low:] if not missing else ():
            found = self.fit(change)
            if found.fits:
                return Remedy(kind, self.words(change), found, "")
            missing = found.misses
        return Remedy(kind, "", None, f"even with {self.words(smallest)}: {missing[0]}")

    def usable(self, changes: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
        """The changes down to the smallest that the network takes, and why it takes none smaller."""
        why = ""
        for stop in range(len(changes), 0, -1):
            try:
                self.opened(changes[stop - 1])
            except (GraphError, Unsupported) as error:
                why = str(error)
            else:
                return list(changes[:stop]), why
        return [], why

    def fit(self, change: dict[str, str]) -> Fit:
        """The changed network on the board."""
        key = (self.bits, *sorted(change.items()))
        if key not in self.plans:
            self.plans[key] = least_plan(self.stored(change))
        return judge(self.plans[key], self.board, self.weight_bits, self.own)

    def stored(self, change: dict[str, str]) -> Graph:
        """The changed network, folded, in as many bits as are asked for."""
        return stored_at(self.opened(change), self.bits)

    def words(self, change: dict[str, str]) -> str:
        """The change in words, narrower weights among them."""
        return _words(change, self.weight_bits, self.narrowed)

    def may_fit(self, change: dict[str, str]) -> bool:
        """False where no plan fits; a plan can still take more than the least peak."""
        stored = self.stored(change)
        if _flash(stored, self.weight_bits).total > self.board.flash_bytes:
            return False
        try:
            least = least_row_bytes(stored)
        except Unsupported:
            least = least_row_bytes(stored, resident=True)
        return least + _other_ram(stored) <= self.board.ram_bytes


def _words(change: dict[str, str], weight_bits: int | None, narrowed: bool) -> str:
    said = [f"{key}={word}" for key, word in change.items()]
    if narrowed:
        said.append("bits=8")
    if weight_bits is not None:
        said.append(f"weight_bits={weight_bits}")
    return ",".join(said)
