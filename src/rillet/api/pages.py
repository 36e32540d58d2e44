"""Pages: one file about a network, with the network itself at work in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rillet.api import analysis, checks, drawing, machines, plans
from rillet.api.machines import Named
from rillet.costs import machines as costing
from rillet.errors import BuildError, RilletError, TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.models.compare import Comparison
from rillet.plan.options import PlanOptions
from rillet.plan.pipeline.plan import PixelPlan
from rillet.plan.rows.plan import RowPlan
from rillet.report.progress import Advance, shown
from rillet.system.record import Record
from rillet.system.serving import MOST_PORT, Served
from rillet.targets.arrays import ArrayMachine
from rillet.targets.boards import Board
from rillet.targets.chips import StreamChip
from rillet.targets.host import Host

if TYPE_CHECKING:
    from rillet.costs.roofline import Roofline

_ROOFS = 3
"""Rooflines that a page draws at most."""
_COMPARED = ("systolic_64x64", "zcu102", "nano33ble")
"""Machines of a comparison where none is named: one of each kind."""


@dataclass(frozen=True, repr=False)
class Page(Record):
    """A page that was written."""

    path: Path
    bytes: int
    own_bytes: int
    """Of these, all but the weights and the picture, each of which lies in the page as base64."""
    machines: int
    """In its table."""
    runs: bool
    """Whether the network is in it, to be run."""

    def __repr__(self) -> str:
        return f"Page({str(self.path)!r}, {self.bytes:,} bytes, {self.own_bytes:,} its own, {self.machines} machines)"


@dataclass(frozen=True, slots=True)
class _Made:
    """A page in memory."""

    data: bytes
    own_bytes: int
    machines: int
    runs: bool


def page(
    net: Graph,
    path: "str | PathLike[str]" = "page.html",
    target: Named | Sequence[Named] | None = None,
    *,
    image: "str | PathLike[str] | None" = None,
    progress: Advance | None = None,
) -> Page:
    """Writes one page about a network, which loads nothing: its layers (shapes, quantisation, weights, emitted C), its
    memory over time, what it takes on machines, and, where the network has weights, the network itself to be run.

    target: machines by name, .toml file or record; all arrays, chips and boards by default. The memory is that of the
    first board or host among them, else of the plan of least memory; of a chip the pipeline is drawn. image: a picture
    that it is run on first. progress: takes steps done and how many there are: machines, and the network's program.
    Raises TargetError for an unknown machine, GraphError for what is no picture, BuildError where the file cannot be
    written.
    """
    from rillet.system.files import write_file

    out = checks.path(path, "path")
    made = _made(net, target, image, progress)
    write_file(out, made.data)
    return Page(out, len(made.data), made.own_bytes, made.machines, made.runs)


def serve(
    net: Graph,
    target: Named | Sequence[Named] | None = None,
    *,
    image: "str | PathLike[str] | None" = None,
    port: int = 0,
    progress: Advance | None = None,
) -> Served:
    """Serves the page about a network (`page`) to this machine alone, at 127.0.0.1, and gives it: its `url`, `close()`
    and `wait()`; a `with` block closes it.

    port: 0 for one that is free. Raises as `page` does, TargetError for what is no port, BuildError for one that cannot
    be used.
    """
    given: Any = port
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= MOST_PORT:
        raise TargetError(f"--port must be from 0 to {MOST_PORT}, got {port!r}")
    return Served(_made(net, target, image, progress).data, port)


def compare_page(
    nets: Sequence[Graph],
    path: "str | PathLike[str]" = "compare.html",
    target: Named | Sequence[Named] | None = None,
    *,
    bits: int = 8,
    progress: Advance | None = None,
) -> tuple[Comparison, Page]:
    """Writes a page that compares networks, which loads nothing: any two of accuracy, MACs, bytes, and latency and
    energy on machines against each other, with the front of both; gives the comparison, too.

    target: machines by name, .toml file or record; an array, a chip and a board by default. bits: as for `compare`.
    Raises GraphError for fewer than two networks, TargetError for an unknown machine, BuildError where the file cannot
    be written.
    """
    from rillet.report import compare_page as report
    from rillet.system.files import write_file

    out, found = checks.path(path, "path"), analysis.compare(nets, bits=bits, progress=progress)
    costs = [analysis.cost(net, target or _COMPARED, bits=bits, progress=progress).targets for net in nets]
    data = report.html(found, costs).encode()
    write_file(out, data)
    return found, Page(out, len(data), len(data), len(costs[0]), runs=False)


def _made(
    net: Graph,
    target: Named | Sequence[Named] | None,
    image: "str | PathLike[str] | None",
    progress: Advance | None,
) -> _Made:
    from rillet import web
    from rillet.report import network_page
    from rillet.runtime.wasm.building import build_wasm
    from rillet.runtime.wasm.package import network_blocks, picture_bytes
    from rillet.system.reading import MODEL_BYTES, read_bytes

    net = checks.graph(net)
    picture = None
    asked = [machines.find(one) for one in analysis.several(target)] if target is not None else []
    with shown("planning", progress) as advance:
        rows = _row_plan(net, next((one for one in asked if isinstance(one, Board | Host)), None))
        if image is not None:
            picture = picture_bytes(checks.path(image, "image"), rows.graph)
        costed = [one for one in asked if isinstance(one, costing.MACHINES)]
        costs = None
        if costed or target is None:
            # The network's own program is the last step.
            costs = analysis.cost(net, costed or "all", progress=lambda done, total: advance(done, total + 1))
        roofed = [one for one in (costs.machines if costs else ()) if not isinstance(one, StreamChip)]
        network, why_not, brought = list[str](), "", 0
        try:
            if not net.params:
                raise Unsupported(f"{net.name}: has no weights, so it cannot run")
            if rows.graph.image is None:
                raise Unsupported(f"{net.name}: takes no pictures, so none can be run here")
            if len(rows.graph.input_nodes) > 1:
                raise Unsupported(f"{net.name}: takes other inputs beside a picture, so none can be run here")
            program = plans.row_planned(net, plans.options("wasm"))
            module = read_bytes(build_wasm(program, trace=True), MODEL_BYTES)
            network = network_blocks(program, module, trace=True)
            brought = web.bytes_shown(program.graph.weight_bytes) + web.bytes_shown(len(picture or b""))
        except (BuildError, Unsupported) as error:
            why_not = str(error)
        text = network_page.page(
            rows,
            costs.targets if costs else (),
            [found for one in _first(roofed, asked) for found in _roof(net, one)],
            _pipelines(net, asked),
            network,
            why_not,
            picture,
        )
    data = text.encode()
    return _Made(data, len(data) - brought, len(costs.targets) if costs else 0, bool(network))


def _row_plan(net: Graph, machine: "Board | Host | None") -> RowPlan:
    """For that machine; that of least memory where there is none, or none that fits."""
    try:
        made = plans.planned(net, PlanOptions(target=machine))
    except TargetError:
        made = plans.planned(net, PlanOptions())
    return checks.row_plan(made)


def _first(roofed: "Sequence[ArrayMachine | Board]", asked: Sequence[object]) -> "list[ArrayMachine | Board]":
    """Machines of which a roofline is drawn: those asked for, else one of each kind."""
    if asked:
        return list(roofed)[:_ROOFS]
    arrays = [one for one in roofed if isinstance(one, ArrayMachine)][:1]
    return [*arrays, *[one for one in roofed if isinstance(one, Board)][:1]]


def _roof(net: Graph, machine: "ArrayMachine | Board") -> "list[Roofline]":
    from rillet.costs.roofline import roofline

    try:
        return [roofline(net, machine)]
    except RilletError:
        return []  # the table says what is lacking


def _pipelines(net: Graph, asked: Sequence[object]) -> list[tuple[PixelPlan, str]]:
    """The plan of each chip that was asked for and has room, and its timeline as SVG."""
    found: list[tuple[PixelPlan, str]] = []
    for chip in asked:
        if isinstance(chip, StreamChip):
            try:
                made = checks.pixel_plan(plans.plan(net, chip))
                found.append((made, drawing.draw(made)))
            except RilletError:
                continue  # the table says what is lacking
    return found
