"""Plans of chips as Verilog in simulators: the reference's bytes, when and with the rings that the plan says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import rillet
from draws import REFUSED, mostly
from graphs import graphs
from hardware import SIMULATORS, planned, proved, shallower
from rillet.backends.rtl.emit import design
from rillet.cli import app
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.runtime.rtl.verify import verify_hardware
from rillet.transforms.fold import fold
from test_options import network

RUNNER = CliRunner()


def check(graph: Graph, slower: int, at: int, simulator: str) -> object:
    try:
        plan = planned(graph, slower)
        design(plan)
    except (Unsupported, TargetError):
        return REFUSED
    proved(plan, simulator)
    less = shallower(plan, at)
    if less is not None:
        # The plan's own design with one slot less: the schedule is not kept.
        other = verify_hardware(plan, design(less[0]), plan.frames, simulator=simulator)
        assert other.equal or other.ended != "done", other.table()
        assert other.stalled_cycles or other.blocked_cycles, less[1]
        assert not other.passed
    return None


DRAWN = settings(
    deadline=None, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
@mostly(0.6)
@settings(DRAWN, max_examples=3)
@given(graphs(stored=True), st.integers(1, 3), st.integers(0, 50), st.sampled_from(SIMULATORS))
def test_random_networks(graph: Graph, slower: int, at: int, simulator: str) -> object:
    return check(graph, slower, at, simulator)


@pytest.mark.slow
@mostly(0.6)
@settings(deadline=None, max_examples=60, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(graphs(stored=True), st.integers(1, 6), st.integers(0, 50), st.sampled_from(SIMULATORS))
def test_many_random_networks(graph: Graph, slower: int, at: int, simulator: str) -> object:
    return check(graph, slower, at, simulator)


def quantised(name: str, rounding: str = "shift") -> Graph:
    return rillet.quantize(rillet.load(name), "random", rule=rounding, limit=1).graph


def residual() -> Graph:
    """A strided layer, a block with a depthwise layer and a sum, a mean and a classifier."""
    graph = fold(network(1, side=10))
    return rillet.quantize(graph, "random", rule="shift", limit=1).graph


@pytest.fixture(scope="module")
def microbotnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("models") / "microbotnet.rlt"
    rillet.save(quantised("microbotnet:width=0.32,seed=1"), file)
    return file


NETS: dict[str, tuple[Callable[[], Graph], int, int]] = {
    "residual": (residual, 1000, 6 * 25 + 1),
    "microbotnet": (lambda: quantised("microbotnet:width=0.32,seed=1"), 4096, 1710),
}
"""Networks, an interval of each, and how often its stages fire for an image."""


# A C++ compiler takes a minute for microbotnet.
@pytest.mark.parametrize("name", ["residual", pytest.param("microbotnet", marks=pytest.mark.slow)])
def test_networks_by_the_command(name: str, tmp_path: Path) -> None:
    make, interval, firings = NETS[name]
    rillet.save(make(), tmp_path / "net.rlt")
    asked = ["verify", str(tmp_path / "net.rlt"), "--interval", str(interval)]
    done = RUNNER.invoke(app, [*asked, "--images", "6", "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["equal"] and found["as_planned"] and found["passed"]
    assert found["interval_cycles"] == interval and found["latency_cycles"] == found["planned_latency_cycles"]
    assert (found["off_schedule"], found["stalled_cycles"], found["blocked_cycles"]) == (0, 0, 0)
    assert all(ring["peak"] == ring["depth"] for ring in found["rings"]) and found["firings"] == 6 * firings
    stalled = RUNNER.invoke(app, [*asked, "--stalls"])
    assert stalled.exit_code == 0 and "both ends stopped and went at random" in stalled.stdout


def test_what_cannot_be_asked(microbotnet: Path, tmp_path: Path) -> None:
    float_net, net = rillet.load("microbotnet:width=0.32,seed=1"), rillet.load(microbotnet)
    with pytest.raises(Unsupported, match=r"must be quantised to be hardware, got .*quantise first: rillet quantize"):
        rillet.verify(rillet.plan(float_net, interval=4096))
    with pytest.raises(Unsupported, match="plan must be of hardware to be emitted as Verilog, got the ideal"):
        rillet.verify(rillet.plan(net, interval=4096, ideal=True))
    with pytest.raises(TargetError, match="interval must be at least 1024 cycles"):
        rillet.plan(net, interval=1000)
    with pytest.raises(TargetError, match="hardware must be compared with the reference alone"):
        rillet.verify(rillet.plan(net, interval=4096), against="litert")
    with pytest.raises(TargetError, match="layout and prefix must be left out for hardware"):
        rillet.emit(rillet.plan(net, interval=4096), tmp_path, layout="cmake")
    for option, words in (
        ("--inputs", ["--interval", "4096", "--inputs", "3"]),
        ("--stalls", ["--stalls"]),
        ("--live", ["--interval", "4096", "--live"]),
    ):
        done = RUNNER.invoke(app, ["verify", str(microbotnet), *words])
        assert isinstance(done.exception, GraphError) and f"{option} must come with" in str(done.exception)


ZOO = {
    "mobilenet_v1:width=0.25,resolution=32,classes=10,seed=1": 1,
    "mobilenet_v2:width=0.35,resolution=32,classes=10,seed=1": 1,
    "mobilenet_v2:width=0.35,resolution=32,classes=10,seed=1,fuse=half": 1,
    "mobilenet_v2:width=0.35,resolution=32,classes=10,seed=1,fuse=full": 1,
    "mobilenet_v3_small:width=0.25,resolution=32,classes=10,seed=1": 1,
    "mobilenet_v3_large:width=0.25,resolution=32,classes=10,seed=1": 1,
    "mnasnet_b1:width=0.25,resolution=32,classes=10,seed=1": 1,
    "efficientnet_lite0:resolution=32,classes=10,seed=1": 4,
    "efficientnet_lite1:resolution=32,classes=10,seed=1": 4,
    "efficientnet_lite2:resolution=32,classes=10,seed=1": 4,
    "fd_mobilenet:width=0.25,resolution=32,classes=10,seed=1": 1,
    "microbotnet:width=0.32,seed=1": 1,
    "squeezenet1_0:resolution=48,classes=10,seed=1": 4,
    "squeezenet1_1:resolution=48,classes=10,seed=1,bypass=simple": 4,
    "squeezenet_cifar10:seed=1": 8,
    "resnet18:width=0.125,resolution=32,classes=10,seed=1": 1,
    "resnet50:width=0.125,resolution=32,classes=10,seed=1": 1,
    "vgg16:resolution=32,classes=10,seed=1": 64,
    "binarynet_cifar10:seed=1": 16,
}
"""Networks of the zoo at a small size, and how many times the least interval is their shortest here: so many
multipliers are a matter of minutes for a C++ compiler.
"""


@pytest.mark.slow
@pytest.mark.parametrize(("slower", "rounding"), [(1, "shift"), (3, "fixed_point"), (10, "shift")])
@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo(name: str, slower: int, rounding: str) -> None:
    graph = rillet.load(name) if name.startswith("binarynet") else quantised(name, rounding)
    proved(planned(graph, slower * ZOO[name]), "verilator")
