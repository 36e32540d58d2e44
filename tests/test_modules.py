"""Graphs as PyTorch modules: the same function, the same names, and the same graph back."""

import copy
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from blocks import networks
from conftest import example_counts, shared_file
from graphs import graphs, several
from rillet import from_torch
from rillet.backends import reference
from rillet.errors import GraphError, RilletError
from rillet.importers.tflite import load
from rillet.ir.graph import Graph, Node
from rillet.ir.inputs import by_input
from rillet.ir.ops import (
    Activate,
    Activation,
    Add,
    Concat,
    Constant,
    Conv,
    Input,
    Multiply,
    Op,
    Pad,
    Pool,
    PoolKind,
    Requantize,
    Resize,
    Rounding,
    Slice,
    Softmax,
    Window,
    output_shape,
    resize,
)
from rillet.ir.types import DType, Quant, Shape, TensorType
from rillet.runtime.verify import random_given
from rillet.train.modules import Conv as ConvModule
from rillet.train.modules import from_module, to_module
from rillet.transforms.fold import fold
from rillet.transforms.fuseconv import choose, fuse
from rillet.zoo.registry import NETWORKS, build
from rillet.zoo.weights import with_seeded_weights

QUICK = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
TRAINABLE = [name for name in NETWORKS if name != "binarynet_cifar10"]
FAST = ["mobilenet_v3_small", "microbotnet", "squeezenet1_1"]


def image_for(graph: Graph, seed: int = 0, batch: int = 1) -> Tensor:
    shape = graph.input_nodes[0].shape
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, shape.channels, shape.height, shape.width, generator=draw)


def assert_agrees(graph: Graph, module: nn.Module) -> None:
    """The module in eval mode gives what the reference gives, within 1e-5 of the greatest value."""
    image = image_for(graph)
    with torch.no_grad():
        made = module.eval()(image)
    made = made if isinstance(made, tuple) else (made,)
    expected = reference.outputs(graph, image[0].permute(1, 2, 0).numpy().copy())
    assert len(made) == len(expected)
    for one, other in zip(made, expected, strict=True):
        got = one[0].double().numpy()
        wanted = other.transpose(2, 0, 1).reshape(got.shape)
        assert np.abs(got - wanted).max() <= 1e-5 * max(np.abs(wanted).max(), 1e-30)


def assert_round_trip(graph: Graph) -> None:
    """Graph -> module -> torch.export -> graph is the same graph: names, blocks, ops, arrays, contract."""
    module = to_module(graph)
    assert_agrees(graph, module)
    back = from_torch(module, image_for(graph))
    assert back.nodes == graph.nodes
    assert back == graph
    assert from_module(module, replace(graph, params={})) == graph


def small(name: str) -> Graph:
    words = {"resolution": "64" if name.startswith(("squeezenet", "microbotnet")) else "32"}
    return with_seeded_weights(build(name, words))


# -- round trip --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in TRAINABLE])
def test_every_network_of_the_zoo(name: str) -> None:
    assert_round_trip(small(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_every_network_of_the_zoo_at_its_own_resolution(name: str) -> None:
    graph = with_seeded_weights(build(name))
    assert_agrees(graph, to_module(graph))


@pytest.mark.parametrize("words", [{"bypass": "complex"}, {"classes": "3", "channels": "1", "resolution": "65x40"}])
def test_variants(words: dict[str, str]) -> None:
    assert_round_trip(with_seeded_weights(build("squeezenet1_0", {"resolution": "64", **words})))


@QUICK
@given(networks(), st.integers(0, 9))
def test_any_network_of_blocks(graph: Graph, seed: int) -> None:
    trained = with_seeded_weights(graph, seed)
    assert_round_trip(trained)
    assert_round_trip(fold(trained))


@settings(QUICK, max_examples=20)
@given(graphs(real=True))
def test_any_real_network(graph: Graph) -> None:
    """Odd paddings, constants, slices, resizes, fused activations, several outputs."""
    # A rule of quantised sums, which says nothing of real ones.
    plain = [
        replace(n, op=replace(n.op, rounding=Rounding.DOUBLE)) if isinstance(n.op, Conv) else n for n in graph.nodes
    ]
    graph = replace(graph, nodes=tuple(plain))
    found = [node.op for node in graph.nodes]
    assume(Activate(Activation.SIGN) not in found)
    tables = any(isinstance(op, Resize) for op in found)  # torch.export spells most of them as an index of a tensor
    if tables or {Activate(Activation.NONE), Requantize()} & set(found):
        assert_agrees(graph, to_module(graph))  # what does nothing does not come back
    else:
        assert_round_trip(graph)


SHAPE = Shape(7, 6, 4)


def chain(*ops: Op, shape: Shape = SHAPE, **constants: Shape) -> Graph:
    """One op after the other, each reading the one before it, then the input or the constant called `cI`."""
    nodes = [Node("input", Input(), (), TensorType(shape))]
    nodes += [Node(name, Constant(), (), TensorType(s)) for name, s in constants.items()]
    shapes, at = {node.name: node.shape for node in nodes}, "input"
    for i, op in enumerate(ops):
        second = (f"c{i}" if f"c{i}" in constants else "input",)
        inputs = (at, *(second if op.arity in (2, None) else ()))
        made = output_shape(op, tuple(shapes[name] for name in inputs), shape)
        nodes.append(Node(f"part.n{i}", op, inputs, TensorType(made), "part"))
        shapes[f"part.n{i}"] = made
        at = f"part.n{i}"
    return with_seeded_weights(Graph("chain", tuple(nodes), (at,)))


WHOLE = Window((9, 8))
AVERAGE, MAX, MEAN = PoolKind.AVERAGE, PoolKind.MAX, PoolKind.MEAN
RELU6 = Activation.RELU6
CHAINS = {
    "asymmetric convolution": chain(Conv(6, Window((3, 2), (2, 1), (0, 1, 2, 0), (2, 1)), 2, RELU6)),
    "every activation": chain(*(Conv(4, activation=a) for a in Activation if a is not Activation.SIGN)),
    "pad that stays a pad": chain(Pad((1, 0, 2, 1)), Conv(4, Window((3, 3), (1, 1), (1, 1, 1, 1)))),
    "pad of nothing": chain(Pad((0, 0, 0, 0)), Activate(RELU6)),
    "pads before pools": chain(Pad((1, 0, 0, 1)), Pool(MAX, Window((2, 2))), Pad((1, 1, 1, 1)), Pool(AVERAGE, WHOLE)),
    "asymmetric maximum": chain(Pool(MAX, Window((3, 3), (2, 2), (0, 1, 2, 0)), RELU6)),
    "wide maximum": chain(Pool(MAX, Window((3, 3), (2, 2), (2, 2, 2, 2)))),
    "asymmetric average": chain(Pool(AVERAGE, Window((3, 2), (2, 1), (0, 1, 1, 0)), RELU6)),
    "wide average": chain(Pool(AVERAGE, Window((3, 3), (1, 2), (2, 2, 2, 2)))),
    "symmetric average": chain(Pool(AVERAGE, Window((3, 3), (2, 2), (1, 1, 1, 1)))),
    "average of the map": chain(Pool(AVERAGE, Window((7, 6)), RELU6)),
    "average of the map with a stride": chain(Pool(AVERAGE, Window((7, 6), (7, 6)))),
    "mean": chain(Pool(MEAN, Window((7, 6)), RELU6)),
    "mean of a pixel": chain(Pool(MEAN, Window((7, 6))), Pool(MEAN, Window()), Pool(AVERAGE, Window())),
    "maximum of the map": chain(Pool(MAX, Window((7, 6)))),
    "arithmetic": chain(Conv(4), Add(RELU6), Add(subtract=True), Multiply(Activation.RELU), Concat()),
    "a value times its own gate": chain(Activate(Activation.HARD_SIGMOID), Multiply()),
    "constants": chain(Add(), Multiply(), Add(subtract=True), c0=Shape(7, 6, 4), c2=Shape(1, 1, 4), c1=Shape(1, 1, 4)),
    "constant of one channel": chain(Add(), c0=Shape(1, 1, 1), shape=Shape(3, 3, 1)),
    "dense": chain(Conv(5, Window((7, 6)), dense=True), Activate(RELU6), Conv(3, dense=True, activation=RELU6)),
    "a convolution as large as the map": chain(Conv(5, Window((7, 6))), Conv(3)),
    "slices": chain(Slice(1, 4), Slice(0, 3), Slice(2, 3)),
    "resizes": chain(resize(SHAPE, 5, 9), resize(Shape(5, 9, 4), 11, 4, half_pixel_centers=True)),
    "softmax": chain(Softmax(), Softmax(2.5), Pool(MEAN, Window((7, 6))), Softmax()),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_every_op(name: str) -> None:
    assert_round_trip(CHAINS[name])


def test_a_resize_that_aligns_corners() -> None:
    """PyTorch has no such nearest neighbours: the module picks rows and columns, which comes back as no resize."""
    graph = chain(resize(SHAPE, 5, 9, align_corners=True))
    assert_agrees(graph, to_module(graph))


def test_fused_pairs_of_a_changed_network() -> None:
    graph = build("mobilenet_v2", {"resolution": "32"})
    assert_round_trip(with_seeded_weights(fuse(graph, "half", choose(graph))))


def test_imported_float_networks() -> None:
    """Folded batch norms, fused activations, asymmetric padding, real weights."""
    for file in ("mlperf_tiny/vww_96_float.tflite", "mlperf_tiny/pretrainedResnet.tflite"):
        assert_round_trip(load(shared_file(file)))


def test_another_size_keeps_the_names() -> None:
    graph = small("mobilenet_v2")
    back = from_torch(to_module(graph), torch.zeros(1, 3, 64, 48))
    assert [node.name for node in back.nodes] == [node.name for node in graph.nodes]
    assert (back.image.height, back.image.width, back.image.mean) == (64, 48, graph.image.mean)


def test_a_module_whose_submodules_do_more_than_a_node_takes_other_names() -> None:
    module = to_module(small("mobilenet_v1"))
    module.block1.project = nn.Sequential(nn.Conv2d(32, 8, 1), nn.ReLU(), nn.Conv2d(8, 64, 1))
    graph = from_torch(module, image_for(module.graph))
    assert graph.by_name["stem"].block == "stem"
    module = to_module(small("mobilenet_v1"))
    module.block1.project_act = nn.Hardswish()
    graph = from_torch(module, image_for(module.graph))
    assert graph.by_name["block1.project_act"].op == Activate(Activation.HARD_SWISH)


# -- the module --------------------------------------------------------------------------------------------------------


def test_names_of_weights_are_those_of_nodes() -> None:
    graph = build("mobilenet_v2", {"resolution": "32"})
    module = to_module(graph)
    keys = [key for key in module.state_dict() if not key.endswith("num_batches_tracked")]
    words = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    wanted = [f"{n.name}.{words.get(p.name, p.name)}" for n in graph.nodes for p in graph.node_params(n)]
    assert sorted(keys) == sorted(wanted)
    assert keys[:2] == ["stem.conv.weight", "stem.conv_bn.weight"]
    assert module.block3.expand.weight.shape == (144, 24, 1, 1)
    trained = sum(p.numel() for p in module.parameters())
    assert trained == 3_504_872  # published


def test_the_module_reads_well() -> None:
    text = repr(to_module(build("mobilenet_v3_small")))
    assert text.startswith(
        "TorchNetwork(\n  mobilenet_v3_small: 224x224x3 to 1x1x1000\n  (stem): Block(\n    (conv): Conv(3, 16, "
    )
    assert "Conv(3, 16, kernel_size=(3, 3), stride=(2, 2), bias=False, border=(0, 1, 0, 1))" in text
    assert (
        "(depthwise): Conv(16, 16, kernel_size=(3, 3), stride=(2, 2), groups=16, bias=False, border=(0, 1, 0, 1))"
        in text
    )
    assert "(squeeze): Pool(average, full tensor)" in text
    assert "(excite_act): Activate(hard_sigmoid)" in text
    assert "(logits): Dense(in_features=1024, out_features=1000, bias=True)" in text
    words = re.findall(r"\): (\w+\(.*\))", "\n".join(repr(to_module(graph)) for graph in CHAINS.values()))
    for word in (
        "Conv(4, 6, kernel_size=(3, 2), stride=(2, 1), dilation=(2, 1), groups=2, border=(2, 0, 0, 1), relu6)",
        "Pool(max, kernel_size=(3, 3), stride=(2, 2), padding=(0, 1, 2, 0), relu6)", "Add(subtract)", "Add(relu6)",
        "Multiply(relu)", "Multiply()", "Concat()", "Slice(1:4)", "Resize(5x9)", "Softmax()", "Softmax(beta=2.5)",
        "Constant(4x7x6)", "ZeroPad2d((2, 1, 1, 0))",
        "Dense(in_features=168, out_features=5, bias=True)", "Dense(in_features=5, out_features=3, bias=True, relu6)",
    ):  # fmt: skip
        assert word in words


def test_a_network_without_weights_starts_as_the_zoos_authors_do() -> None:
    torch.manual_seed(0)
    module = to_module(build("mobilenet_v2", {"resolution": "32"}))
    for layer in module.modules():
        if isinstance(layer, ConvModule):
            fan_out = layer.out_channels // layer.groups * layer.kernel_size[0] ** 2
            deviation = float(layer.weight.detach().std())
            assert deviation == pytest.approx((2 / fan_out) ** 0.5, rel=0.25)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.eq(1).all()
            assert layer.bias.eq(0).all()
    assert float(module.head.logits.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert module.head.logits.bias.eq(0).all()
    # A signal neither dies nor bursts on its way.
    spread = float(module(torch.randn(4, 3, 32, 32)).detach().std())
    assert 1e-3 < spread < 10


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1"])
def test_gradients_reach_every_parameter(name: str) -> None:
    graph = small(name)
    module = to_module(graph).train()
    module(image_for(graph, batch=4)).square().mean().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        # A bias of the logits under a maximum may be held at zero; a batch norm undoes no layer of these wholly.
        assert parameter.grad.abs().sum() > 0, key


def test_a_step_of_training_lowers_the_loss_and_moves_the_statistics() -> None:
    torch.manual_seed(0)
    graph = build("mobilenet_v2", {"resolution": "64", "width": "0.25", "classes": "4"})
    # Drawn weights make logits of the size of 1, which float32 holds to 1e-5 of their greatest.
    module = to_module(with_seeded_weights(graph, 0)).train()
    images, labels = image_for(graph, batch=16), torch.arange(16) % 4
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(module(images), labels)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[1] < losses[0]
    assert losses[-1] < losses[1]
    trained = from_module(module, graph)
    assert trained.params["stem.conv_bn.mean"].any()
    assert_agrees(trained, module)
    assert from_torch(module, image_for(graph)) == trained


def test_weights_in_the_graph_are_copies() -> None:
    graph = small("mobilenet_v1")
    module = to_module(graph)
    back, read = from_module(module, graph), from_torch(module, image_for(graph))
    with torch.no_grad():
        for value in module.state_dict().values():
            value.zero_()
    assert back == read == graph


def test_copies_pickles_and_other_layouts_of_memory(tmp_path: Path) -> None:
    graph = CHAINS["asymmetric average"]
    for module in (to_module(graph), to_module(small("mobilenet_v3_small"))):
        image = image_for(module.graph)
        wanted = module.eval()(image)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(other(image), wanted)
            assert other.graph == module.graph
        torch.save(module.state_dict(), tmp_path / "weights.pt")
        fresh = to_module(module.graph).eval()
        fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
        assert torch.equal(fresh(image), wanted)
        last = module.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        assert torch.allclose(last, wanted, atol=1e-5)
    assert from_module(module, module.graph) == small("mobilenet_v3_small")


def test_distributed_training(tmp_path: Path) -> None:
    graph = small("mobilenet_v3_small")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        module = nn.parallel.DistributedDataParallel(to_module(graph))
        module(image_for(graph, batch=2)).sum().backward()
        assert all(parameter.grad is not None for parameter in module.parameters())
        assert from_module(module.module, graph).params.keys() == graph.params.keys()
    finally:
        torch.distributed.destroy_process_group()


# -- what is refused ---------------------------------------------------------------------------------------------------


def one(name: str, op: Op, dtype: DType = DType.F32, quant: Quant | None = None) -> Graph:
    kind = TensorType(Shape(2, 2, 2), dtype, quant)
    return Graph("one", (Node("input", Input(), (), kind), Node(name, op, ("input",), kind)), (name,))


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (
            build("binarynet_cifar10"),
            r"binarynet_cifar10: input: must be float32 \(f32\) to become a module, got i8",
        ),
        (one("a", Activate(RELU6), DType.I8, Quant(1.0, 0)), r"one: input: must be float32 .*, got i8"),
        (one("a", Conv(2, weights=DType.I8)), r"one: a: must be float32 .*, got i8"),
        (one("a", Activate(Activation.SIGN)), "one: a: activation must have a gradient, got sign"),
        (one("a", Conv(2, activation=Activation.SIGN)), "one: a: activation must have a gradient, got sign"),
        (one("forward", Activate(RELU6)), "one: forward: name must do for a submodule: "),
        (one("a..b", Activate(RELU6)), "one: a..b: name must do for a submodule: "),
        (one("block.train.x", Activate(RELU6)), "one: block.train.x: name must do for a submodule: "),
    ],
)
def test_what_is_refused(graph: Graph, sentence: str) -> None:
    with pytest.raises(RilletError, match=sentence):
        to_module(graph)


@pytest.mark.parametrize("names", [("a", "a.b"), ("a.b", "a"), ("a.b.c", "a.b")])
def test_a_node_within_a_node_is_refused(names: tuple[str, str]) -> None:
    kind = TensorType(Shape(2, 2, 2))
    nodes = [Node("input", Input(), (), kind), *(Node(name, Activate(RELU6), ("input",), kind) for name in names)]
    with pytest.raises(GraphError, match=f"one: {names[1]}: name must do for a submodule: "):
        to_module(Graph("one", tuple(nodes), names))


@example_counts(3, 40)
def test_networks_of_several_inputs_are_modules_of_several_arguments(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(several(real=True))
    def run(graph: Graph) -> None:
        module, given_ = to_module(graph).eval(), list(by_input(graph, next(random_given(graph, 1))).values())
        images = [torch.from_numpy(array.transpose(2, 0, 1)[None].copy()) for array in given_]
        with torch.no_grad():
            made = module.values(*images)
        for name, want in reference.run(graph, given_).items():
            got = made[name][0].permute(1, 2, 0).numpy()
            assert np.abs(got - want).max() <= 1e-4 * max(1.0, float(np.abs(want).max()))
        with pytest.raises(GraphError, match=f"inputs must be {len(images)} tensors, got 1"):
            module(images[0])

    run()


def test_weights_of_another_network_are_refused() -> None:
    graph = build("mobilenet_v2", {"resolution": "32"})
    with pytest.raises(GraphError, match="mobilenet_v2:resolution=32: module must have the weight stem.conv.weight"):
        from_module(nn.ReLU(), graph)
    narrow = to_module(build("mobilenet_v2", {"resolution": "32", "width": "0.5"}))
    sentence = r"stem.conv.weight must have shape \(32, 3, 3, 3\), got \(16, 3, 3, 3\)"
    with pytest.raises(GraphError, match=sentence):
        from_module(narrow, graph)
