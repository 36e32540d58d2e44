"""Other runtimes agree with the reference within what float32 rounds, and kernels that are wrong do not."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
import onnx

from conftest import example_counts, shared_file
from graphs import Builder, graphs, random_image
from onnx_models import model, node, real
from rillet.backends import reference
from rillet.errors import Unsupported
from rillet.exporters.onnx import export
from rillet.exporters.tflite import export as tflite_bytes
from rillet.importers.onnx import Imported, load_with_views, parse_with_views
from rillet.importers.tflite import load_with_tensors
from rillet.ir.graph import Array, Graph
from rillet.ir.ops import Conv, Input, Window
from rillet.ir.types import DType, Shape
from rillet.models.opening import open_model
from rillet.plan.rows.planner import plan_rows
from rillet.runtime import verify as verification
from rillet.runtime.agreement import Agreement
from rillet.runtime.oracles import LiteRt, OnnxRuntime
from rillet.runtime.run import Program
from rillet.runtime.verify import verify
from rillet.transforms.fold import fold
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights

SMALL = {"resolution": "32", "classes": "10", "width": "0.35"}


@pytest.fixture(scope="module")
def network() -> Imported:
    """A network of 65 layers, as an ONNX file has it."""
    return parse_with_views(export(fold(with_seeded_weights(build("mobilenet_v2", SMALL), 1))), "net.onnx")


@pytest.fixture(scope="module")
def seen(network: Imported) -> dict[str, Array]:
    return OnnxRuntime(network).run(random_image(network.graph))


def convolutions(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes if isinstance(n.op, Conv)]


def moved(graph: Graph, wrong: Graph, name: str, image: Array) -> float:
    """How much a node changes, as a share of its greatest value."""
    values = reference.run(graph, image)
    other = reference.node_value(wrong, wrong.by_name[name], values)
    return float(np.abs(values[name] - other).max() / np.abs(values[name]).max())


def test_a_deep_network_is_within_its_bound(network: Imported, seen: dict[str, Array]) -> None:
    agreement = Agreement(network.graph)
    assert agreement.compare(random_image(network.graph), seen) is None
    assert 0.01 < agreement.used < 0.9
    assert len(seen) > 60


def test_one_weight_of_any_layer_is_noticed(network: Imported, seen: dict[str, Array]) -> None:
    """The runtime agrees with the file, so it does not with a graph of another weight: by 1 % of the greatest one."""
    graph, image = network.graph, random_image(network.graph)
    names = convolutions(graph)[::5]
    noticed = 0
    for name in names:
        weight = graph.param(graph.by_name[name], "weight").copy()
        at = np.unravel_index(np.abs(weight).argmax(), weight.shape)
        weight[at] *= 1.01
        wrong = replace(graph, params={**graph.params, f"{name}.weight": weight})
        changed = moved(graph, wrong, name, image)
        place = Agreement(wrong).compare(image, seen)
        assert place is not None or changed < 1e-5, (name, changed)
        assert place is None or place.node == name
        noticed += place is not None
    assert noticed > len(names) / 2  # the channels of others are cut off by their clamps


def test_a_tap_that_is_left_out_is_noticed(network: Imported, seen: dict[str, Array]) -> None:
    graph, image = network.graph, random_image(network.graph)
    wide = [n for n in convolutions(graph) if graph.param(graph.by_name[n], "weight").shape[1] > 1]
    for name in wide[::4]:
        weight = graph.param(graph.by_name[name], "weight").copy()
        weight[:, 1, 1] = 0
        wrong = replace(graph, params={**graph.params, f"{name}.weight": weight})
        place = Agreement(wrong).compare(image, seen)
        assert place is not None, name
        assert place.node == name


def test_wrong_padding_is_noticed(network: Imported, seen: dict[str, Array]) -> None:
    graph, image = network.graph, random_image(network.graph)
    for at, n in enumerate(graph.nodes):
        if not isinstance(n.op, Conv) or not any(n.op.window.padding):
            continue
        top, bottom, left, right = n.op.window.padding
        turned = replace(n.op, window=replace(n.op.window, padding=(bottom, top, right, left)))
        if turned == n.op:
            turned = replace(n.op, window=replace(n.op.window, padding=(top + 1, bottom - 1, left, right)))
        nodes = (*graph.nodes[:at], replace(n, op=turned), *graph.nodes[at + 1 :])
        place = Agreement(replace(graph, nodes=nodes)).compare(image, seen)
        assert place is not None, n.name
        assert place.node == n.name


@pytest.mark.parametrize("name", ["onnxruntime", "litert"])
@example_counts(25, 400)
def test_random_networks(name: str, examples: int, tmp_path: Path) -> None:
    """No false alarm; a network that a runtime refuses counts as refused."""
    if name == "litert":
        pytest.importorskip("ai_edge_litert")
    drawn: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(real=name == "litert"), st.integers(0, 3))
    def agree(graph: Graph, seed: int) -> None:
        drawn["all"] += 1
        try:
            found, seen, image = both(graph, seed)
        except Unsupported:
            drawn["refused"] += 1
            return
        assert Agreement(found, steps=int(name == "onnxruntime")).compare(image, seen) is None

    def both(graph: Graph, seed: int) -> tuple[Graph, dict[str, Array], Array]:
        if name == "onnxruntime":
            imported = parse_with_views(export(graph), "net.onnx")
            image = random_image(imported.graph, seed)
            return imported.graph, OnnxRuntime(imported).run(image), image
        path = tmp_path / "net.tflite"
        path.write_bytes(tflite_bytes(graph))
        read = load_with_tensors(path)
        image = random_image(read.graph, seed)
        runtime = LiteRt(path, read.input_order)
        runtime.run(image)
        return read.graph, {n: runtime.tensor(at) for n, at in read.tensors.items()}, image

    agree()
    assert drawn["refused"] <= drawn["all"] / 2


@pytest.mark.slow
def test_a_published_network_of_real_numbers(tmp_path: Path) -> None:
    """LiteRT's own float32 error on it is more than 1e-5 of the greatest value of some maps."""
    pytest.importorskip("ai_edge_litert")
    weights = shared_file("mobilenet_keras/mobilenet_v1_0.25_224.h5")
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite_bytes(fold(open_model("mobilenet_v1:width=0.25", weights=weights).graph)))
    read = load_with_tensors(path)
    result = verify(plan_rows(read.graph), 1, path=path, imported=read, against="litert")
    assert result.equal, result.first_difference
    assert result.rounding is not None
    assert 0.01 < result.rounding < 0.9


def test_values_that_a_runtime_does_not_show_are_computed(network: Imported, seen: dict[str, Array]) -> None:
    """Every third value alone: what lies between is computed, with how far it may be off."""
    few = {name: array for i, (name, array) in enumerate(seen.items()) if i % 3 == 0}
    graph, image = network.graph, random_image(network.graph)
    assert Agreement(graph).compare(image, few) is None
    name = convolutions(graph)[9]
    wrong = replace(graph, params={**graph.params, f"{name}.weight": graph.params[f"{name}.weight"] * np.float32(1.2)})
    assert Agreement(wrong).compare(image, few) is not None


def test_a_program_is_not_blamed_for_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where outputs differ by more than one layer may, each layer is compared on what the program itself read."""
    monkeypatch.setattr(verification, "REAL_TOLERANCE", 1e-9)
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(6, 6, 4))
    for _ in range(4):
        at = b.add(Conv(4, Window((3, 3), padding=(1, 1, 1, 1))), at)
    plan = plan_rows(b.graph())
    assert verify(plan, 1).equal
    real_trace = Program.trace

    def wrong(program: Program, image: Array) -> dict[str, Array]:
        return {k: v + np.float32(1e-3) * (k == "n2") for k, v in real_trace(program, image).items()}

    monkeypatch.setattr(Program, "trace", wrong)
    found = verify(plan, 1).first_difference
    assert found is not None
    assert (found.node, found.backend) == ("n2", "c")


# -- the command's oracle --------------------------------------------------------------------------------------------


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def against(path: Path, inputs: int = 2) -> verification.Verification:
    graph = load_with_views(path).graph
    return verify(plan_rows(fold(graph)), inputs, path=path, against="onnxruntime")


def test_a_float_file(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], "n"),
        node("HardSwish", ["n"], "h"),
        node("Dropout", ["h"], ["d", "mask"]),
        node("Resize", ["d", "", "s"], "r", mode="nearest"),
        node("Det", ["r"], "dead"),
        node("Transpose", ["r"], "t", perm=[0, 2, 3, 1]),
        node("MatMul", ["t", "p"], "q"),
        node("Softmax", ["q"]),
    ]
    constants = {
        "w": real(6, 3, 3, 3),
        **{name: np.abs(real(6)) + np.float32(0.5) for name in "gbmv"},
        "s": np.array([1, 1, 1.25, 0.7], np.float32),
        "p": real(6, 5),
    }
    result = against(saved(model(nodes, (1, 3, 10, 10), constants), tmp_path))
    assert result.equal, result.first_difference
    assert result.rounding is not None
    assert result.rounding < 0.9


def test_places_of_greatest_channels(tmp_path: Path) -> None:
    """They are exact where their source is seen; else they are those of a channel that may have been the greatest."""
    weight = real(5, 3, 3, 3)
    weight[3] = weight[1]
    nodes = [node("Conv", ["x", "w"], "c"), node("ArgMax", ["c"], axis=1)]
    made = model(nodes, (1, 3, 6, 6), {"w": weight}, output_dtype=onnx.TensorProto.INT64)
    path = saved(made, tmp_path)
    result = against(path)
    assert result.equal, result.first_difference
    graph = load_with_views(path).graph
    source, last = (node.name for node in graph.nodes[1:])
    image = next(iter(verification.random_inputs(graph, 1)))
    seen = reference.run(graph, image)
    assert (seen[last] == 1).any()

    def found(places: Array, hidden: bool) -> bool:
        shown = {name: array for name, array in seen.items() if name != source or not hidden}
        return Agreement(graph, steps=1).compare(image, {**shown, last: places}) is not None

    for hidden in (False, True):
        assert not found(seen[last], hidden)
        assert found((seen[last] + 1) % 5, hidden)
        assert found(seen[last] + 5, hidden)
    equal = np.where(seen[last] == 1, 3, seen[last])
    assert found(equal, hidden=False)
    assert not found(equal, hidden=True)


def test_a_kernel_that_copies_other_pixels_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rillet.importers.onnx import resizes

    def by_sizes(length: int, out: int, *_: object) -> list[int]:
        return [min(i * length // out, length - 1) for i in range(out)]

    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    constants = {"s": np.array([1, 1, 1, 1.25], np.float32)}
    made = model([node("Resize", ["x", "", "s"], **attributes)], (1, 1, 1, 10), constants)
    monkeypatch.setattr(resizes, "of_onnx", by_sizes)
    found = against(saved(made, tmp_path)).first_difference
    assert found is not None
    assert (found.backend, found.column) == ("onnxruntime", 6)


def quantised(out_scale: float) -> onnx.ModelProto:
    nodes = [
        node("DequantizeLinear", ["x", "one", "zero"], "r"),
        node("DequantizeLinear", ["w", "fine", "zero"], "rw"),
        node("Conv", ["r", "rw"], "c"),
        node("QuantizeLinear", ["c", "out", "zero"]),
    ]
    weight = np.random.default_rng(3).integers(-127, 128, (16, 8, 1, 1)).astype(np.int8)
    constants = {
        "one": np.array(0.1, np.float32),
        "fine": np.array(0.01, np.float32),
        "out": np.array(out_scale, np.float32),
        "zero": np.array(0, np.int8),
        "w": weight,
    }
    kind = onnx.TensorProto.INT8
    return model(nodes, (1, 8, 12, 12), constants, dtype=kind, output_dtype=kind)


def test_a_quantised_file(tmp_path: Path) -> None:
    result = against(saved(quantised(0.37), tmp_path))
    assert result.equal, result.first_difference
    assert result.values > 1000


@pytest.mark.parametrize(("change", "too_many"), [(1.004, True), (1.5, False)])
def test_a_quantised_kernel_that_is_wrong(change: float, too_many: bool) -> None:
    """A scale that is a little wrong makes no value two steps wrong, but too many one step."""
    imported = parse_with_views(quantised(0.37).SerializeToString(), "net.onnx")
    graph = imported.graph
    scales = {k: (v * np.float32(change) if k.endswith("weight_scale") else v) for k, v in graph.params.items()}
    agreement = Agreement(replace(graph, params=scales), steps=1)
    image = random_image(graph)
    place = agreement.compare(image, OnnxRuntime(imported).run(image))
    assert (place is None) == too_many
    excess = agreement.excess()
    assert not too_many or (excess is not None and excess.kind == "conv single")


def test_external_data_and_dead_operators_do_not_stop_it(tmp_path: Path) -> None:
    made = model(
        [node("Conv", ["x", "w"]), node("Nobody", ["x"], "z", domain="own")], (1, 3, 5, 5), {"w": real(2, 3, 3, 3)}
    )
    tensor = made.graph.initializer[0]
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "w.bin")
    tensor.ClearField("raw_data")
    result = against(saved(made, tmp_path))
    assert result.equal, result.first_difference


def test_what_it_must_be_given(tmp_path: Path) -> None:
    graph = load_with_views(saved(model([node("Relu", ["x"])], (1, 3, 5, 5)), tmp_path)).graph
    plan = plan_rows(graph)
    with pytest.raises(Unsupported, match="an oracle must be given a file as it is"):
        verify(plan, 1, against="onnxruntime")
    with pytest.raises(Unsupported, match="--against onnxruntime must be given an .onnx file, got .*net.rlt"):
        verify(plan, 1, against="onnxruntime", path=tmp_path / "net.rlt")
    with pytest.raises(Unsupported, match="--against litert must be given a .tflite file, got .*net.onnx"):
        verify(plan, 1, against="litert", path=tmp_path / "net.onnx")
