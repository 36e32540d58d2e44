"""Cycles that published code and SCALE-Sim give, to the last one."""

import pytest

from rillet.analyses.systolic import Systolic, systolic
from rillet.ir.graph import Graph, Node
from rillet.ir.ops import Conv, Input, Pool, PoolKind, Window
from rillet.ir.types import Shape, TensorType
from rillet.models.opening import open_model

# The latency model published with FuSeConv (Ganesan et al., DATE 2021), obtained by running its code: cycles on
# arrays of 8x8, 64x64 and 256x256, variants on the hardware with broadcast weights, and on a plain array of 64x64.
FUSE = (
    ("mobilenet_v1:form=fuseconv", 13_851_880, 2_521_760, 2_095_859, 2_521_760),
    ("mobilenet_v1:form=fuseconv,fuse=full", 19_320_552, 621_072, 244_183, 4_512_864),
    ("mobilenet_v1:form=fuseconv,fuse=half", 10_175_464, 375_032, 150_661, 2_320_928),
    ("mobilenet_v1:form=fuseconv,fuse=full50", 14_500_584, 1_143_728, 797_247, 3_809_376),
    ("mobilenet_v1:form=fuseconv,fuse=half50", 11_385_192, 1_064_904, 766_265, 2_397_728),
    ("mobilenet_v2", 10_683_196, 2_961_936, 2_531_548, 2_961_936),
    ("mobilenet_v2:fuse=full", 8_812_636, 576_542, 322_696, 5_198_992),
    ("mobilenet_v2:fuse=half", 6_313_436, 411_682, 212_512, 2_722_704),
    ("mobilenet_v2:fuse=full50", 9_120_796, 1_449_666, 1_144_496, 4_343_952),
    ("mobilenet_v2:fuse=half50", 8_000_572, 1_370_794, 1_091_560, 2_817_936),
    ("mnasnet_b1:form=fuseconv", 11_337_312, 2_735_928, 2_279_365, 2_735_928),
    ("mnasnet_b1:form=fuseconv,fuse=full", 8_902_464, 542_590, 319_399, 4_479_400),
    ("mnasnet_b1:form=fuseconv,fuse=half", 6_270_280, 383_974, 212_087, 2_351_832),
    ("mnasnet_b1:form=fuseconv,fuse=full50", 9_345_072, 1_454_342, 1_194_769, 3_679_848),
    ("mnasnet_b1:form=fuseconv,fuse=half50", 8_365_008, 1_390_086, 1_152_585, 2_502_360),
    ("mobilenet_v3_small:form=fuseconv", 2_806_138, 693_549, 542_860, 693_549),
    ("mobilenet_v3_small:form=fuseconv,fuse=full", 2_184_986, 231_539, 138_176, 1_057_751),
    ("mobilenet_v3_small:form=fuseconv,fuse=half", 1_570_512, 167_739, 96_600, 580_365),
    ("mobilenet_v3_small:form=fuseconv,fuse=full50", 2_331_734, 430_947, 337_170, 869_207),
    ("mobilenet_v3_small:form=fuseconv,fuse=half50", 2_113_036, 408_309, 320_350, 627_165),
    ("mobilenet_v3_large:form=fuseconv", 8_221_547, 2_003_753, 1_647_362, 2_003_753),
    ("mobilenet_v3_large:form=fuseconv,fuse=full", 7_127_691, 558_357, 294_410, 3_349_887),
    ("mobilenet_v3_large:form=fuseconv,fuse=half", 4_850_403, 369_901, 196_636, 1_764_953),
    ("mobilenet_v3_large:form=fuseconv,fuse=full50", 6_979_451, 1_139_925, 890_206, 2_690_359),
    ("mobilenet_v3_large:form=fuseconv,fuse=half50", 6_335_335, 1_097_145, 862_846, 1_872_089),
)
# The other networks of the same code, 64x64: cycles on a plain array and on the hardware with broadcast weights.
OTHERS = (
    ("resnet50", 1_568_710, 1_568_710),
    ("resnet50:fuse=half", 2_438_593, 1_047_553),
    ("resnet50:fuse=full", 4_128_001, 1_345_921),
    ("squeezenet1_1", 190_203, 190_203),
    ("squeezenet1_1:fuse=full", 516_701, 149_889),
    ("vgg16:form=fuseconv", 4_351_332, 4_351_332),
    ("vgg16:form=fuseconv,fuse=half", 10_243_300, 1_088_724),
)
# SCALE-Sim 3.0.0, MobileNetV2 at 224 pixels on 32x32, the cycles of its 53 layers in order; a depthwise layer is
# that of one channel times the channels, since SCALE-Sim has no groups.
# fmt: off
SCALESIM = {
    "os": (
        35_599, 890_592, 36_847, 91_727, 695_136, 15_483, 42_139, 1_001_808, 20_187, 42_139, 275_904, 5_149,
        14_099, 340_608, 6_349, 14_099, 340_608, 6_349, 14_099, 108_864, 3_555, 10_583, 190_464, 6_243,
        10_583, 190_464, 6_243, 10_583, 190_464, 6_243, 10_583, 190_464, 9_365, 19_907, 285_696, 13_397,
        19_907, 285_696, 13_397, 19_907, 81_216, 6_379, 13_319, 135_360, 10_219, 13_319, 135_360, 10_219,
        13_319, 135_360, 20_439, 30_559, 42_943,
    ),
    "ws": (
        12_862, 404_384, 12_637, 37_913, 320_832, 9_689, 16_149, 464_976, 16_149, 16_149, 134_496, 4_389,
        5_267, 168_384, 5_267, 5_267, 168_384, 5_267, 5_267, 61_056, 3_479, 6_959, 110_976, 6_959,
        6_959, 110_976, 6_959, 6_959, 110_976, 6_959, 6_959, 110_976, 10_439, 15_659, 166_464, 15_659,
        15_659, 166_464, 15_659, 15_659, 90_432, 12_869, 21_449, 136_320, 21_449, 21_449, 136_320, 21_449,
        21_449, 136_320, 42_899, 57_199, 121_599,
    ),
    "is": (
        50_399, 1_191_648, 43_119, 74_479, 930_144, 34_691, 23_323, 1_340_496, 57_819, 23_323, 369_216, 15_749,
        7_149, 455_808, 18_899, 7_149, 455_808, 18_899, 7_149, 145_728, 6_635, 6_691, 254_976, 13_271,
        6_691, 254_976, 13_271, 6_691, 254_976, 13_271, 6_691, 254_976, 15_959, 14_069, 382_464, 23_939,
        14_069, 382_464, 23_939, 14_069, 108_864, 9_143, 10_539, 181_440, 15_239, 10_539, 181_440, 15_239,
        10_539, 181_440, 24_839, 27_479, 43_759,
    ),
}
# fmt: on


def on(model: str, side: int, **more: object) -> Systolic:
    return systolic(open_model(model).graph, rows=side, columns=side, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "small", "middle", "large", "plain"), FUSE)
def test_fuse(model: str, small: int, middle: int, large: int, plain: int) -> None:
    hardware = "fuse" if "fuse=" in model else "systolic"
    cycles = [on(model, side, convention="fuse", hardware=hardware).cycles for side in (8, 64, 256)]
    assert cycles == [small, middle, large]
    assert on(model, 64, convention="fuse").cycles == plain


@pytest.mark.parametrize(("model", "plain", "broadcast"), OTHERS)
def test_fuse_of_other_networks(model: str, plain: int, broadcast: int) -> None:
    assert on(model, 64, convention="fuse").cycles == plain
    assert on(model, 64, convention="fuse", hardware="fuse").cycles == broadcast


def alexnet() -> Graph:
    """AlexNet as torchvision has it, which the zoo has not: five convolutions, three pools, three dense layers."""
    nodes = [Node("input", Input(), (), TensorType(Shape(224, 224, 3)))]

    def add(op: Conv | Pool, channels: int) -> None:
        height, width = op.window.output(nodes[-1].shape)
        nodes.append(Node(f"n{len(nodes)}", op, (nodes[-1].name,), TensorType(Shape(height, width, channels))))

    halve = Pool(PoolKind.MAX, Window((3, 3), (2, 2)))
    for channels, kernel, stride, pad, pooled in (
        (64, 11, 4, 2, True),
        (192, 5, 1, 2, True),
        (384, 3, 1, 1, False),
        (256, 3, 1, 1, False),
        (256, 3, 1, 1, True),
    ):
        add(Conv(channels, Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad))), channels)
        if pooled:
            add(halve, channels)
    for channels in (4096, 4096, 1000):
        add(Conv(channels, Window((nodes[-1].shape.height, nodes[-1].shape.width))), channels)
    return Graph("alexnet", tuple(nodes), (nodes[-1].name,))


def test_fuse_of_alexnet() -> None:
    made = systolic(alexnet(), rows=64, columns=64, convention="fuse")
    assert (made.macs, made.cycles) == (714_188_480, 1_117_460)


@pytest.mark.parametrize("dataflow", SCALESIM)
def test_scalesim(dataflow: str) -> None:
    made = on("mobilenet_v2:padding=torch", 32, convention="scalesim", dataflow=dataflow)
    assert tuple(layer.cycles for layer in made.layers) == SCALESIM[dataflow]


def test_the_map_that_scalesim_rounds_up() -> None:
    # 226 padded rows, 3 taps, stride 2: 112 rows of output; SCALE-Sim has ceil((226 - 3 + 2) / 2) = 113.
    rounded = on("mobilenet_v2:padding=torch", 32, convention="scalesim")
    exact = on("mobilenet_v2:padding=torch", 32, convention="scalesim", exact_maps=True)
    assert (rounded.layers[0].pixels, exact.layers[0].pixels) == (113**2, 112**2)
    # Padded as Keras does, the same layer has 225 rows, and nothing to round.
    assert on("mobilenet_v2", 32, convention="scalesim").layers[0].pixels == 112**2
    differs = [a.name for a, b in zip(rounded.layers, exact.layers, strict=True) if a.pixels != b.pixels]
    assert differs == ["stem.conv", *(f"block{n}.depthwise" for n in (2, 4, 7, 14))]


# SCALE-Sim 3.0.0, as above: reads of inputs and of weights, and writes of sums, of one group of three layers.
ACCESSES = (
    ("os", "block14.depthwise", 576, 18, 192),
    ("os", "block14.project", 141_120, 184_320, 8_480),
    ("os", "block15.expand", 235_200, 307_200, 50_880),
    ("ws", "block14.depthwise", 576, 9, 64),
    ("ws", "block14.project", 141_120, 92_160, 141_120),
    ("ws", "block15.expand", 235_200, 153_600, 235_200),
    ("is", "block14.depthwise", 576, 18, 64),
    ("is", "block14.project", 28_224, 184_320, 141_120),
    ("is", "block15.expand", 7_840, 307_200, 235_200),
)


@pytest.mark.parametrize(("dataflow", "name", "inputs", "weights", "sums"), ACCESSES)
def test_accesses_of_scalesim(dataflow: str, name: str, inputs: int, weights: int, sums: int) -> None:
    made = on("mobilenet_v2:padding=torch", 32, convention="scalesim", dataflow=dataflow)
    layer = next(layer for layer in made.layers if layer.name == name)
    assert (layer.input_reads, layer.weight_reads) == (inputs * layer.groups, weights * layer.groups)
    # Output stationary, it counts 64 writes more in each fold than the fold has sums.
    surplus = 64 * layer.folds if dataflow == "os" else 0
    assert layer.output_writes + surplus == sums * layer.groups
