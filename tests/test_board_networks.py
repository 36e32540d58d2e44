"""Every int8 network of the zoo and every .tflite of the data on each core: the reference's bytes, within the plan."""

from functools import lru_cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import rillet
from conftest import SHARED, shared_file
from rillet.ir.graph import Graph
from rillet.ir.types import DType
from rillet.runtime.emulator.on_qemu import find_qemu
from rillet.targets import boards

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
pytestmark = pytest.mark.slow

BOARD = """name = "{core}, {flash} MB"
core = "{core}"
flash_bytes = {{ value = {flash}_000_000, source = "chosen", confidence = "assumed" }}
ram_bytes = {{ value = {ram}, source = "chosen", confidence = "assumed" }}
clock_hz = {{ value = 100_000_000, source = "chosen", confidence = "assumed" }}
cycles_per_mac = {{ value = 2, low = 1, high = 4, source = "chosen", confidence = "assumed" }}
cycles_per_instruction = {{ value = 1, low = 1, high = 2, source = "chosen", confidence = "assumed" }}
"""
NEEDS_QEMU = pytest.mark.skipif(find_qemu() is None, reason="apt install qemu-system-arm")
DSP = ("cortex-m4", "cortex-m7", "cortex-m33")
"""Cores of the same kernels."""
RULES = ("fixed_point", "shift")
SMALL = "width=0.25,resolution=32,classes=10,seed=0"
NARROW = "resolution=32,classes=10,seed=0"
ZOO = (
    *(f"{name}:{SMALL}" for name in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")),
    *(f"{name}:{SMALL}" for name in ("mnasnet_b1", "fd_mobilenet", "microbotnet", "resnet18", "resnet50", "vgg16")),
    *(f"efficientnet_lite{size}:{NARROW}" for size in range(3)),
    *(f"squeezenet{kind}:{NARROW}" for kind in ("1_0", "1_1", "_cifar10")),
)
RULES = ("fixed_point", "shift")
FILES = tuple(str(path.relative_to(SHARED)) for path in sorted(SHARED.rglob("*.tflite")))


def by_kernels(names: tuple[str, ...]) -> tuple[ParameterSet, ...]:
    """Each with a core of each set of kernels, and all cores in turn."""
    return tuple(
        pytest.param(name, core, marks=NEEDS_QEMU if core == "cortex-m55" else ())
        for i, name in enumerate(names)
        for core in ("cortex-m0plus", DSP[i % len(DSP)], "cortex-m55")
    )


def board(folder: Path, core: str, ram: int = 2**20, flash: int = 64) -> boards.Board:
    """A board with this core and room for every network."""
    path = folder / "board.toml"
    path.write_text(BOARD.format(core=core, ram=ram, flash=flash))
    return boards.load(str(path))


def proved(net: Graph, target: boards.Board, objective: str) -> None:
    """Bytes are the reference's; RAM and flash no more than planned."""
    made = rillet.verify(rillet.plan(net, target=target, objective=objective), inputs=1)
    assert made.equal, made
    assert made.ram_bytes <= made.planned_ram_bytes and made.flash_bytes <= made.planned_flash_bytes


@lru_cache(maxsize=1)
def quantised(model: str, rule: str) -> Graph:
    return rillet.quantize(rillet.load(model), "random", limit=2, rule=rule).graph


@lru_cache(maxsize=1)
def opened(name: str) -> Graph:
    return rillet.load(shared_file(name))


@pytest.mark.parametrize(("name", "core"), by_kernels(tuple(f"{model} {rule}" for model in ZOO for rule in RULES)))
def test_networks_of_the_zoo(name: str, core: str, tmp_path: Path) -> None:
    """One objective a rule: both plans are held by test_core.py on random networks."""
    model, rule = name.split()
    proved(quantised(model, rule), board(tmp_path, core), "memory" if rule == "shift" else "time")


@pytest.mark.parametrize(("name", "core"), by_kernels(FILES))
def test_files(name: str, core: str, tmp_path: Path) -> None:
    net = opened(name)
    if any(node.type.dtype is DType.F32 for node in net.nodes):
        pytest.skip("of float32 values")
    proved(net, board(tmp_path, core), "time")


def test_a_large_network_within_100_kb(tmp_path: Path) -> None:
    """MobileNetV2 1.0 at 224 x 224, 3.5 MB of weights, on a Cortex-M7 with 8 MB of flash."""
    net = quantised("mobilenet_v2:seed=0", "fixed_point")
    proved(net, board(tmp_path, "cortex-m7", ram=100_000, flash=8), "memory")
