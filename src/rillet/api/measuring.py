"""Benchmarks on this machine, against other runtimes and layer by layer, and on the emulated cores of boards."""

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

from rillet.api import checks, networks, plans
from rillet.api.machines import Named, found
from rillet.bench.boards import BoardBench, BoardProfile, bench_board, profile_board
from rillet.bench.browser import PageBench, bench_page
from rillet.bench.peers import find, ours
from rillet.bench.peers.files import AOT_INDUCTOR, TORCH_SCRIPT, Given
from rillet.bench.profile import Profile
from rillet.bench.profile import profile as measure_layers
from rillet.bench.rounds import Bench, forms
from rillet.bench.rounds import bench as measure
from rillet.errors import GraphError, TargetError
from rillet.ir.graph import Graph
from rillet.report.progress import Advance, shown
from rillet.system.options import Uses
from rillet.targets.boards import Board
from rillet.targets.host import WASM, Host

if TYPE_CHECKING:
    from rillet.bench.peers import Peer
    from rillet.bench.peers.files import TorchFile


ROUNDS = 20
"""Where nobody says how many."""
_HOST, _BOARD, _PAGE = "a host", "a board", "wasm"
BENCH = Uses(
    {
        _HOST: ("--against", "--threads", "--precision", "--batch", "--rounds"),
        _BOARD: (),
        _PAGE: ("--against", "--rounds"),
    },
    TargetError,
)
PROFILE = Uses({_HOST: ("--threads", "--precision", "--runs", "-o"), _BOARD: ("--objective",)}, TargetError)
"""What is counted on an emulated core is the same in every run."""


@overload
def bench(
    net: Graph,
    against: str | None = None,
    *,
    threads: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    rounds: int | None = None,
    target: Host | None = None,
    progress: Advance | None = None,
) -> Bench | PageBench: ...
@overload
def bench(
    net: Graph,
    against: str | None = None,
    *,
    threads: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    rounds: int | None = None,
    target: Named | None = None,
    progress: Advance | None = None,
) -> Bench | BoardBench | PageBench: ...
def bench(
    net: Graph,
    against: str | None = None,
    *,
    threads: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    batches: Sequence[int] | None = None,
    rounds: int | None = None,
    target: Named | None = None,
    progress: Advance | None = None,
) -> Bench | BoardBench | PageBench:
    """Benchmarks Rillet against other runtimes in alternating rounds, each with its best settings (docs/bench.md).

    For a board: its plans for memory and for time, with and without live channels, on its emulated core
    (docs/cortex_m.md). For `wasm`: in Node, beside what npm has (docs/browser.md). against: names with commas
    between; all that are installed if None. threads: one if None. precisions: `f32`, `bf16`, `int8`; its own if None.
    batches: images of a call, one if None. target: the host that Rillet's program is made for, this machine by default,
    or a board. Raises Unsupported for a runtime that is not installed, GraphError for a network without weights,
    TargetError for a machine that is neither, and for a board without a Cortex-M core.
    """
    machine = None if target is None else found(target, (Host, Board), "bench")
    said = {"--against": against, "--threads": threads, "--precision": precisions, "--rounds": rounds}
    said |= {"--batch": batches}
    page = machine if isinstance(machine, Host) and machine.kernels == WASM else None
    BENCH.check(_BOARD if isinstance(machine, Board) else _PAGE if page else _HOST, said)
    net = networks.with_weights(checks.graph(net))
    if isinstance(machine, Board):
        with shown("emulating", progress) as advance:
            return bench_board(net, machine, advance)
    if page is not None:
        return bench_page(net, page, ROUNDS if rounds is None else rounds, against)
    peers = find(against)
    path = networks.file_of(net)
    imported = networks.imported_of(net)
    given = None
    if path is not None and imported is not None:
        given = Given(path, tuple(imported.orders[node.name] for node in imported.graph.input_nodes))
    with shown("measuring", progress) as advance:
        return measure(
            net,
            peers,
            threads=threads or (1,),
            precisions=precisions,
            batches=batches or (1,),
            rounds=ROUNDS if rounds is None else rounds,
            given=given,
            torch_files=_torch_files(peers),
            host=machine,
            progress=advance,
        )


def counts(text: str, option: str = "--threads") -> tuple[int, ...]:
    """Whole numbers from `1,2`; raises GraphError for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise GraphError(f"{option} must be whole numbers with commas between, as 1,2, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _torch_files(peers: "Sequence[Peer]") -> "Mapping[str, TorchFile]":
    """What writes the files that PyTorch makes, imported only where one is asked for."""
    if all(peer.name != "torch" for peer in peers):
        return {}
    from rillet.train.infer import aot_inductor, torch_script

    made: dict[str, TorchFile] = {TORCH_SCRIPT: torch_script}
    return made | ({AOT_INDUCTOR: aot_inductor} if any(map(shutil.which, ("g++", "clang++", "c++"))) else {})


@overload
def profile(
    net: Graph,
    *,
    precision: str | None = None,
    ram: str | int | None = None,
    threads: int | None = None,
    runs: int | None = None,
    target: Host | None = None,
    objective: None = None,
    progress: Advance | None = None,
) -> Profile: ...
@overload
def profile(
    net: Graph,
    *,
    precision: str | None = None,
    ram: str | int | None = None,
    threads: int | None = None,
    runs: int | None = None,
    target: Named | None = None,
    objective: str | None = None,
    progress: Advance | None = None,
) -> Profile | BoardProfile: ...
def profile(
    net: Graph,
    *,
    precision: str | None = None,
    ram: str | int | None = None,
    threads: int | None = None,
    runs: int | None = None,
    target: Named | None = None,
    objective: str | None = None,
    progress: Advance | None = None,
) -> Profile | BoardProfile:
    """Measures the time of each layer on this machine, and compares it with the machine's measured peak.

    For a board: counts the instructions of each layer on its emulated core. precision: `f32`, `bf16` or `int8`, by
    default the network's own. threads: one if None. runs: inferences, by default for four seconds. target: a host that
    the program is made for, or a board. objective: of a board's plan, `memory` or `time`. progress: takes what is done,
    and how much there is. Raises GraphError for a network without weights, TargetError where `ram` is too little, and
    for a board without a Cortex-M core.
    """
    machine = None if target is None else found(target, (Host, Board), "profile")
    said = {"--threads": threads, "--precision": precision, "--runs": runs, "--objective": objective}
    PROFILE.check(_BOARD if isinstance(machine, Board) else _HOST, said)
    net = networks.with_weights(checks.graph(net))
    if isinstance(machine, Board):
        with shown("emulating", progress) as advance:
            return profile_board(plans.row_planned(net, plans.options(machine, ram, objective)), advance)
    (form,) = forms(net, None if precision is None else (precision,)).values()
    bf16 = precision == "bf16"
    threads = 1 if threads is None else threads
    with shown("profiling", progress) as advance:
        made = ours.plan(form, checks.size(ram, "--ram"), threads, machine, bf16=bf16)
        return measure_layers(checks.runs_here(made), runs, advance)


def no_chart(target: Named | None, out: object) -> None:
    """Raises TargetError where a chart of times is wanted of a board, which has none."""
    board = target is not None and isinstance(found(target, (Host, Board), "profile"), Board)
    PROFILE.check(_BOARD if board else _HOST, {"-o": out})
