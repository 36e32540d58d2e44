"""Benchmarks on this machine: against other runtimes, and layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rillet.api import checks, networks
from rillet.api.machines import Named, found
from rillet.bench.peers import find, ours
from rillet.bench.peers.files import Given
from rillet.bench.profile import Profile
from rillet.bench.profile import profile as measure_layers
from rillet.bench.rounds import Bench, forms
from rillet.bench.rounds import bench as measure
from rillet.errors import GraphError
from rillet.ir.graph import Graph
from rillet.report.progress import Advance, shown
from rillet.targets.host import Host

if TYPE_CHECKING:
    from rillet.bench.peers import Peer
    from rillet.bench.peers.files import TorchScript


def bench(
    net: Graph,
    against: str | None = None,
    *,
    threads: Sequence[int] = (1,),
    precisions: Sequence[str] | None = None,
    rounds: int = 20,
    target: Named | None = None,
    progress: Advance | None = None,
) -> Bench:
    """Benchmarks Rillet against other runtimes in alternating rounds, each with its best settings (docs/bench.md).

    against: names with commas between; all that are installed if None. precisions: `f32`, `int8`; the network's own if
    None. target: the host that Rillet's program is made for, this machine by default. Raises Unsupported for a runtime
    that is not installed, GraphError for a network without weights, TargetError for a machine that is no host.
    """
    host = None if target is None else found(target, (Host,), "bench")
    net, peers = networks.with_weights(checks.graph(net)), find(against)
    path = networks.file_of(net)
    given = None
    if path is not None and path.suffix.lower() == ".tflite":
        from rillet.importers.tflite import load_with_tensors

        given = Given(path, load_with_tensors(path).input_order)
    with shown("measuring", progress) as advance:
        return measure(
            net,
            peers,
            threads=threads,
            precisions=precisions,
            rounds=rounds,
            given=given,
            torch_script=_torch_script(peers),
            host=host,
            progress=advance,
        )


def thread_counts(text: str) -> tuple[int, ...]:
    """Numbers of threads from `1,2`; raises GraphError for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise GraphError(f"--threads must be whole numbers with commas between, as 1,2, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def _torch_script(peers: "Sequence[Peer]") -> "TorchScript | None":
    """What writes PyTorch's file, imported only where PyTorch runs."""
    if all(peer.name != "torch" for peer in peers):
        return None
    from rillet.train.infer import torch_script

    return torch_script


def profile(
    net: Graph,
    *,
    precision: str | None = None,
    ram: str | int | None = None,
    threads: int = 1,
    runs: int | None = None,
) -> Profile:
    """Measures the time of each layer on this machine, and compares it with the machine's measured peak.

    precision: `f32` or `int8`, by default the network's own. runs: inferences, by default for four seconds. Raises
    GraphError for a network without weights, TargetError where `ram` is too little.
    """
    net = networks.with_weights(checks.graph(net))
    (form,) = forms(net, None if precision is None else (precision,)).values()
    return measure_layers(ours.plan(form, checks.size(ram, "--ram"), threads), runs)
