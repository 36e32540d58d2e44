"""Live channels: what goes cannot be missed, what stays can, and the bounds hold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import NETWORKS, example_counts, shared_file
from dead import FAR, deadened, inputs
from draws import REFUSED, mostly
from graphs import ROUNDINGS, Builder, graphs
from rillet.backends import reference
from rillet.errors import GraphError, Unsupported
from rillet.importers.tflite import load
from rillet.ir.graph import Array, Graph, ImageSpec
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Conv,
    Input,
    Multiply,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Rounding,
    Slice,
    Softmax,
    Window,
)
from rillet.ir.types import DType, Quant, Shape
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.runtime.verify import first_difference, verify
from rillet.transforms import live as module
from rillet.transforms.fold import without_weights
from rillet.transforms.intervals import inside, intervals
from rillet.transforms.live import Live, live
from rillet.transforms.needs import needed
from test_c import QUIET as COMPILED
from test_c import check_outputs
from test_host import HOSTS
from test_low_bit_kernels import binary_layers, layers

QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
SEEDS = st.integers(0, 2**32 - 1)
WITH_INTEGER_LAYERS = graphs().filter(
    lambda graph: sum(isinstance(node.op, Conv) and not node.op.real for node in graph.nodes) > 1
)
ONE = Quant(1.0, 0)


def equal(one: Graph, other: Graph, images: Any) -> bool:
    """True where both make the same bytes of all images."""
    return all(
        np.array_equal(left, right)
        for image in images
        for left, right in zip(reference.outputs(one, image), reference.outputs(other, image), strict=True)
    )


def check(graph: Graph) -> Live:
    """The graph's live channels: the same bytes, what was said of it, and nothing left to remove."""
    made = live(graph)
    assert equal(graph, made.graph, inputs(graph, 1))
    assert live(made.graph).graph is made.graph
    assert (made.macs_before, made.macs_after) == (graph.macs, made.graph.macs)
    assert made.param_bytes_after <= made.param_bytes_before + 4 * new_biases(graph, made.graph)
    for layer in made.layers:
        node = made.graph.by_name.get(layer.name)
        assert layer.channels_after == (node.shape.channels if node else 0)
        assert layer.channels_before - layer.channels_after == layer.constant + layer.unread
    assert [node.name for node in made.graph.input_nodes] == [node.name for node in graph.input_nodes]
    assert made.graph.outputs == graph.outputs
    return made


def new_biases(graph: Graph, made: Graph) -> int:
    """Biases of layers that had none."""
    pairs = [(node.op, graph.by_name[node.name].op) for node in made.nodes]
    return sum(new.out_channels for new, old in pairs if isinstance(new, Conv) and new.bias and not old.bias)


def check_bounds(graph: Graph) -> None:
    """No value of any node lies outside of its channel's interval."""
    found = intervals(graph)
    for image in inputs(graph, 1):
        for name, values in reference.run(graph, image).items():
            if name in found:
                assert (values >= found[name].low).all(), name
                assert (values <= found[name].high).all(), name


# -- any network -------------------------------------------------------------------------------------------------------


@mostly(0.5)
@settings(max_examples=40, **QUIET)
@given(WITH_INTEGER_LAYERS, SEEDS)
def test_random_networks_keep_their_bytes(graph: Graph, seed: int) -> object:
    graph = deadened(graph, seed, share=0.7)
    check_bounds(graph)
    made = check(graph)
    return None if made.graph is not graph else REFUSED


@settings(max_examples=25, **QUIET)
@given(layers() | binary_layers(), SEEDS)
def test_weights_and_values_of_few_bits_keep_their_bytes(graph: Graph, seed: int) -> None:
    if all(node.type.dtype is DType.F32 for node in graph.nodes):
        with pytest.raises(Unsupported, match="must be those of an int8 or uint8 network"):
            live(graph)
        return
    graph = deadened(graph, seed)
    check_bounds(graph)
    check(graph)


@example_counts(3, 30)
def test_in_c_too(examples: int) -> None:
    @settings(max_examples=examples, **COMPILED)
    @given(WITH_INTEGER_LAYERS, SEEDS)
    def run(graph: Graph, seed: int) -> None:
        graph = deadened(graph, seed)
        made, names = live(graph).graph, tuple(dict.fromkeys(graph.outputs))
        for plan in (plan_rows(made), plan_rows(made, objective="time"), plan_host(made, HOSTS[0])):
            program = Program(plan)
            for image in inputs(graph, 1):
                expected = dict(zip(names, reference.outputs(graph, image), strict=True))
                for outputs in (program.run(image), program.push(image)):
                    assert first_difference(graph, expected, dict(zip(names, outputs, strict=True)), 0, "c") is None

    run()


# -- published networks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vww() -> Graph:
    return load(shared_file(NETWORKS["vww"]))


def vww_images(graph: Graph) -> list[Array]:
    """Noise, ends, and pictures of squares of all sizes: what goes through a network is not only its border."""
    rng = np.random.default_rng(7)
    images = list(inputs(graph, 1))
    for side in (2, 3, 5, 8, 12, 24, 48):
        squares = rng.integers(-128, 128, (96 // side + 1, 96 // side + 1, 3))
        images.append(np.kron(squares, np.ones((side, side, 1)))[:96, :96].astype(np.int8))
    return images


def test_half_of_visual_wake_words_is_dead(vww: Graph) -> None:
    made = live(vww)
    assert (made.macs_before, made.param_bytes_before) == (7_489_664, 230_016)
    assert (made.macs_after, made.param_bytes_after) == (3_727_313, 37_178)
    last = next(layer for layer in made.layers if layer.name == "block13.project")
    assert (last.channels_before, last.channels_after, last.constant, last.unread) == (256, 22, 234, 0)
    assert equal(vww, made.graph, vww_images(vww))


def test_hardly_a_channel_that_never_changes_is_missed(vww: Graph) -> None:
    runs = [reference.run(vww, image) for image in vww_images(vww)]
    seen, proved = 0, 0
    for name, interval in intervals(vww).items():
        values = np.stack([run[name] for run in runs]).astype(np.int64)
        least, most = values.min((0, 1, 2)), values.max((0, 1, 2))
        assert (least >= interval.low).all()
        assert (most <= interval.high).all()
        seen, proved = seen + int((least == most).sum()), proved + int(interval.constant.sum())
    assert (proved, seen) == (1949, 1958)


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        *(pytest.param(f"block{n}.project", f"block{n + 1}.depthwise", marks=pytest.mark.slow) for n in (6, 9, 12)),
        ("block13.project", "pool"),
    ],
)
def test_a_live_channel_is_missed(vww: Graph, monkeypatch: pytest.MonkeyPatch, name: str, beside: str) -> None:
    """As if the analysis had called one more channel dead: the one that varies most, of two nodes with the same."""
    images = vww_images(vww)
    values = np.stack([reference.run(vww, image)[name].astype(float) for image in images])
    channel = int(values.std((0, 1, 2)).argmax())

    def one_less(graph: Graph, reading: Any) -> Any:
        masks = needed(graph, reading)
        if graph is not vww:
            return masks
        assert masks[name][channel]
        masks[name][channel] = masks[beside][channel] = False
        return masks

    honest = live(vww).graph
    monkeypatch.setattr(module, "needed", one_less)
    made = live(vww).graph
    assert made.by_name[name].shape.channels == honest.by_name[name].shape.channels - 1
    seen = [replace(graph, outputs=("logits",)) for graph in (vww, honest, made)]
    assert equal(seen[0], seen[1], images)
    assert not equal(seen[0], seen[2], images)


@pytest.mark.parametrize("name", ["resnet", "person"])
def test_other_published_networks_keep_their_bytes(name: str) -> None:
    graph = load(shared_file(NETWORKS[name]))
    made = check(graph)
    assert (made.graph is graph) == (name == "resnet")


# -- what goes, case by case -------------------------------------------------------------------------------------------


def start(channels: int = 3, dtype: DType = DType.I8, side: int = 6) -> tuple[Builder, str]:
    b = Builder(np.random.default_rng(4), dtype)
    return b, b.add(Input(), shape=Shape(side, side, channels))


def still(b: Builder, name: str, channels: list[int], bias: int = -FAR) -> str:
    b.params[f"{name}.bias"][channels] = bias
    return name


def channels(made: Live, name: str) -> int:
    node = made.graph.by_name.get(name)
    return node.shape.channels if node else 0


ZERO = Quant(0.1, -128)
"""A quantisation under which a sum far below zero is stored as the zero point."""
OTHER = Quant(0.1, 3)


@pytest.mark.parametrize(
    ("quant", "padding", "left"),
    [(ZERO, (1, 1, 1, 1), 3), (OTHER, (1, 1, 1, 1), 5), (OTHER, (0, 0, 0, 0), 3), (OTHER, (0, 1, 0, 0), 5)],
)
def test_a_constant_is_folded_where_padding_is_no_other_value(
    quant: Quant, padding: tuple[int, int, int, int], left: int
) -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at, quant=quant), [1, 3])
    b.add(b.conv(4, (3, 3), padding=padding), first)
    assert channels(check(b.graph()), first) == left


def test_padding_matters_only_to_taps_with_weights() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at, quant=OTHER), [1, 3])
    second = b.add(b.conv(4, (3, 3)), first)
    b.params[f"{second}.weight"][:, [0, 2]] = 0
    b.params[f"{second}.weight"][:, :, [0, 2]] = 0
    assert channels(check(b.graph()), first) == 3  # the middle tap always lies within


def test_a_stride_may_pass_by_the_padding() -> None:
    window = Window((2, 2), (2, 2), (0, 1, 0, 1))
    assert inside(window, Shape(6, 6, 1)).all()
    assert not inside(window, Shape(7, 7, 1)).all()
    for side, left in ((6, 3), (7, 5)):
        b, at = start(side=side)
        first = still(b, b.add(b.conv(5), at, quant=OTHER), [1, 3])
        b.add(Conv(4, window, weights=DType.I8), first)
        assert channels(check(b.graph()), first) == left


def test_a_depthwise_layer_loses_what_it_makes_constant() -> None:
    b, at = start()
    wide = b.add(b.conv(8, activation=Activation.RELU), at)
    deep = still(b, b.add(b.conv(8, (3, 3), groups=8), wide), [0, 5], FAR)
    b.add(b.conv(4), deep)
    made = check(b.graph())
    assert (channels(made, wide), channels(made, deep)) == (6, 6)
    layer = next(layer for layer in made.layers if layer.name == wide)
    assert (layer.constant, layer.unread) == (0, 2)


def test_groups_go_as_a_whole() -> None:
    b, at = start()
    wide = b.add(b.conv(8), at)
    deep = still(b, b.add(b.conv(12, groups=4), wide), [0, 1, 2, 4])
    b.add(b.conv(4), deep)
    made = check(b.graph())
    assert (channels(made, wide), channels(made, deep)) == (6, 9)


def test_what_no_weight_reads_goes_with_all_that_makes_it() -> None:
    b, at = start()
    first = b.add(b.conv(6), at)
    second = b.add(b.conv(7), first)
    last = b.add(b.conv(4, (3, 3)), second)
    b.params[f"{last}.weight"][..., [2, 3]] = 0
    b.params[f"{second}.weight"][[0, 1, 4, 5, 6], :, :, 1] = 0
    made = check(b.graph())
    assert (channels(made, first), channels(made, second)) == (5, 5)  # channel 1 was read by 2 and 3 alone


def test_a_sum_keeps_a_channel_that_one_side_has() -> None:
    b, at = start()
    left = still(b, b.add(b.conv(6), at), [0, 1, 2])
    right = still(b, b.add(b.conv(6), at), [1, 2, 3], FAR)
    total = b.add(Add(), left, right)
    b.add(b.conv(4), total)
    made = check(b.graph())
    assert [channels(made, name) for name in (left, right, total)] == [4, 4, 4]


def test_a_constant_that_must_stay_needs_no_weights() -> None:
    b, at = start()
    first = b.add(b.conv(6), at)
    left = still(b, b.add(b.conv(4), first), [0])
    b.params[f"{left}.weight"][1:, :, :, [2, 3]] = 0  # so that only channel 0 reads them
    b.add(Add(), left, b.add(b.conv(4), at))
    made = check(b.graph())
    assert (channels(made, first), channels(made, left)) == (4, 4)
    assert not made.graph.params[f"{left}.weight"][0].any()


def test_a_closed_gate_takes_its_map_along() -> None:
    b, at = start()
    wide = b.add(b.conv(5), at, quant=OTHER)
    pooled = b.add(Pool(PoolKind.AVERAGE, Window((6, 6))), b.add(b.conv(4), at), same=True)
    gate = still(b, b.add(b.conv(5, activation=Activation.RELU), pooled, quant=ZERO), [1, 4])
    b.add(b.conv(4, (3, 3)), b.add(Multiply(), wide, gate, quant=ZERO))
    made = check(b.graph())
    assert (channels(made, gate), channels(made, wide)) == (3, 3)


def test_the_last_group_is_a_layer_of_its_own() -> None:
    b, at = start()
    wide = b.add(b.conv(4), at)
    grouped = still(b, b.add(b.conv(8, groups=4), wide), [0, 1, 2, 4, 5, 6, 7])
    b.add(b.conv(2), grouped)
    made = check(b.graph())
    assert (channels(made, wide), channels(made, grouped)) == (1, 1)


@pytest.mark.parametrize("pad", [True, False])
def test_a_branch_that_is_constant_is_not_computed(pad: bool) -> None:
    b, at = start()
    quant = OTHER if pad else ZERO
    dead = still(b, b.add(b.conv(3, (3, 3)), at, quant=quant), [0, 1, 2])
    alive = b.add(b.conv(4), at, quant=quant)
    joined = b.add(Concat(), alive, dead, quant=quant)
    if pad:
        joined = b.add(Pad((1, 0, 0, 0)), joined, same=True)
    b.add(b.conv(4, (3, 3)), joined)
    made = check(b.graph())
    assert (dead in made.graph.by_name) == pad  # the padding's value is another one
    assert channels(made, joined) == (7 if pad else 4)
    check_outputs(made.graph, plan_rows(made.graph), list(inputs(made.graph, 1)))  # a concatenation of one part too


def test_slices_follow_what_is_left() -> None:
    b, at = start()
    wide = still(b, b.add(b.conv(9), at, quant=ZERO), [0, 3, 4, 8])
    parts = [b.add(Slice(0, 4), wide, same=True), b.add(Slice(4, 9), wide, same=True)]
    b.add(Add(), *(b.add(b.conv(2), part) for part in parts))
    made = check(b.graph())
    assert (channels(made, wide), [made.graph.by_name[part].op for part in parts]) == (5, [Slice(0, 2), Slice(2, 5)])


def test_a_bias_comes_where_there_was_none() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at, quant=OTHER), [1, 3])
    last = b.add(b.conv(4, bias=False), first)
    made = check(b.graph())
    op = made.graph.by_name[last].op
    assert isinstance(op, Conv)
    assert op.bias
    assert channels(made, first) == 3


def test_a_function_of_constants_is_constant() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at), [0, 2])
    function = b.add(Activate(Activation.HARD_SWISH), first)
    moved = b.add(Requantize(), function)
    pooled = b.add(Pool(PoolKind.MAX, Window((2, 2), (2, 2))), moved, same=True)
    b.add(b.conv(4), pooled)
    made = check(b.graph())
    assert [channels(made, name) for name in (first, function, moved, pooled)] == [3, 3, 3, 3]


def test_outputs_and_inputs_stay_whole() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at), [0, 2])
    last = b.add(b.conv(4), first)
    b.params[f"{first}.weight"][..., 1] = 0
    graph = b.graph(last, first).with_image(ImageSpec(6, 6, 3))
    made = check(graph)
    assert made.graph is graph
    assert [layer.channels_after for layer in made.layers] == [3, 5, 4]


def test_softmax_takes_all_classes() -> None:
    b, at = start()
    scores = still(b, b.add(b.conv(5), at), [0, 2])
    b.add(Softmax(), scores, quant=Quant(1 / 256, -128))
    assert channels(check(b.graph()), scores) == 5


def test_all_constant_leaves_a_channel_to_read() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at), [0, 1, 2, 3, 4], FAR)
    second = still(b, b.add(b.conv(6, (3, 3), groups=1), first), list(range(6)))
    b.add(b.conv(4), second)
    made = check(b.graph())
    assert (channels(made, first), channels(made, second)) == (1, 1)


def test_sums_that_wrap_are_not_bounded() -> None:
    b, at = start()
    first = b.add(b.conv(5), at)
    b.params[f"{first}.bias"][:] = 2**31 - 1
    b.add(b.conv(4), first)
    graph = b.graph()
    check_bounds(graph)
    assert channels(check(graph), first) == 5


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_bounds_are_reached_under_each_rounding(rounding: Rounding) -> None:
    b, at = start(2)
    first = b.add(b.conv(7, rounding=rounding), at)
    graph, found = b.graph(), intervals(b.graph())[first]
    ends = np.array(np.meshgrid([-128, 127], [-128, 127])).reshape(2, 4).T
    image = np.resize(ends, (6, 6, 2)).astype(np.int8)
    values = reference.run(graph, image)[first].reshape(-1, 7)
    assert (values.min(0) == found.low).all()
    assert (values.max(0) == found.high).all()


@pytest.mark.parametrize(("quant", "left"), [(ZERO, 3), (OTHER, 4)])
def test_layers_keep_sharing_their_arrays(quant: Quant, left: int) -> None:
    """A constant that a shared bias would have to hold stays; one that adds nothing goes from all of them."""
    b, at = start()
    names = [b.add(b.conv(4), at, quant=quant)]
    names += [b.add(b.conv(4, (3, 3), padding=(0, 0, 0, 0)), names[-1], quant=quant)]
    names += [b.add(b.conv(4, (3, 3), padding=(0, 0, 0, 0)), names[-1], quant=quant)]
    for name in names:
        still(b, name, [1])
    b.add(b.conv(3), names[-1], quant=quant)
    shared = {f"{names[2]}.{name}": f"{names[1]}.{name}" for name in ("weight", "bias", "weight_scale")}
    graph = replace(b.graph(), params={k: v for k, v in b.params.items() if k not in shared}, shared=shared)
    made = check(graph)
    assert made.graph.shared == shared
    assert [channels(made, name) for name in names[:2]] == [left, left]


def test_random_networks_keep_sharing() -> None:
    pytest.importorskip("torch")
    from tied import tied

    @settings(max_examples=20, **QUIET)
    @given(st.sampled_from([DType.I8, DType.U8]).flatmap(tied), SEEDS)
    def run(graph: Graph, seed: int) -> None:
        graph = deadened(graph, seed)
        made = check(graph).graph
        for first in set(graph.shared.values()):
            keys = [first, *(key for key, other in graph.shared.items() if other == first)]
            alive = [key for key in keys if key.rpartition(".")[0] in made.by_name]
            assert len({made.shared.get(key, key) for key in alive}) <= 1

    run()


def test_verification_is_against_the_network_as_it_was() -> None:
    b, at = start()
    first = still(b, b.add(b.conv(5), at), [0, 2])
    last = b.add(b.conv(4), first)
    graph = b.graph()
    plan = plan_rows(live(graph).graph)
    assert verify(plan, 1, original=graph).equal
    params = dict(graph.params)
    params[f"{last}.bias"] = params[f"{last}.bias"] + 4000
    found = verify(plan, 1, original=replace(graph, params=params))
    assert not found.equal
    assert found.first_difference is not None


def test_real_numbers_are_refused() -> None:
    b, at = start(dtype=DType.F32)
    b.add(b.conv(4), at)
    with pytest.raises(Unsupported, match="random: live channels must be those of an int8 or uint8 network"):
        live(b.graph())


def test_no_weights_are_refused(vww: Graph) -> None:
    with pytest.raises(GraphError, match="must have weights"):
        live(without_weights(vww))
