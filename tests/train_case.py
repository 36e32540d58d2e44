"""A tiny network and a few pictures to train it on, for the tests of training; run as a program, it trains them."""

import sys
from pathlib import Path

import numpy as np

from rillet.data.datasets import Dataset
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation
from rillet.train.loop import train
from rillet.train.recipe import Recipe, parse
from rillet.train.records import Options, Tick, Watch
from rillet.zoo.layers import Layers, square

RECIPE = """
about = "a test"
[run]
epochs = {epochs}
batch = 8
[optimizer]
name = "{optimizer}"
{optimizer_keys}
[rate]
base = 0.05
per_batch = 8
shape = "cosine"
warmup_epochs = 1
[loss]
label_smoothing = 0.1
[average]
decay = 0.9
[augment]
pad = 1
flip = true
"""


def recipe(more: str = "", epochs: int = 3, optimizer: str = "sgd", keys: str = "momentum = 0.9") -> Recipe:
    return parse("test", RECIPE.format(epochs=epochs, optimizer=optimizer, optimizer_keys=keys) + more)


def network(classes: int = 3) -> Graph:
    """Convolution, depthwise, squeeze-and-excite and a dense layer over 8 x 8 pixels."""
    net = Layers("tiny", square(8))
    net.block = "stem"
    net.conv_bn("conv", 8, 3, 2, Activation.HARD_SWISH)
    net.block = "block1"
    source = net.at
    net.conv_bn("expand", 16, activation=Activation.RELU)
    net.depthwise_bn(3, 1, Activation.RELU)
    net.squeeze_excite(4, dense=True)
    net.conv_bn("project", 8)
    net.residual(source)
    net.classifier(classes)
    return net.graph()


def pictures(count: int = 24, seed: int = 0, classes: int = 3) -> Dataset:
    """Pictures whose class is the brightest channel."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    stored = draw.integers(0, 128, (count, 8, 8, 3)).astype(np.uint8)
    stored[np.arange(count), :, :, labels % 3] += 100
    return Dataset("bright", tuple("abcdefgh"[:classes]), labels, lambda index, _: stored[index], stored)


def main(out: str, save_steps: str) -> None:
    """Trains into `out`, and says each step."""

    def tick(now: Tick) -> None:
        print(now.step, flush=True)

    options = Options(threads=1, resume=True, save_steps=int(save_steps))
    train(network(), pictures(), pictures(9, 1), recipe(), Path(out), options, Watch(tick=tick))


if __name__ == "__main__":
    main(*sys.argv[1:])
