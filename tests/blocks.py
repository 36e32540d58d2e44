"""Random networks out of the zoo's blocks, for property tests."""

from hypothesis import strategies as st

from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, PoolKind
from rillet.zoo.layers import Layers, Resolution
from rillet.zoo.squeezenet import fire

ACTIVATIONS = (Activation.NONE, Activation.RELU, Activation.RELU6, Activation.HARD_SWISH)


@st.composite
def networks(draw: st.DrawFn, most_pixels: int = 20) -> Graph:
    """One to four random blocks behind a stem, and perhaps a classifier."""
    side = st.integers(4, most_pixels)
    padding = draw(st.sampled_from(("keras", "torch")))
    net = Layers("random", Resolution(draw(side), draw(side)), draw(st.integers(1, 4)), padding)
    net.block = "stem"
    activation = draw(st.sampled_from(ACTIVATIONS))
    kernel = draw(st.sampled_from((1, 3, 5)))
    net.conv_bn("conv", 2 * draw(st.integers(1, 6)), kernel, draw(st.integers(1, 2)), activation)
    for number in range(1, draw(st.integers(1, 4)) + 1):
        net.block = f"block{number}"
        kind = draw(st.sampled_from(("inverted", "squeeze", "fire", "separable", "bottleneck", "pool")))
        stride, kernel = draw(st.integers(1, 2)), draw(st.sampled_from((3, 5)))
        out, activation = 2 * draw(st.integers(1, 6)), draw(st.sampled_from(ACTIVATIONS))
        source, entered = net.at, net.shape.channels
        match kind:
            case "inverted" | "squeeze":
                net.conv_bn("expand", entered * draw(st.integers(1, 3)), activation=activation)
                net.depthwise_bn(kernel, stride, activation)
                if kind == "squeeze":
                    net.squeeze_excite(draw(st.integers(1, 5)), dense=draw(st.booleans()))
                net.conv_bn("project", out)
                if stride == 1 and out == entered:
                    net.residual(source)
            case "fire":
                fire(net, draw(st.integers(1, 4)), out)
            case "separable":
                net.depthwise_bn(kernel, stride, activation, bias=draw(st.booleans()))
                net.conv_bn("project", out, activation=activation)
            case "bottleneck":
                net.conv_bn("reduce", out, activation=Activation.RELU)
                net.conv_bn("conv", out, 3, stride, Activation.RELU)
                last = net.conv_bn("expand", entered)
                if stride != 1:
                    net.at = source
                    source = net.conv_bn("shortcut", entered, 1, stride)
                net.at = last
                net.residual(source)
                net.activate("add", Activation.RELU)
            case _:
                net.max_pool(3, stride, (1, 1, 1, 1))
    if draw(st.booleans()):
        net.block = "head"
        net.global_pool(kind=draw(st.sampled_from((PoolKind.AVERAGE, PoolKind.MEAN))))
        net.dense("logits", draw(st.integers(1, 5)))
    return net.graph()
