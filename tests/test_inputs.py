"""Several inputs: the first streams, the others lie whole in the arena, and every form gives the reference's values."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rillet
from conftest import example_counts, mostly_slow
from graphs import Builder, several
from rillet.backends import reference
from rillet.errors import GraphError, TargetError, Unsupported
from rillet.ir.graph import Graph
from rillet.ir.inputs import by_input, sole_input
from rillet.ir.ops import Add, Input, Multiply
from rillet.ir.types import DType, Shape
from rillet.plan.board.planner import plan_core
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import CoreKernels, RowPlan
from rillet.plan.rows.planner import plan_layerwise, plan_rows
from rillet.runtime import emulator
from rillet.runtime.emulator.on_qemu import find_qemu
from rillet.runtime.emulator.proof import verify_on
from rillet.runtime.run import Program, checked_inputs, shortened
from rillet.runtime.verify import first_difference, random_given
from rillet.targets.cores import load as load_core
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


@example_counts(2, 24)
def test_random_networks_give_the_references_values(examples: int) -> None:
    @settings(max_examples=examples, **QUIET)
    @given(several())
    def run(graph: Graph) -> None:
        plans = plan_rows(graph), plan_layerwise(graph), plan_rows(graph, resident=True, objective="time")
        for plan in plans:
            touched = check(graph, plan).touched_bytes(next(random_given(graph, 1)))
            assert touched == plan.arena_bytes
        check(graph, plan_host(graph, this_host()))
        with pytest.raises(TargetError, match="--threads must be 1 for a network of several inputs, got 2"):
            plan_host(graph, this_host(), threads=2)

    run()


@pytest.mark.parametrize("name", [".tflite", ".onnx", ".rlt"])
@example_counts(3, 40)
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
            assert np.allclose(np.asarray(one, float), np.asarray(other, float), rtol=1e-4, atol=1e-4)
        if against is not None:
            runtime = pytest.importorskip("ai_edge_litert" if against == "litert" else "onnxruntime")
            assert runtime
            found = rillet.verify(rillet.plan(read), inputs=1, against=against)
            assert found.equal, found

    run()


def pair_of(second: Shape | None = None, dtype: DType = DType.F32) -> Graph:
    b = Builder(np.random.default_rng(0), dtype)
    one, two = b.add(Input(), shape=Shape(4, 4, 2)), b.add(Input(), shape=second or Shape(4, 4, 2))
    return b.graph(b.add(Add(), one, two))


CORES = {CoreKernels.DSP: "cortex-m4", CoreKernels.ARMV6M: "cortex-m0plus", CoreKernels.HELIUM: "cortex-m55"}


@pytest.mark.parametrize("core", mostly_slow(CORES, CoreKernels.DSP))
@example_counts(3, 40)
def test_emulated_cores_give_the_references_values(examples: int, core: CoreKernels) -> None:
    pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
    if core is CoreKernels.HELIUM and find_qemu() is None:
        pytest.skip("apt install qemu-system-arm")

    @settings(max_examples=examples, **QUIET)
    @given(several(), st.sampled_from(["memory", "time"]), st.booleans())
    def run(graph: Graph, objective: str, resident: bool) -> None:
        plan = plan_core(graph, core, objective=objective, resident=resident)
        found = verify_on(plan, load_core(CORES[core]), 2)
        assert found.equal, found

    run()


def test_an_emulated_core_refuses_arrays_of_wrong_sizes() -> None:
    pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
    graph = pair_of(dtype=DType.I8)
    plan, arrays = plan_core(graph, CoreKernels.DSP), checked_inputs(graph, next(random_given(graph, 1)))
    with pytest.raises(GraphError, match="cortex-m4: image must be 2 arrays, got 1"):
        emulator.run(plan, "cortex-m4", [arrays[0]])
    with pytest.raises(GraphError, match="cortex-m4: input_2 must be 32 values of int8, got 16 of int8"):
        emulator.run(plan, "cortex-m4", [[arrays[0], arrays[1][:2]]])


def test_inputs_are_given_in_order_or_by_name_and_others_refused() -> None:
    graph = pair_of()
    one, two = (np.full((4, 4, 2), n, np.float32) for n in (1, 2))
    for given_ in ([one, two], (one, two), {"n0": one, "n1": two}):
        assert (reference.outputs(graph, given_)[0] == 3).all()
        assert (rillet.compile(rillet.plan(graph))(given_)[0] == 3).all()
    cases = {
        "inputs must be 2 arrays, n0 and n1, got 1": [one],
        "inputs must be n0 and n1, got n0 and x": {"n0": one, "x": two},
        "input n1 must be f32 of 4x4x2, got float32 of \\(4, 4, 1\\)": [one, two[:, :, :1]],
    }
    for message, wrong in cases.items():
        with pytest.raises(GraphError, match=message):
            by_input(graph, wrong)
    with pytest.raises(GraphError, match="inputs must be 2, of n0 4x4x2, n1 4x4x2, got 1"):
        rillet.reference(graph, one)
    with pytest.raises(Unsupported, match="must have one input for a chip, got 2, n0 and n1"):
        sole_input(graph, "for a chip")


def test_what_follows_from_other_inputs_alone_comes_before_the_first_row() -> None:
    b = Builder(np.random.default_rng(0), DType.I8)
    image, vector = b.add(Input(), shape=Shape(9, 8, 3)), b.add(Input(), shape=Shape(1, 1, 5))
    wide = b.add(b.conv(6, (3, 3)), image)
    gate = b.add(b.conv(6), vector)
    graph = b.graph(b.add(Multiply(), wide, gate))
    plan = plan_rows(graph)
    assert [segment.driver for segment in plan.segments][:2] == [vector, image]
    assert plan.pushed == 1 and all(
        buffer.kind.value != "map" or name != image for name, buffer in plan.buffers.items()
    )
    arrays = next(random_given(graph, 1))
    program = check(graph, plan)
    assert program.touched_bytes(arrays) == plan.arena_bytes
    expected = reference.outputs(graph, arrays)[0]
    assert all(not np.array_equal(Program(short).push(arrays)[0], expected) for _, short in shortened(plan))


def test_a_folder_of_several_inputs_builds_and_runs(tmp_path: Path) -> None:
    graph = pair_of(Shape(1, 1, 2))
    arrays = [np.arange(node.shape.elements, dtype=np.float32).reshape(node.shape.array) for node in graph.input_nodes]
    made = rillet.emit(rillet.plan(graph), tmp_path / "out")
    for name, array in zip(("a", "b"), arrays, strict=True):
        (tmp_path / f"{name}.raw").write_bytes(array.tobytes())
    subprocess.run(made.build, shell=True, check=True, cwd=tmp_path / "out")
    files = [tmp_path / f"{name}.raw" for name in ("a", "b", "c")]
    subprocess.run([tmp_path / "out" / "net", *files], check=True, capture_output=True)
    assert np.array_equal(np.frombuffer(files[2].read_bytes(), np.float32), (arrays[0] + arrays[1]).reshape(-1))
    with pytest.raises(Unsupported, match="must have one input for --layout arduino, got 2"):
        rillet.emit(rillet.plan(graph), tmp_path / "other", layout="arduino")


def test_modules_of_several_arguments_are_read() -> None:
    torch = pytest.importorskip("torch")

    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dense = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(5, 4)

        def forward(self, image, vector):
            return self.conv(image) * self.dense(vector)[:, :, None, None].sigmoid()

    module, examples = Gated().eval(), (torch.rand(1, 3, 8, 6), torch.rand(1, 5))
    graph = rillet.from_torch(module, examples)
    assert [node.name for node in graph.input_nodes] == ["input1", "input2"]
    image, vector = examples[0][0].permute(1, 2, 0).contiguous().numpy(), examples[1].numpy().reshape(1, 1, 5)
    with torch.no_grad():
        expected = module(*examples)[0].permute(1, 2, 0).numpy()
    assert np.allclose(rillet.reference(graph, (image, vector))[0], expected, atol=1e-5)
