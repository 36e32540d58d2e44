"""The zoo: names with parameters, defaults, and what is refused."""

import subprocess
import sys

import pytest

from rillet.errors import GraphError, Unsupported
from rillet.ir.ops import Conv
from rillet.ir.text import parse_graph, print_graph
from rillet.ir.types import DType
from rillet.models.opening import open_model
from rillet.models.variants import split
from rillet.zoo.published import accuracy
from rillet.zoo.registry import NETWORKS, build, described


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_prints_and_parses(name: str) -> None:
    graph = build(name)
    assert parse_graph(print_graph(graph)) == graph
    assert all(node.block for node in graph.nodes[1:])
    assert described(NETWORKS[name]).about.endswith(".") or ";" in described(NETWORKS[name]).about


@pytest.mark.parametrize(
    ("name", "padding"), [("mobilenet_v2", (0, 1, 0, 1)), ("mobilenet_v2:padding=torch", (1, 1, 1, 1))]
)
def test_paddings(name: str, padding: tuple[int, ...]) -> None:
    stem = open_model(name).graph.by_name["stem.conv"].op
    assert isinstance(stem, Conv)
    assert stem.window.padding == padding


def test_defaults_are_those_of_the_first_release() -> None:
    same = {n for n in NETWORKS if build(n).by_name.get("stem.conv") and _asymmetric(n)}
    assert same == {
        "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_b1",
        "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2",
    }  # fmt: skip


def _asymmetric(name: str) -> bool:
    op = build(name).by_name["stem.conv"].op
    assert isinstance(op, Conv)
    return op.window.padding[0] != op.window.padding[1]


def test_microbotnet_is_the_published_listing() -> None:
    """Source 003's listing of the x1.00 network: convolutions as (in, out, kernel, stride, groups)."""
    graph = build("microbotnet")
    convs = [
        (graph.input_shapes(n)[0].channels, n.shape.channels, n.op.window.kernel[0], n.op.window.stride[0])
        for n in graph.nodes
        if isinstance(n.op, Conv) and not n.op.dense
    ]
    assert convs[:10] == [
        (3, 16, 3, 2), (16, 72, 1, 1), (72, 72, 3, 2), (72, 24, 1, 1), (24, 96, 1, 1), (96, 96, 5, 2), (96, 40, 1, 1),
        (40, 240, 1, 1), (240, 240, 5, 1), (240, 40, 1, 1),
    ]  # fmt: skip
    assert convs[-2:] == [(96, 576, 1, 1), (576, 1024, 1, 1)]
    squeezed = [n.shape.channels for n in graph.nodes if n.name.endswith(".reduce")]
    assert squeezed == [24, 60, 30, 36, 72, 144, 144, 144, 144]
    # The width scales the last expansion twice: 184 -> 56 channels at x0.32.
    assert build("microbotnet", {"width": "0.32"}).by_name["head.conv"].shape.channels == 56


def test_bypasses_of_squeezenet() -> None:
    simple, complex_ = (build("squeezenet1_0", {"bypass": b}) for b in ("simple", "complex"))
    adds = [n.block for n in simple.nodes if n.name.endswith(".add")]
    assert adds == ["fire3", "fire5", "fire7", "fire9"]
    assert simple.macs == build("squeezenet1_0").macs
    assert [n.block for n in complex_.nodes if n.name.endswith(".add")] == [f"fire{i}" for i in range(2, 10)]
    assert [n.block for n in complex_.nodes if n.name.endswith(".bypass")] == ["fire2", "fire4", "fire6", "fire8"]


def test_the_binary_network_is_binary() -> None:
    graph = build("binarynet_cifar10")
    assert {n.op.weights for n in graph.nodes if isinstance(n.op, Conv)} == {DType.BINARY, DType.TERNARY}
    assert graph.by_name["block8.conv"].type.dtype is DType.BINARY


def test_parameters_reach_the_network() -> None:
    graph = open_model("mobilenet_v1:width=0.25,resolution=96x128,classes=2,channels=1").graph
    assert graph.nodes[0].shape.array == (96, 128, 1)
    assert graph.by_name[graph.outputs[0]].shape.channels == 2
    assert graph.name == "mobilenet_v1:width=0.25,resolution=96x128,classes=2,channels=1"
    assert open_model("mobilenet_v2:width=0.5,fuse=half").graph.name == "mobilenet_v2:width=0.5,fuse=half"


def test_names_and_words() -> None:
    assert split("mobilenet_v2:width=0.5,fuse=half") == ("mobilenet_v2", {"width": "0.5", "fuse": "half"})
    assert split("hub:vww_96_int8") == ("hub:vww_96_int8", {})
    assert split("hub:vww_96_int8:resolution=64") == ("hub:vww_96_int8", {"resolution": "64"})
    assert split("C:\\net.tflite") == ("C:\\net.tflite", {})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mobilnet_v2", "mobilnet_v2: must be a network of the zoo; did you mean mobilenet_v2?"),
        ("zzz", "zzz: must be a network of the zoo; rillet models lists them"),
        ("mobilenet_v2:width=0", "mobilenet_v2: width must be above 0 and at most 8, got 0"),
        ("mobilenet_v2:width=nan", "mobilenet_v2: width must be above 0 and at most 8, got nan"),
        ("mobilenet_v2:width=wide", "mobilenet_v2: width must be a number, got 'wide'"),
        (
            "mobilenet_v2:resolution=16",
            "mobilenet_v2: resolution must be at least 32, the product of its strides, got 16",
        ),
        ("mobilenet_v2:resolution=9999", "mobilenet_v2: resolution must be at most 4096, got 9999"),
        ("mobilenet_v2:resolution=axb", "mobilenet_v2: resolution must be a size such as 96 or 96x128, got 'axb'"),
        ("mobilenet_v2:classes=0", "mobilenet_v2: classes must be above 0 and at most 131072, got 0"),
        ("mobilenet_v2:classes=2.5", "mobilenet_v2: classes must be a whole number, got '2.5'"),
        ("mobilenet_v2:top=no", "mobilenet_v2: top must be true or false, got 'no'"),
        ("mobilenet_v2:padding=odd", "mobilenet_v2: padding must be one of keras, torch, got 'odd'"),
        ("mobilenet_v2:width=1,width=2", "parameter must be given once, got 'width' twice"),
        ("mobilenet_v2:fuse=most", "mobilenet_v2: fuse must be one of half, full, half50, full50, got 'most'"),
        ("mobilenet_v2:share=0.5", "mobilenet_v2: blocks, share, fit must come with fuse=half or fuse=full"),
        ("mobilenet_v2:fuse=half,share=0", "mobilenet_v2: share must be above 0, at most 1, and without blocks, got 0"),
        ("mobilenet_v2:fuse=half,blocks=99", "blocks must have a K x K convolution to replace, got '99'"),
        ("resnet18:fuse=half50", "resnet18: fuse=half50 is published for mobilenet_v1,"),
        ("mobilenet_v2:strides=middle", "mobilenet_v2: strides must be first or last, got 'middle'"),
        ("mobilenet_v2:strides=first", "mobilenet_v2: strides must have a place to move to, and all are first"),
        ("vgg16:strides=last", "vgg16: strides must have a place to move to"),
        ("mobilenet_v2:seed=x", "mobilenet_v2: seed must be a whole number, got 'x'"),
        (
            "binarynet_cifar10:fuse=full",
            "binarynet_cifar10: fuse must have a depthwise or dense K x K convolution (K odd)",
        ),
        ("squeezenet1_1:width=0", "squeezenet1_1: width must be above 0 and at most 8, got 0"),
    ],
)
def test_what_is_refused(name: str, sentence: str) -> None:
    with pytest.raises((GraphError, Unsupported)) as caught:
        open_model(name)
    assert sentence in str(caught.value)


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    with pytest.raises(GraphError, match=r"parameter must be one of width, resolution, .*fuse.*; got 'depth'"):
        open_model("mobilenet_v2:depth=3")


def test_published_accuracies_are_found_by_any_spelling() -> None:
    for name in ("mobilenet_v1:width=0.5,resolution=128", "mobilenet_v1:resolution=128,width=0.50,padding=torch"):
        found = accuracy(name)
        assert found is not None
        assert found.top1_percent == 56.2
    assert accuracy("mobilenet_v1:width=0.6") is None
    assert accuracy("mobilenet_v1:fuse=full") is None  # published with ReLU, form=fuseconv


def test_counting_needs_no_torch() -> None:
    code = (
        "import sys; from rillet.analyses.count import count; from rillet.models.opening import open_model;"
        "from rillet.zoo.registry import NETWORKS; [count(open_model(n).graph) for n in NETWORKS];"
        "assert not {'torch', 'onnx', 'h5py'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
