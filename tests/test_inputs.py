"""Several inputs: the first streams, the others lie whole in the arena, and every form gives the reference's values."""

from hypothesis import HealthCheck, Phase, given, settings

import rillet
from conftest import example_counts
from graphs import several
from rillet.backends import reference
from rillet.ir.graph import Graph
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference, random_given
from rillet.targets.host import this_host

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # no shrinking: every step would compile
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": PHASES}


def check(graph: Graph, plan: RowPlan) -> Program:
    program, names = Program(plan), tuple(dict.fromkeys(graph.outputs))
    for arrays in random_given(graph, 2):
        expected = dict(zip(names, reference.outputs(graph, arrays), strict=True))
        for outputs in (program.run(arrays), program.push(arrays)):
            got = dict(zip(names, outputs, strict=True))
            assert first_difference(graph, expected, got, 0, "c") is None
    return program


@example_counts(4, 24)
def test_random_networks_give_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(several())
    def run(graph: Graph) -> None:
        plans = plan_rows(graph), plan_layerwise(graph), plan_rows(graph, resident=True, objective="time")
        for plan in plans:
            touched = check(graph, plan).touched_bytes(next(random_given(graph, 1)))
            assert touched == plan.arena_bytes
        for threads in (1, 2):
            check(graph, plan_host(graph, this_host(), threads=threads))

    run()


def rounded(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float64)


@pytest.mark.parametrize("name", [".tflite", ".onnx", ".rlt"])
@example_counts(8, 40)
def test_files_of_several_inputs_are_read_as_they_were_written(name: str, examples: int, tmp_path: Path) -> None:
    """And the runtime that a file is from makes the reference's values of it."""

    @settings(max_examples=examples, **QUIET)
    @given(several(real=name == ".onnx"))
    def run(graph: Graph) -> None:
        path = tmp_path / f"net{name}"
        try:
            rillet.save(graph, path)
        except Unsupported:
            return
        read = rillet.load(str(path))
        assert [node.shape for node in read.input_nodes] == [node.shape for node in graph.input_nodes]
        against = {".tflite": "litert", ".onnx": "onnxruntime"}.get(name)
        arrays = next(random_given(graph, 1))
        assert isinstance(arrays, dict)
        expected = reference.outputs(graph, arrays)
        for one, other in zip(expected, reference.outputs(read, list(arrays.values())), strict=True):
            assert np.allclose(rounded(one), rounded(other), rtol=1e-4, atol=1e-4)
        if against is not None:
            runtime = pytest.importorskip("ai_edge_litert" if against == "litert" else "onnxruntime")
            assert runtime
            found = rillet.verify(rillet.plan(read), inputs=1, against=against)
            assert found.equal, found

    run()
