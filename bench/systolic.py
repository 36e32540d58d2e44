"""Prints how long the systolic model takes on networks of the zoo, and beside SCALE-Sim where that is installed.

usage: python bench/systolic.py [os|ws|is ...]

SCALE-Sim 3.0.0 (with NumPy below 2.5) is run on MobileNetV2 at 224 pixels, an array of 32x32, one channel for each
depthwise layer, traces off, once for each dataflow named.
"""

import contextlib
import importlib
import importlib.util
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rillet.analyses.systolic import Systolic, systolic
from rillet.ir.graph import Graph
from rillet.ir.ops import Conv
from rillet.zoo.registry import NETWORKS, build

ROUNDS = 51
SIDE = 32
CONFIG = """[general]
run_name = rillet
[architecture_presets]
ArrayHeight: {side}
ArrayWidth: {side}
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
MemoryBanks: 1
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def median_ms(graph: Graph, **more: Any) -> float:
    times: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        systolic(graph, rows=SIDE, columns=SIDE, **more)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def topology(graph: Graph) -> tuple[str, str]:
    """The network's layers as SCALE-Sim reads them, and a layout that it asks for and does not use."""
    layers = ["name,height,width,rows,columns,channels,filters,stride,"]
    layouts = ["name," + ",".join(["n"] * 18) + ","]
    for node in graph.nodes:
        if isinstance(node.op, Conv):
            source, window, groups = graph.input_shapes(node)[0], node.op.window, node.op.groups
            top, bottom, left, right = window.padding
            sizes = (
                *(source.height + top + bottom, source.width + left + right, *window.kernel),
                *(source.channels // groups, node.op.out_channels // groups, window.stride[0]),
            )
            layers.append(f"{node.name},{','.join(map(str, sizes))},")
            layouts.append(f"{node.name}," + ",".join(["1"] * 18) + ",")
    return "\n".join(layers) + "\n", "\n".join(layouts) + "\n"


def scalesim(graph: Graph, dataflow: str) -> tuple[float, list[int]]:
    """Seconds that SCALE-Sim takes, and its cycles for one group of each layer."""
    module = importlib.import_module("scalesim.scale_sim")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("config.cfg", "topology.csv", "layout.csv")]
        texts = (CONFIG.format(side=SIDE, dataflow=dataflow), *topology(graph))
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        config, layers, layout = map(str, files)
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = module.scalesim(True, False, config, layers, layout)
            made.run_scale(top_path=folder)
        seconds = time.perf_counter() - start
    return seconds, [int(layer.get_compute_report_items()[1]) for layer in made.runner.single_layer_sim_object_list]


def differing(made: Systolic, cycles: list[int]) -> int:
    return sum(layer.cycles != layer.groups * one for layer, one in zip(made.layers, cycles, strict=True))


def main() -> None:
    print(f"{'network':20} {'layers':>6} {'exact ms':>9} {'scalesim ms':>11} {'fuse ms':>9}")
    for name in NETWORKS:
        graph = build(name)
        times = (median_ms(graph), median_ms(graph, convention="scalesim"), median_ms(graph, convention="fuse"))
        layers = len(systolic(graph, rows=SIDE, columns=SIDE).layers)
        print(f"{name:20} {layers:6} {times[0]:9.3f} {times[1]:11.3f} {times[2]:9.3f}")
    if importlib.util.find_spec("scalesim") is None:
        print("SCALE-Sim is not installed")
        return
    graph = build("mobilenet_v2", {"padding": "torch"})
    for dataflow in sys.argv[1:] or ("os", "ws", "is"):
        made = systolic(graph, rows=SIDE, columns=SIDE, convention="scalesim", dataflow=dataflow)
        mine = median_ms(graph, convention="scalesim", dataflow=dataflow) / 1e3
        seconds, cycles = scalesim(graph, dataflow)
        ratio = f"{seconds / mine:,.0f} times faster; {differing(made, cycles)} of {len(cycles)} layers differ"
        print(f"mobilenet_v2 {dataflow}: SCALE-Sim {seconds:.1f} s, here {1e3 * mine:.3f} ms, {ratio}", flush=True)


if __name__ == "__main__":
    main()
