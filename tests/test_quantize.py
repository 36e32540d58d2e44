"""Post-training quantisation: integers that approximate the float32 values, scales that fit their rule."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conftest import example_counts, mostly_slow, shared_file
from graphs import Builder, graphs, random_image
from rillet.arithmetic import shift
from rillet.arithmetic.affine import FLOAT_SHIFT
from rillet.arithmetic.shift import MAX_SHIFT
from rillet.backends import reference
from rillet.data.images import load_input
from rillet.errors import GraphError, RilletError, Unsupported
from rillet.importers import rlt as rlt_in
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph, ImageSpec, Node
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Slice,
    Softmax,
    Window,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.models.convert import convert
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.quantization import Calibrated, collect, layer_errors, quantize_with
from rillet.runtime.run import Program
from rillet.runtime.verify import random_inputs
from rillet.transforms.dequantize import dequantize
from rillet.transforms.fold import fold
from rillet.transforms.quantize import MAX_BIAS, UNIT, WEIGHT_MAX, Quantization, Rule, quantize, was_quantized
from rillet.transforms.statistics import Calibration, Statistics
from rillet.zoo.registry import build
from rillet.zoo.weights import with_seeded_weights

STEPS = 255
"""Between the least and the greatest of 8 bits."""
FLOAT = 1e-5
"""The share that numbers of float32 may be off by."""


def images(graph: Graph, count: int = 3) -> list[np.ndarray]:
    return [random_image(graph, seed) for seed in range(count)]


def assert_shares_scales(graph: Graph) -> None:
    """Every factor of the rule `shift` is a power of two, and additions add integers."""
    for node in graph.nodes:
        quants = [kind.quant for kind in (node.type, *graph.input_types(node))]
        match node.op:
            case Conv(rounding=rounding):
                assert rounding is Rounding.SHIFT
                assert quants[1] is not None
                assert quants[0] is not None
                scales = graph.param(node, "weight_scale").astype(np.float32)
                assert shift.conv_shifts(quants[1], scales, quants[0]).min() >= 0
            case Add() | Concat():
                assert len(set(quants)) == 1
            case Activate(rounding=rounding):
                assert rounding is Rounding.SHIFT
            case _:
                pass


def assert_ranges_are_kept(made: Graph, seen: Mapping[str, Statistics], rule: Rule) -> None:
    """What was seen does not saturate, and no step is coarser than its values and the sums that make it need."""
    together: dict[Quant, list[Node]] = defaultdict(list)
    for node in made.nodes:
        assert node.type.quant is not None
        together[node.type.quant].append(node)
    for quant, nodes in together.items():
        low = min(0.0, *(seen[node.name].low for node in nodes))
        high = max(0.0, *(seen[node.name].high for node in nodes))
        ends = [(end - quant.zero_point) * quant.scale for end in DType.I8.integers]
        # The zero point is rounded to a step, and so are the ends.
        assert ends[0] - low <= (0.5 + FLOAT * STEPS) * quant.scale
        assert high - ends[1] <= (0.5 + FLOAT * STEPS) * quant.scale
        natural = (high - low) / STEPS
        if quant == UNIT or natural == 0:
            continue
        if rule is Rule.FIXED_POINT:
            assert quant.scale <= natural * (1 + FLOAT)
        elif quant.scale > 2 * natural * (1 + FLOAT):  # beyond the next power of two
            assert any(shift_of(made, node) <= 1 for node in nodes)


def shift_of(made: Graph, node: Node) -> int:
    """The least shift that makes a node's values of its sums; many where it makes none."""
    many, quants = 99, [kind.quant for kind in (node.type, *made.input_types(node))]
    match node.op:
        case Conv():
            scales = made.param(node, "weight_scale").astype(np.float32)
            return int(shift.conv_shifts(quants[1], scales, quants[0]).min())
        case Multiply(rounding=Rounding.SHIFT):
            return shift.exponent(quants[1].scale * quants[2].scale / quants[0].scale)
        case Pool(rounding=Rounding.SHIFT):
            return shift.mean_shift(quants[1], quants[0], made.input_shapes(node)[0].pixels)
        case _:
            return many


def assert_weights_are_near(graph: Graph, made: Graph, rule: Rule, corrected: bool) -> None:
    """No step is coarser than the greatest weight and the bias of its channel need: less than twice that where steps
    are powers of two. So weights lose at most what they need in the root of their mean square: half a step, or less
    where a finer step is taken at which the greatest saturate. A bias that is not corrected loses half a step.
    """
    most_shift, above = (FLOAT_SHIFT, 2) if rule is Rule.SHIFT else (MAX_SHIFT, 1)
    for node in made.nodes:
        if not isinstance(node.op, Conv):
            continue
        weight, before = (g.param(node, "weight").astype(np.float64) for g in (made, graph))
        scale = made.param(node, "weight_scale").astype(np.float64)
        bias = graph.param(node, "bias") if graph.by_name[node.name].op.bias else np.zeros(len(scale))
        source, out = made.input_types(node)[0].quant.scale, node.type.quant.scale
        needed = np.maximum(np.abs(before).max((1, 2, 3)) / WEIGHT_MAX, np.abs(bias) / (source * MAX_BIAS))
        needed = np.maximum(needed, 2.0**-most_shift * out / source)
        assert (scale <= above * needed * (1 + FLOAT)).all()
        lost = np.sqrt(((weight * scale[:, None, None, None] - before) ** 2).mean((1, 2, 3)))
        assert (lost <= needed * (1 + FLOAT)).all()
        if node.op.bias and not corrected:
            stored = made.param(node, "bias")
            assert (np.abs(stored - bias / (source * scale)) <= 0.5 + 1e-12 * np.abs(stored)).all()


def assert_integers_mean_it(made: Graph) -> None:
    """Every node makes of what it reads the integers next to what the float network of the same weights does."""
    real, stored = dequantize(made), reference.run(made, random_image(made))
    meant = {node.name: real_values(node, stored[node.name]) for node in made.nodes}
    for node in made.nodes:
        if isinstance(node.op, Input | Constant | Requantize):
            continue
        quant, name = node.type.quant, node.name
        exact = reference.node_value(real, real.by_name[name], meant) / quant.scale + quant.zero_point
        assert np.abs(stored[name] - np.clip(exact, *DType.I8.integers)).max() <= 1 + FLOAT * STEPS, name


def real_values(node: Node, stored: Array) -> Array:
    return (stored.astype(np.float64) - node.type.quant.zero_point) * node.type.quant.scale


def assert_same_bytes(graph: Graph) -> None:
    program = Program(plan_rows(graph))
    for image in images(graph, 2):
        for got, want in zip(program.push(image), reference.outputs(graph, image), strict=False):
            assert np.array_equal(got, want)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(real=True), st.sampled_from(list(Rule)), st.sampled_from(list(Calibration)), st.booleans())
def test_any_network(graph: Graph, rule: Rule, method: Calibration, correct_bias: bool) -> None:
    assume(Activate(Activation.SIGN) not in [node.op for node in graph.nodes])  # a step has no small errors
    seen = collect(graph, images(graph))
    made = quantize(graph, seen, Quantization(rule, method, correct_bias))
    assert {node.type.dtype for node in made.nodes} == {DType.I8}
    assert [(n.name, n.inputs, n.shape) for n in made.nodes] == [(n.name, n.inputs, n.shape) for n in graph.nodes]
    if rule is Rule.SHIFT:
        assert_shares_scales(made)
    if method is Calibration.MINMAX:
        assert_ranges_are_kept(made, seen, rule)
    assert_weights_are_near(graph, made, rule, correct_bias)
    assert_integers_mean_it(made)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(real=True), st.sampled_from(list(Rule)))
def test_any_network_in_c(graph: Graph, rule: Rule) -> None:
    assert_same_bytes(quantize_with(graph, images(graph), Quantization(rule)))


@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize(
    "name",
    mostly_slow(
        ["mobilenet_v3_small", "efficientnet_lite0", "mnasnet_b1", "squeezenet1_0", "resnet18", "mobilenet_v2"],
        *("mobilenet_v3_small", "squeezenet1_0"),
    ),
)
def test_networks_of_the_zoo(name: str, rule: Rule) -> None:
    graph = fold(with_seeded_weights(build(name, {"resolution": "64", "classes": "10"})))
    inputs = list(random_inputs(graph, 2))
    made = quantize_with(graph, inputs, Quantization(rule))
    if rule is Rule.SHIFT:
        assert_shares_scales(made)
        ops = [node.op for node in made.nodes if isinstance(node.op, Multiply)]
        assert all(op.rounding is Rounding.SHIFT for op in ops)
    errors = layer_errors(Calibrated(graph, collect(graph, inputs), tuple(inputs), 2), made)
    assert errors[-1].total_db is not None
    assert errors[-1].total_db > 10


def test_a_network_of_the_zoo_in_c() -> None:
    graph = with_seeded_weights(build("mobilenet_v3_small", {"width": "0.25", "resolution": "32", "classes": "10"}))
    assert_same_bytes(quantize_with(graph, random_inputs(graph, 2)))


def test_files_keep_it(tmp_path) -> None:
    graph = with_seeded_weights(build("microbotnet", {"width": "0.25"}))
    for rule in Rule:
        made = quantize_with(graph, random_inputs(graph, 2), Quantization(rule))
        convert(made, tmp_path / "net.rlt")
        assert rlt_in.load(tmp_path / "net.rlt") == made
        pytest.importorskip("onnx")
        from rillet.importers.onnx import load as load_onnx

        convert(made, tmp_path / "net.onnx")
        assert load_onnx(tmp_path / "net.onnx") == made


def residual(chain: int = 2) -> Builder:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(4, (3, 3)), b.add(Input(), shape=Shape(6, 6, 3)))
    for _ in range(chain):
        at = b.add(Add(), b.add(b.conv(4), b.add(b.conv(8, activation=Activation.RELU6), at)), at)
    return b


def test_a_chain_of_residual_blocks_shares_one_scale_under_shift_alone() -> None:
    graph = residual().graph()
    quants = {}
    for rule in Rule:
        made = quantize_with(graph, images(graph), Quantization(rule, Calibration.MINMAX))
        quants[rule] = {made.by_name[name].type.quant for name in ("n1", "n3", "n4", "n6", "n7")}
    assert len(quants[Rule.SHIFT]) == 1
    assert len(quants[Rule.FIXED_POINT]) == 5


def test_weights_lose_less_than_a_bit_to_powers_of_two() -> None:
    graph = residual().graph()
    how = Quantization(Rule.SHIFT, Calibration.MINMAX)
    made = quantize_with(graph, images(graph), how)
    for node in made.nodes:
        if isinstance(node.op, Conv):
            greatest = np.abs(made.params[f"{node.name}.weight"].astype(int)).reshape(node.op.out_channels, -1).max(1)
            assert greatest.min() >= 63
            assert greatest.max() <= 127


def test_a_squeeze_and_excite_of_a_residual_sum_snaps_the_gate() -> None:
    b = residual(1)
    at = b.nodes[-1].name
    pooled = b.add(Pool(PoolKind.AVERAGE, Window((6, 6))), at)
    gate = b.add(Activate(Activation.HARD_SIGMOID), b.add(b.conv(4), pooled))
    b.add(Add(), b.add(Multiply(), at, gate), at)
    graph = b.graph()
    made = quantize_with(graph, images(graph), Quantization(Rule.SHIFT))
    ops = [node.op for node in made.nodes]
    assert [op.rounding for op in ops if isinstance(op, Multiply)] == [Rounding.SHIFT]
    assert [(op.kind, op.rounding) for op in ops if isinstance(op, Pool)] == [(PoolKind.MEAN, Rounding.SHIFT)]
    quant = made.by_name[gate].type.quant  # the sum's scale is bound on both sides of the product
    assert quant is not None
    assert quant.scale == 2.0 ** round(np.log2(quant.scale))
    reference.outputs(made, random_image(made))


def test_a_product_whose_scales_are_all_bound_keeps_double() -> None:
    b = residual(1)
    at = b.nodes[-1].name
    b.add(Add(), b.add(Multiply(), at, at), at)
    made = quantize_with(b.graph(), images(b.graph()), Quantization(Rule.SHIFT))
    assert [n.op.rounding for n in made.nodes if isinstance(n.op, Multiply)] == [Rounding.DOUBLE]
    reference.outputs(made, random_image(made))


def test_sigmoid_and_softmax_have_litert_scales_under_fixed_point() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    gate = b.add(Activate(Activation.SIGMOID), b.add(b.conv(4), b.add(Input(), shape=Shape(3, 3, 2))))
    swish = b.add(Activate(Activation.HARD_SWISH), gate)
    b.add(Softmax(), b.add(Activate(Activation.HARD_SIGMOID), swish))
    graph = b.graph()
    made = quantize_with(graph, images(graph), Quantization(Rule.FIXED_POINT))
    assert made.by_name[gate].type.quant == made.nodes[-1].type.quant == UNIT
    rounding = [n.op.rounding for n in made.nodes if isinstance(n.op, Activate)]
    assert rounding == [Rounding.DOUBLE, Rounding.DOUBLE, Rounding.SHIFT]


def test_a_softmax_beside_larger_values_is_refused() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(3, 3, 2))
    b.add(Concat(), b.add(Softmax(), at), b.add(b.conv(2), at))
    with pytest.raises(Unsupported, match="values beside a softmax must be within 0 and 1"):
        quantize_with(b.graph(), images(b.graph()))


def test_the_input_keeps_its_pixels() -> None:
    """One scale for all channels: a step is a pixel; several: the range of all of them."""
    b = Builder(np.random.default_rng(0), DType.F32)
    b.add(b.conv(2), b.add(Input(), shape=Shape(4, 4, 3)))
    plain = b.graph().with_image(ImageSpec(4, 4, 3, mean=(128.0,), deviation=(64.0,)))
    made = quantize_with(plain, random_inputs(plain, 2))
    assert made.nodes[0].type.quant == Quant(1 / 64, 0)
    assert made.image == plain.image
    colours = plain.with_image(ImageSpec(4, 4, 3, mean=(120.0, 110.0, 100.0), deviation=(50.0, 51.0, 52.0)))
    quant = quantize_with(colours, random_inputs(colours, 2)).nodes[0].type.quant
    assert quant is not None
    assert (127 - quant.zero_point) * quant.scale == pytest.approx(155 / 52, abs=quant.scale)
    assert (-128 - quant.zero_point) * quant.scale == pytest.approx(-120 / 50, abs=quant.scale)


def test_dead_channels_and_biases_without_weights() -> None:
    """Weights near nothing with a bias beside them: the bias must still fit, and the result be the bias."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(4), b.add(Input(), shape=Shape(4, 4, 3)))
    b.params[f"{at}.weight"][0] = 0
    b.params[f"{at}.weight"][1] = 1e-12
    b.params[f"{at}.bias"][:] = [1.5, -1.5, 0.0, 2.0]
    graph = b.graph()
    for rule in Rule:
        made = quantize_with(graph, images(graph), Quantization(rule, Calibration.MINMAX))
        quant = made.nodes[-1].type.quant
        assert quant is not None
        got = (reference.outputs(made, random_image(made))[0].astype(float) - quant.zero_point) * quant.scale
        assert np.abs(got[:, :, :2] - [1.5, -1.5]).max() <= 0.51 * quant.scale


def test_values_that_are_always_zero() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(4, activation=Activation.RELU), b.add(Input(), shape=Shape(4, 4, 3)))
    b.params[f"{at}.bias"][:] = -1000
    b.add(b.conv(2), at)
    graph = b.graph()
    for rule in Rule:
        made = quantize_with(graph, images(graph), Quantization(rule))
        assert not (reference.run(made, random_image(made))[at] - made.by_name[at].type.quant.zero_point).any()


def test_results_finer_than_their_sums_get_coarser_scales() -> None:
    """Large weights into a value that happens to be small while calibrating."""
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(b.conv(2), b.add(Input(), shape=Shape(4, 4, 3)))
    b.params[f"{at}.weight"][:] = 1e4
    b.params[f"{at}.bias"][:] = 0
    graph = b.graph()
    made = quantize_with(graph, [np.full((4, 4, 3), 1e-9, np.float32), np.zeros((4, 4, 3), np.float32)])
    assert_shares_scales(made)


def test_bias_correction_takes_the_mean_error_away() -> None:
    rng = np.random.default_rng(3)
    b = Builder(rng, DType.F32)
    b.add(b.conv(8), b.add(Input(), shape=Shape(8, 8, 16)))
    graph = b.graph()
    inputs = [np.abs(rng.normal(1, 0.2, (8, 8, 16))).astype(np.float32) for _ in range(4)]
    seen = collect(graph, inputs)
    real = np.mean([reference.outputs(graph, image)[0].mean((0, 1)) for image in inputs], 0)
    off = {}
    for correct in (False, True):
        made = quantize(graph, seen, Quantization(Rule.SHIFT, Calibration.MINMAX, correct))
        weights = made.params["n1.weight"].astype(float) * made.params["n1.weight_scale"][:, None, None, None]
        step = made.params["n1.weight_scale"] * made.nodes[0].type.quant.scale
        bias = made.params["n1.bias"] * step
        exact = np.mean([(image @ weights.reshape(8, 16).T + bias).mean((0, 1)) for image in inputs], 0)
        off[correct] = np.abs(exact - real).max()
    assert off[True] < 0.02 * off[False]


def test_what_cannot_be_quantised_says_so() -> None:
    b = residual(1)
    graph = b.graph()
    seen = collect(graph, images(graph))
    made = quantize(graph, seen)
    with pytest.raises(GraphError, match="random: n0: must be float32 to be quantised, got i8"):
        quantize(made, seen)
    with pytest.raises(GraphError, match="random: must have weights to be quantised, got none"):
        quantize(replace(graph, params={}), seen)
    with pytest.raises(GraphError, match="random: n2: calibration must have seen it"):
        quantize(graph, {name: one for name, one in seen.items() if name != "n2"})
    with pytest.raises(GraphError, match="calibration must have an image, got none"):
        quantize_with(graph, [])
    zoo = with_seeded_weights(build("microbotnet", {"width": "0.25"}))
    with pytest.raises(Unsupported, match="stem.conv_bn: batch norms must be folded before, got one"):
        quantize(zoo, {})
    silu = [replace(n, op=replace(n.op, activation=Activation.SILU)) if n.name == "n2" else n for n in graph.nodes]
    with pytest.raises(Unsupported, match="n2: activation of conv must be a clamp, got silu"):
        quantize(replace(graph, nodes=tuple(silu)), seen)


def test_a_residual_chain_that_grows_names_its_node() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(4, 4, 3))
    made = b.add(b.conv(3), at)
    b.params[f"{made}.weight"] = np.full((3, 1, 1, 3), 1000, np.float32)
    graph = b.graph(b.add(Add(), at, made))
    with pytest.raises(Unsupported, match=f"random: {made}: values of a residual chain must not grow without end"):
        quantize_with(graph, images(graph))


def test_values_that_are_not_finite_name_their_node() -> None:
    b = Builder(np.random.default_rng(0), DType.F32)
    at = b.add(Input(), shape=Shape(4, 4, 3))
    made = b.add(b.conv(3), at)
    b.params[f"{made}.weight"] = np.full((3, 1, 1, 3), 3e38, np.float32)
    graph = b.graph(made)
    with np.errstate(all="ignore"), pytest.raises(RilletError, match=f"random: {made}: "):
        quantize_with(graph, [100 * image for image in images(graph)])


@example_counts(8, 200)
def test_every_refusal_names_its_node(examples: int) -> None:
    """Whatever the size of weights, and under both rules: an int8 network, or a sentence that begins with a node."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(layers=3, real=True), st.integers(-40, 36), st.sampled_from(list(Rule)), st.booleans())
    def holds(graph: Graph, power: int, rule: Rule, correct: bool) -> None:
        scaled = {name: (array * np.float32(10.0**power)).astype(np.float32) for name, array in graph.params.items()}
        assume(all(np.isfinite(array).all() for array in scaled.values()))
        graph = replace(graph, params=scaled)
        try:
            made = quantize_with(graph, images(graph, 1), Quantization(rule, correct_bias=correct))
        except RilletError as error:
            assert any(str(error).startswith(f"{graph.name}: {node.name}: ") for node in graph.nodes), error
        else:
            assert all(node.type.quant is not None for node in made.nodes)

    with np.errstate(all="ignore"):
        holds()


def test_slices_of_what_is_shared_share_it_too() -> None:
    b = residual(1)
    at = b.nodes[-1].name
    left, right = b.add(Slice(0, 2), at), b.add(Slice(2, 4), at)
    b.add(Concat(), right, left)
    made = quantize_with(b.graph(), images(b.graph()))
    assert len({made.by_name[name].type.quant for name in (at, left, right, made.outputs[0])}) == 1


@pytest.mark.parametrize(
    ("method", "count"),
    [(Calibration.PERCENTILE, 2), *(pytest.param(method, 8, marks=pytest.mark.slow) for method in Calibration)],
)
def test_a_network_that_was_quantised_before_keeps_its_weights_under_fixed_point(
    method: Calibration, count: int
) -> None:
    """And agrees with the float network on every photograph."""
    stored = load(shared_file("mobilenet_tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"))
    graph = fold(dequantize(stored))
    assert was_quantized(graph)
    assert not was_quantized(fold(with_seeded_weights(build("mobilenet_v2", {"resolution": "32"}))))
    photos = sorted(p for p in shared_file("photos/cat.bmp").parent.iterdir() if p.suffix in (".bmp", ".jpg"))[:count]
    assert len(photos) == count
    inputs = [load_input(photo, graph) for photo in photos]
    made = quantize(graph, collect(graph, inputs), Quantization(Rule.FIXED_POINT, method))
    names = [name for name in made.params if name.endswith(".weight")]
    assert len(names) == 53
    assert all(np.array_equal(made.params[name], stored.params[name]) for name in names)
    for photo, image in zip(photos, inputs, strict=True):
        got = reference.outputs(made, load_input(photo, made))[0]
        assert got.argmax() == reference.outputs(graph, image)[0].argmax(), photo.name
