"""Every network of the sources: MACs and parameters to the last digit, each under its convention."""

import pytest

from rillet.analyses.count import Convention, count
from rillet.analyses.sources import tables
from rillet.models.opening import open_model

# MACs and trainable parameters.
EXACT = (
    # Source 002's table, by tf.keras.applications.mobilenet and torch.utils.flop_counter.
    ("mobilenet_v1", 568_740_352, 4_231_976),
    ("mobilenet_v1:resolution=128", 186_400_768, 4_231_976),
    ("mobilenet_v1:width=0.75", 325_400_448, 2_585_560),
    ("mobilenet_v1:width=0.75,resolution=128", 106_770_432, 2_585_560),
    ("mobilenet_v1:width=0.5", 149_497_088, 1_331_592),
    ("mobilenet_v1:width=0.5,resolution=128", 49_160_192, 1_331_592),
    ("mobilenet_v1:width=0.25", 41_030_272, 470_072),
    ("mobilenet_v1:width=0.25,resolution=128", 13_570_048, 470_072),
    # Source 000, by tf.keras.applications.mobilenet_v2.
    ("mobilenet_v2", 300_774_272, 3_504_872),
    ("mobilenet_v2:padding=torch", 300_774_272, 3_504_872),
    ("mobilenet_v2:top=false", 299_494_272, 2_223_872),
    # torchvision's modules.
    ("mobilenet_v3_large", 216_589_760, 5_483_032),
    ("mobilenet_v3_small", 56_510_400, 2_542_856),
    ("mnasnet_b1", 314_415_872, 4_383_312),
    ("squeezenet1_0", 818_924_576, 1_248_424),
    ("squeezenet1_1", 349_151_936, 1_235_496),
    ("resnet18", 1_814_073_344, 11_689_512),
    ("resnet50", 4_089_184_256, 25_557_032),
    ("vgg16", 15_470_264_320, 138_357_544),
    # Source 003: the published code of FD-MobileNet and MicroBotNet.
    ("fd_mobilenet", 144_489_728, 2_901_288),
    ("fd_mobilenet:width=0.5", 40_132_224, 993_928),
    ("fd_mobilenet:width=0.25", 12_037_952, 383_160),
    ("microbotnet", 5_641_504, 2_044_298),
    ("microbotnet:width=0.32", 782_368, 236_658),
    ("microbotnet:width=0.5", None, 538_138),
    ("microbotnet:width=0.25", None, 160_162),
    # MLPerf Tiny's visual wake words (biases before its batch norms), TensorFlow Lite Micro's person detection.
    ("mobilenet_v1:width=0.25,resolution=96,classes=2,bias=true", 7_489_664, 216_322),
    ("mobilenet_v1:width=0.25,resolution=96,classes=2,channels=1", 7_157_888, 213_442),
    # Parameters of the models that tensorflow/tpu publishes as EfficientNet-Lite.
    ("efficientnet_lite0", None, 4_652_008),
    ("efficientnet_lite1", None, 5_416_680),
    ("efficientnet_lite2", None, 6_092_072),
)


@pytest.mark.parametrize(("model", "macs", "params"), EXACT)
def test_macs_and_parameters(model: str, macs: int | None, params: int) -> None:
    counted = count(open_model(model).graph)
    assert counted.params == params
    assert macs is None or counted.macs == macs


@pytest.mark.parametrize(
    ("model", "operations", "params"),
    [("microbotnet", 6_597_218, 2_044_298), ("microbotnet:width=0.32", 932_886, 236_658)],
)
def test_source_003_counts_as_thop_did_in_2020(model: str, operations: int, params: int) -> None:
    counted = count(open_model(model).graph, Convention.THOP_2020)
    assert (counted.macs, counted.params) == (operations, params)


def test_source_000_counts_as_keras_does() -> None:
    assert count(open_model("mobilenet_v2:top=false").graph, Convention.KERAS).params == 2_257_984


def test_source_002_and_where_it_differs() -> None:
    rows = tables.alpha(lambda name: open_model(name).graph)
    wrong = {(r.width, r.resolution): (r.macs, r.params) for r in rows if not (r.macs_agree and r.params_agree)}
    assert wrong == {
        (1, 128): (186_400_768, 4_242_920),  # prints 4.14 M parameters
        (0.75, 224): (325_400_448, 2_593_768),  # prints 317 M MACs
        (0.75, 128): (106_770_432, 2_593_768),  # prints 104 M
        (0.5, 224): (149_497_088, 1_337_064),  # prints 150 M
    }


def test_the_binary_network_weighs_what_source_003_says() -> None:
    graph = open_model("binarynet_cifar10").graph
    layers = [node for node in graph.nodes if node.name.startswith("block") and node.name.endswith(".conv")]
    bits = [param.dtype.bits * 256 * 256 * 4 for node in layers for param in graph.node_params(node)[:1]]
    assert len(layers) == 8
    assert sum(bits) == 256 * 1024 * 8
