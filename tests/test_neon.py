"""Host plans for NEON give the reference's values, with the dot product and without, cross-compiled and run by qemu."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from conftest import NETWORKS, shared_file
from cross import NEON, hosts, run_on_arm
from graphs import graphs, random_image
from rillet.backends import reference
from rillet.backends.c.flags import build_line, machine_flags
from rillet.importers.tflite import load
from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import Kernel
from rillet.runtime.verify import first_difference
from rillet.targets.host import Host
from test_host import QUIET, any_factors, layers, looked_up, tiled
from test_saturation import extremes

SCALES = [1e-9, *(pytest.param(scale, marks=pytest.mark.slow) for scale in (1e-3, 3.0)), 3e8]


def check(graph: Graph, host: Host, folder: Path, sanitize: bool = False) -> None:
    image = random_image(graph)
    expected, out = reference.outputs(graph, image)[0], graph.by_name[graph.outputs[0]]
    made = np.frombuffer(run_on_arm(plan_host(graph, host), image, folder, sanitize), out.type.dtype.numpy)
    got = made.reshape(expected.shape)
    assert first_difference(graph, {out.name: expected}, {out.name: got}, 0, "c") is None


def check_drawn(host: Host, folder: Path, examples: int, sanitize: bool = False) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(layers() | graphs())
    def run(graph: Graph) -> None:
        check(graph, host, folder, sanitize)

    run()


@pytest.mark.parametrize("host", hosts(), ids=lambda h: h.name)
def test_odd_layers_give_the_references_values(host: Host, tmp_path: Path) -> None:
    check_drawn(host, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.parametrize("host", hosts(), ids=lambda h: h.name)
def test_many_odd_layers_give_the_references_values(host: Host, tmp_path: Path) -> None:
    check_drawn(host, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("host", hosts(), ids=lambda h: h.name)
def test_odd_layers_are_clean_under_sanitizers(host: Host, tmp_path: Path) -> None:
    check_drawn(host, tmp_path, 8, sanitize=True)


@pytest.mark.parametrize("scale", SCALES)
def test_factors_of_any_size_round_alike(scale: float, tmp_path: Path) -> None:
    modest, extreme = any_factors(scale)
    check(modest, NEON, tmp_path)
    check(extreme, NEON, tmp_path)


def test_tables(tmp_path: Path) -> None:
    check(looked_up(143, DType.I8), NEON, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("host", hosts(), ids=lambda h: h.name)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_published_networks_give_the_references_bytes(name: str, host: Host, tmp_path: Path) -> None:
    graph = load(shared_file(NETWORKS[name]))
    assert Kernel.TILES in tiled(plan_host(graph, host))
    check(graph, host, tmp_path)


@settings(max_examples=20, **QUIET)
@given(graphs())
def test_bytes_are_kept_signed(graph: Graph) -> None:
    flipped = plan_host(graph, NEON).sign_flipped
    assert flipped == {node.name for node in graph.nodes if node.type.dtype is DType.U8}


def test_the_dot_product_is_asked_for_where_the_processor_has_it() -> None:
    graph = load(shared_file(NETWORKS["resnet"]))
    assert "-march=armv8.2-a+dotprod" in machine_flags(plan_host(graph, Host("new", "neon", extras=("asimddp",))))
    assert "-march" not in build_line(plan_host(graph, NEON))


@pytest.mark.slow
@pytest.mark.parametrize("output", range(8))
@pytest.mark.parametrize("dtype", [DType.I8, DType.U8])
def test_results_beyond_32_bits_saturate(dtype: DType, output: int, tmp_path: Path) -> None:
    """Convolutions of both roundings, a channel for each ratio, then a product and sums; main.c writes one output."""
    made = extremes(dtype, 3)
    chosen = made.outputs[output]
    others = [name for name in made.outputs if name != chosen]
    check(Graph(made.name, made.nodes, (chosen, *others), made.params), NEON, tmp_path)
