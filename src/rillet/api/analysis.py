"""Analyses of a network: counts, comparisons, explanations, and its cost and fit on targets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from rillet.analyses import energy as energies
from rillet.analyses import explain as explaining
from rillet.analyses.count import Convention, Count
from rillet.analyses.count import count as count_graph
from rillet.analyses.explain import Explained, Explanation
from rillet.analyses.systolic import Systolic
from rillet.analyses.systolic import systolic as on_array
from rillet.api import checks, machines, networks
from rillet.api.machines import Named
from rillet.costs import fit as fitting
from rillet.costs import machines as costing
from rillet.costs import remedies as finding
from rillet.costs.machines import CostTable
from rillet.costs.remedies import Fits
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.models.compare import Comparison
from rillet.models.compare import compare as compare_graphs
from rillet.models.specifier import split
from rillet.report.progress import Advance, shown
from rillet.runtime.changes import one_of
from rillet.system.options import Uses, none_beside
from rillet.targets import boards, catalogue, technology
from rillet.targets.arrays import ArrayMachine
from rillet.transforms.fold import without_weights
from rillet.transforms.lowbit import TernaryReport
from rillet.transforms.lowbit import census as census_graph

EXPLAIN = Uses({"the whole network": ("--fps", "--memory"), "--layer": ()})
PICTURES = ("systolic", "energy", "roofline")
"""What `cost_picture` shows."""


def count(net: Graph, convention: str = "macs", *, bits: int | None = None) -> Count:
    """Counts MACs, parameters, activations and bytes of a network for one image, in total and by layer.

    convention: `macs`, `thop-2020`, `pthflops`, `slim` or `keras`: what is counted. bits: of weights and activations,
    those of the network by default. Raises GraphError for another convention and for bits that are not 1 to 32.

    >>> import rillet
    >>> found = rillet.count(rillet.load("mobilenet_v2"))
    >>> found.macs, found.params
    (300774272, 3504872)
    >>> found
    <Count mobilenet_v2: 300,774,272 MACs, 3,504,872 parameters, 151 layers>
    """
    chosen = Convention(one_of("--convention", convention, tuple(one.value for one in Convention)))
    return count_graph(checks.graph(net), chosen, bits)


def census(net: Graph) -> TernaryReport:
    """How many weights are ternary or binary, and how many are positive, zero and negative.

    Raises GraphError for a network without weights.

    >>> import rillet
    >>> from rillet.api.analysis import census
    >>> census(rillet.load("microbotnet:width=0.32,seed=0")).tensors
    0
    """
    return census_graph(checks.graph(net))


def compare(nets: Sequence[Graph], *, bits: int = 8, progress: Advance | None = None) -> Comparison:
    """Networks side by side: MACs, parameters, bytes layer by layer and streamed, published accuracy.

    bits: of weights and activations, 8 or 32. progress: called with networks done and their total. Raises GraphError
    for fewer than two networks, and for other bits.

    >>> import rillet
    >>> half = rillet.load("mobilenet_v2:width=0.5,resolution=96")
    >>> rillet.compare([rillet.load("mobilenet_v2:resolution=96"), half]).networks[1].macs
    18885440
    """
    found = [checks.graph(net, "networks") for net in nets]
    with shown("counting and planning", progress) as advance:
        return Comparison(bits, compare_graphs(found, bits, advance))


@overload
def explain(
    net: Graph,
    layer: None = None,
    *,
    fps: float | None = None,
    memory: "int | str | None" = None,
    bits: int | None = None,
) -> Explained: ...
@overload
def explain(
    net: Graph, layer: str, *, fps: None = None, memory: None = None, bits: int | None = None
) -> Explanation: ...
@overload
def explain(
    net: Graph,
    layer: str | None,
    *,
    fps: float | None = None,
    memory: "int | str | None" = None,
    bits: int | None = None,
) -> Explained | Explanation: ...
def explain(
    net: Graph,
    layer: str | None = None,
    *,
    fps: float | None = None,
    memory: "int | str | None" = None,
    bits: int | None = None,
) -> Explained | Explanation:
    """The arithmetic of each convolution, the saving of its depthwise-separable pair (Howard et al. 2017), and the
    network's demand on a machine.

    layer: that one alone. fps: images a second that are asked for, 30 by default. memory: of the machine, in bytes or
    as `256KiB`, which is the default. Raises GraphError for an unknown layer, TargetError for what is no size.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=96")
    >>> rillet.explain(net).demand.operations_per_second
    464709120.0
    >>> round(rillet.explain(net, "block3.depthwise").ratio, 3)
    0.142
    """
    net = checks.graph(net)
    EXPLAIN.check("the whole network" if layer is None else "--layer", {"--fps": fps, "--memory": memory})
    if layer is not None:
        return explaining.explain_layer(net, layer, bits)
    size = checks.size("256KiB" if memory is None else memory, "--memory")
    assert size is not None
    asked = explaining.demand(net, 30.0 if fps is None else fps, size, bits)
    return Explained(asked, explaining.explain(net, bits))


def fit(
    net: Graph,
    target: Named | Sequence[Named] = "nano33ble",
    *,
    bits: int | None = None,
    objective: str = "memory",
    remedies: bool = True,
    progress: Advance | None = None,
) -> Fits:
    """Whether the plan of a network fits a board's RAM and flash, what is missing, and the smallest changes that help.

    target: a board by name, .toml file or record, several of them, or `all`; changes are sought for one alone. bits: of
    activations, 8 or 32, those of the network by default. objective: of the plan, `memory` or `time`, as for `plan`.
    progress: takes what is done, and how much there is. Raises TargetError for an unknown board, for other bits and for
    another objective, Unsupported for a network that has no row plan.

    >>> import rillet
    >>> found = rillet.fit(rillet.load("mobilenet_v1:width=0.25,resolution=96"), "nano33ble", bits=8)
    >>> found.fits, found.rows[0].ram_bytes < 64 * 1024
    (True, True)
    """
    net = checks.graph(net)
    asked = boards.names() if target == "all" else several(target)
    found = tuple(machines.found(one, (boards.Board,), "fit") for one in asked)
    if not found:
        raise TargetError("target must be a board or several, got none")
    with shown("planning", progress) as advance:
        rows = fitting.fit_all(net, found, bits, objective, advance)
    if not remedies or len(asked) > 1 or rows[0].fits:
        return Fits(rows, found, ())
    with shown("looking for what fits", progress) as advance:
        said = _source(net)
        helping = finding.remedies(net, found[0], said, bits=bits, objective=objective, progress=advance)
    return Fits(rows, found, helping)


def _source(net: Graph) -> finding.Source:
    """Where a network is from: the zoo, whose channels are rounded in a way of its own, whatever MODEL it was loaded
    as, or none of these.
    """
    from rillet.models.opening import open_model
    from rillet.zoo.registry import NETWORKS

    typed, options = networks.said(net) or (None, ())
    base, words = split(net.name if typed is None else typed)
    zoo = base in NETWORKS
    if typed is None and not zoo:
        return finding.resized(net)

    def model(changed: Mapping[str, str]) -> str:
        every = {**words, **({"untrained": "true"} if changed and not zoo else {}), **changed}
        return f"{base}:{','.join(f'{key}={word}' for key, word in every.items())}" if every else base

    def opened(changed: Mapping[str, str]) -> Graph:
        return open_model(model(changed)).graph

    def named(changed: Mapping[str, str]) -> tuple[str, ...]:
        if changed:
            return (model(changed),)
        return () if typed is None else (typed, *options)

    try:
        same = typed is not None or without_weights(opened({})).nodes == without_weights(net).nodes
        return finding.Source(opened, named, float(words.get("width", "1"))) if same else finding.resized(net)
    except (GraphError, TargetError):
        return finding.resized(net)


def cost(
    net: Graph,
    target: Named | Sequence[Named] = "all",
    *,
    fps: float = 30.0,
    node: str = "45nm",
    bits: int | None = None,
    progress: Advance | None = None,
) -> CostTable:
    """Compares targets for a network: memory, cycles, images per second, energy, and fit on each.

    target: an array, a chip or a board by name, .toml file or record, or several of them; `all` stands for every one
    that Rillet has. fps: images a second that are asked for. node: technology of energy, `45nm`, `7nm` or a .toml file.
    bits: 8 or 32 on boards, instead of the network's own. progress: takes machines done, and how many there are. Raises
    TargetError for an unknown machine or technology.

    >>> import rillet
    >>> net = rillet.load("mobilenet_v1:width=0.25,resolution=96")
    >>> found = rillet.cost(net, ["nano33ble", "systolic_64x64"], bits=8)
    >>> [one.fits for one in found.targets]
    [True, True]
    >>> found
    <CostTable mobilenet_v1:width=0.25,resolution=96: fits 2 of 2 machines>
    """
    net, at = checks.graph(net), technology.load(node)
    known = catalogue.names(costing.KINDS)
    asked = {machines.label(one): one for word in several(target) for one in (known if word == "all" else (word,))}
    found = [(name, machines.found(one, costing.MACHINES, "cost")) for name, one in asked.items()]
    if not found:
        raise TargetError("target must be a machine or several, got none")
    with shown("planning", progress) as advance:
        rows = costing.costs(net, found, at, fps, bits, advance)
    return CostTable(net.name, fps, at.name, rows, tuple(machine for _, machine in found), at)


def several(target: Named | Sequence[Named]) -> tuple[Named, ...]:
    """The machines of one word, or of a list of them."""
    given: Any = target
    return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)


def cost_page(net: Graph, found: CostTable, path: "str | Path") -> None:
    """Writes a cost table as a page with charts (.html), as Markdown (.md) or as comma-separated values (.csv).

    Raises GraphError for another suffix, BuildError where the file cannot be written.
    """
    from rillet.report import cost as report
    from rillet.report import tables
    from rillet.system.files import write_file

    out = checks.path(path, "path")
    match check_page(out).suffix:
        case ".md":
            text = tables.as_markdown(report.machines(found.targets, found.technology, wide=True))
        case ".csv":
            text = tables.as_csv(report.exact(found.targets, found.technology))
        case _:
            with shown("drawing"):
                text = report.page(net, found.targets, found.machines, found.technology)
    write_file(out, text.encode())


def check_page(path: Path) -> Path:
    """The path, if `cost_page` can write it; raises GraphError if not."""
    one_of("--out: suffix", path.suffix, (".html", ".md", ".csv"))
    return path


def cost_picture(net: Graph, what: str, target: Named | None = None, node: str | None = None) -> str:
    """The picture of what a network costs on a machine, as SVG: `systolic` cycles, `energy`, or its `roofline`.

    target: a systolic array for `systolic`, any machine for the others; energy without one is that of a row plan.
    node: technology of energy, 45nm by default. Raises TargetError for what does not go together.
    """
    from rillet.costs.roofline import roofline
    from rillet.report import roofline as roof
    from rillet.report import spending

    net = checks.graph(net)
    one_of("--cost", what, PICTURES)
    asked = f"--cost {what}"
    if what == "energy":
        at = technology.load(node or "45nm")
        machine = None if target is None else machines.found(target, costing.MACHINES, asked)
        return spending.energy(net, costing.energy_on(net, machine, at), at)
    on = "systolic_64x64" if target is None else target
    if what == "roofline":
        return roof.svg(net, roofline(net, machines.found(on, costing.MACHINES, asked)))
    machine = machines.found(on, (ArrayMachine,), asked)
    return spending.cycles(net, costing.on_array(net, machine), machine.name)


def energy(
    net: Graph,
    target: Named | None = None,
    *,
    node: str = "45nm",
    operand: int | str | None = None,
    accumulator: int | str | None = None,
    weight_bits: int | None = None,
    schedule: str | None = None,
    memory: str | None = None,
    array: int | None = None,
) -> energies.Energy:
    """Energy per image in microjoules: arithmetic, weights and activations, each with a lower and an upper bound.

    target: an array, a chip or a board, by name, .toml file or record, which computes in 8-bit integers. node:
    technology, `45nm`, `7nm` or a .toml file. Without a target: operand, accumulator: types of operands and sums, such
    as 8 (the default; 32 for sums), `int8` or `bf16`. schedule: `layerwise` (the default), `stream` or `systolic`: how
    often each value is read. memory: that which weights are read from. array: rows and columns of the systolic array,
    64 by default. Raises TargetError for what the technology does not have, and for a target that has no energy.

    >>> import rillet
    >>> found = rillet.energy(rillet.load("mobilenet_v1:width=0.25,resolution=96"), schedule="stream")
    >>> found.low_uj < found.total_uj < found.high_uj
    True
    """
    net, at = checks.graph(net), technology.load(node)
    if target is not None:
        said = {
            "--operand": operand,
            "--accumulator": accumulator,
            "--weight-bits": weight_bits,
            "--schedule": schedule,
        }
        none_beside("--target", {**said, "--weight-memory": memory, "--array": array}, TargetError)
        return costing.energy_on(net, machines.found(target, costing.MACHINES, "energy"), at)
    schedule = schedule or "layerwise"
    return energies.energy(
        net,
        at,
        bits=8 if operand is None else operand,
        accumulator=32 if accumulator is None else accumulator,
        weight_bits=weight_bits,
        schedule=schedule,
        weight_memory=memory,
        traffic=energies.traffic_under(net, schedule, array),
    )


def systolic(
    net: Graph,
    target: Named | None = None,
    *,
    rows: int | None = None,
    columns: int | None = None,
    dataflow: str | None = None,
    convention: str = "exact",
    hardware: str | None = None,
    exact_maps: bool = False,
    sram: float | None = None,
    dram: float | None = None,
) -> Systolic:
    """The cycles of a network on a systolic array, layer by layer.

    target: an array by name, .toml file or record, with its dataflow, hardware and DRAM. Without one: rows and columns,
    64 by default; dataflow: the stationary operand, `os` (outputs, the default), `ws` (weights) or `is` (inputs);
    hardware: `systolic` (the default), or `fuse` with a broadcast in each row; dram: bytes a cycle of DRAM, not bounded
    by default. Of both: convention: whose cycles, `exact`, `scalesim` or `fuse` (docs/systolic.md); exact_maps: the
    true output sizes instead of SCALE-Sim's; sram: bytes a cycle that the buffers give. Raises TargetError for what
    does not go together.

    >>> import rillet
    >>> rillet.systolic(rillet.load("mobilenet_v1:width=0.25,resolution=96"), rows=16, columns=16).macs
    7745152
    """
    if target is not None:
        said = {"--rows": rows, "--columns": columns, "--dataflow": dataflow, "--hardware": hardware, "--dram": dram}
        none_beside("--target", said, TargetError)
        machine = machines.found(target, (ArrayMachine,), "systolic")
        rows, columns, dataflow, hardware = machine.rows, machine.columns, machine.dataflow, machine.hardware
        dram = machine.dram_bytes_per_s / machine.clock_hz
    return on_array(
        checks.graph(net),
        rows=64 if rows is None else rows,
        columns=64 if columns is None else columns,
        dataflow=dataflow or "os",
        convention=convention,
        hardware=hardware or "systolic",
        exact_maps=exact_maps,
        sram_bytes_per_cycle=sram,
        dram_bytes_per_cycle=dram,
    )
