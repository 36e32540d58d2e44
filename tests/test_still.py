"""Networks without a convolution: there is nothing to multiply, and everything that counts, costs or draws says so."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from conftest import example_counts
from graphs import STILL, still_graphs
from rillet.cli import app
from rillet.errors import RilletError
from rillet.exporters import rlt
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Activate, Activation, Input, Pool, PoolKind, Window
from rillet.ir.types import Shape, TensorType

RUNS = (
    *("show", "count", "count --by layer", "count --convention keras", "count --signs", "explain", "compare"),
    *("plan --resident", "plan --target portable --resident", "draw", "draw --format mermaid", "draw --front"),
    *("energy", "energy --schedule systolic", "systolic", "fit --all", "fit --bits 8 --target m0plus_16k"),
    *("cost --target zcu102 --target gemmini_16x16 --target nano33ble", "draw --cost systolic"),
)
"""What no such network is refused by."""
REFUSE = (
    *(
        "energy --schedule stream",
        "plan --interval 100000",
        "plan --multipliers 4 --memory 1MB",
        "simulate --interval 100000",
    ),
    *("draw --pipeline --interval 100000", "draw --cost roofline", "draw --cost energy", "compress"),
    *("table impossible", "table recompute", "table narrow", "table microjoule", "quantize --data random --limit 1"),
)
"""What may refuse it, in a sentence."""


def told(graph: Graph, command: str, folder: Path) -> int:
    """Exit code of a command on a network; anything but a sentence is raised."""
    path = folder / "still.rlt"
    path.write_bytes(rlt.to_bytes(graph))
    verb, *options = command.split()
    models = [str(path)] * (2 if verb == "compare" else 1)
    words = [verb, options[0], *models] if verb == "table" else [verb, *models, *options]
    try:
        done = CliRunner().invoke(app, words, catch_exceptions=False)
    except RilletError as error:
        assert command in REFUSE, f"{command}: {error}"
        return 1
    assert done.output
    return done.exit_code


@example_counts(3, 100)
def test_everything_runs_without_a_convolution(examples: int, tmp_path: Path) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(still_graphs())
    def holds(graph: Graph) -> None:
        for command in (*RUNS, *REFUSE):
            told(graph, command, tmp_path)

    assert "conv" not in STILL
    holds()


def one(op: Activate | Pool, *more: Activate) -> Graph:
    shape = Shape(6, 6, 3)
    nodes = [Node("input", Input(), (), TensorType(shape))]
    for i, each in enumerate((op, *more)):
        out = Shape(5, 5, 3) if isinstance(each, Pool) else nodes[-1].shape
        nodes.append(Node(f"n{i}", each, (nodes[-1].name,), TensorType(out)))
    return Graph("still", tuple(nodes), (nodes[-1].name,))


@pytest.mark.parametrize(
    "graph",
    [
        one(Activate(Activation.RELU), Activate(Activation.SIGMOID)),
        one(Pool(PoolKind.MAX, Window((2, 2)))),
    ],
    ids=["activations", "pool"],
)
def test_activations_alone_and_pools_alone(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / "still.rlt"
    path.write_bytes(rlt.to_bytes(graph))
    counted = json.loads(CliRunner().invoke(app, ["count", str(path), "--json"], catch_exceptions=False).output)
    assert (counted["macs"], counted["params"], counted["macs_per_weight"], counted["arithmetic_intensity"]) == (
        0,
        0,
        0,
        0,
    )
    for command in RUNS:
        assert told(graph, command, tmp_path) == 0, command
    page = tmp_path / "page.html"
    assert told(graph, f"cost -o {page}", tmp_path) == 0
    assert "<table" in page.read_text()
