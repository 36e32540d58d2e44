"""Prints how long plans and their C text take to make, in seconds of a processor, for the zoo and for deep networks.

usage: python bench/planning.py [MODEL ...]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from rillet.backends.c.emit import emit
from rillet.errors import RilletError
from rillet.ir.graph import Graph
from rillet.ir.ops import Activation, Slice
from rillet.models.opening import open_model
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.fits import fits
from rillet.plan.rows.planner import RowPlanner, plan_rows
from rillet.targets.host import this_host
from rillet.transforms.fold import fold
from rillet.zoo.layers import Layers, square
from rillet.zoo.weights import with_seeded_weights

SMALL = "width=0.25,resolution=64,classes=10"
MODELS = (
    *(f"{name}:{SMALL}" for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small")),
    *("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_lite0", "efficientnet_lite2:fuse=full"),
)
DEPTHS = (100, 200, 400, 800)


def chain(layers: int, skips: bool) -> Graph:
    """Depthwise and pointwise convolutions in turn, with a sum every other pair of them where there are skips."""
    made = Layers(f"{layers} {'with skips' if skips else 'in a row'}", square(64), 16)
    count = 0
    while count < layers:
        made.block, start = f"block{count}", made.at
        made.conv("depthwise", 16, 3, groups=16)
        made.conv("project", 16)
        count += 2
        if skips:
            made.residual(start)
            count += 1
    return made.graph()


def mixed(blocks: int) -> Graph:
    """Blocks as in MixNet: four kernel sizes side by side, squeeze-and-excite, and a skip."""
    made = Layers("mixed kernels", square(224))
    made.block = "stem"
    made.conv_bn("conv", 16, 3, 2, Activation.RELU)
    for i in range(blocks):
        made.block, start, channels = f"block{i}", made.at, made.shape.channels
        stride = 2 if i % max(1, blocks // 4) == 0 else 1
        expanded, parts = made.conv_bn("expand", 4 * channels, 1, 1, Activation.RELU), list[str]()
        for k in range(4):
            made.at = expanded
            made.add(f"slice{k}", Slice(k * channels, (k + 1) * channels))
            parts.append(made.conv_bn(f"mix{k}", channels, 3 + 2 * k, stride, Activation.RELU, groups=channels))
        made.concat(*parts)
        made.squeeze_excite(max(8, channels // 2), dense=False)
        made.conv_bn("project", channels + 16 if stride == 2 else channels)
        if stride == 1:
            made.residual(start)
    return made.graph()


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of a call, and what it gave."""
    start = time.process_time()
    made = run()
    return time.process_time() - start, made


def line(name: str, graph: Graph) -> str:
    """Times of one network with seeded weights."""
    graph = fold(with_seeded_weights(graph))
    memory, plan = seconds(lambda: plan_rows(graph))
    speed, _ = seconds(lambda: plan_host(graph, this_host()))
    fit, _ = seconds(lambda: fits(RowPlanner(graph, False), plan.arena_bytes))
    text, _ = seconds(lambda: emit(plan))
    return (
        f"{name:52}  {len(graph.nodes):5}  {memory:6.2f}  {speed:6.2f}  {fit:6.3f}  {text:5.2f}  {plan.arena_bytes:12,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*")
    said = parser.parse_args()
    print(f"{'network':52}  nodes  memory   speed    fits   text   activations")
    for model in said.models or MODELS:
        print(line(model, open_model(model).graph), flush=True)
    if not said.models:
        for graph in (*(chain(n, skips) for skips in (False, True) for n in DEPTHS), mixed(10), mixed(40)):
            print(line(graph.name, graph), flush=True)


if __name__ == "__main__":
    try:
        main()
    except RilletError as error:
        raise SystemExit(str(error)) from None
