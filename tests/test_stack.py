"""The bound of a board's stack: no program goes deeper, whatever its kernels, its core and its compiler."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import rillet
from conftest import NETWORKS, shared_file
from every_kernel import every_curve, every_kernel, every_low_bit_kernel
from frames import OBJDUMP, deepest, functions
from rillet.backends.c.emit import emit
from rillet.ir.graph import Graph
from rillet.ir.ops import Rounding
from rillet.ir.types import DType
from rillet.plan.board.stack import ENTRY, KERNELS, REAL, STAGES, stack_bytes, stage_bytes
from rillet.plan.rows.plan import Kernel, RowPlan
from rillet.runtime import emulator
from rillet.runtime.emulator import firmware
from rillet.runtime.emulator.proof import CoreVerification
from rillet.runtime.verify import random_inputs
from rillet.targets import boards, cores
from test_emulator import chain

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
pytestmark = pytest.mark.skipif(
    shutil.which(firmware.GCC) is None or shutil.which(OBJDUMP) is None, reason="apt install gcc-arm-none-eabi"
)
GCC, ZIG = True, False
BUILDS = ((GCC, "-O3"), (GCC, "-O2"), (GCC, "-Os"), (ZIG, "-O3"))


def planned(graph: Graph, core: str, objective: str) -> RowPlan:
    """A plan for a core, with room for it."""
    board, found = boards.load("stm32h743"), cores.load(core)
    board = replace(board, name=found.name, core=found.name, kernels=found.kernels)
    return rillet.plan(graph, board, objective=objective)


def built(plan: RowPlan, gcc: bool, level: str, monkeypatch: pytest.MonkeyPatch) -> firmware.Firmware:
    monkeypatch.setattr(firmware, "GCC", "arm-none-eabi-gcc" if gcc else "no-such-gcc")
    assert plan.board is not None and plan.board.cortex is not None
    return firmware.build_firmware(emit(plan), plan.board.cortex, (level,))


def check(plan: RowPlan, made: firmware.Firmware) -> int:
    """No stage's function goes deeper than the bound of its stage, nor the whole than all; returns how deep it goes."""
    assert plan.board is not None
    core, those = plan.board.cortex, functions(made.path)
    assert core is not None
    for stage in (stage for segment in plan.segments for stage in segment.stages):
        for name in those:
            if re.fullmatch(rf"fire_{re.sub(r'[^A-Za-z0-9_]', '_', stage.node)}(\.part\.0)?", name):
                assert deepest(those, name) <= stage_bytes(plan, stage, core), (stage.node, stage.kernel)
    most = deepest(those, "net_run")
    assert most <= stack_bytes(plan, core)
    return most


def test_every_kernel_of_boards_has_a_bound() -> None:
    of_hosts = {Kernel.TILES, Kernel.DEPTHWISE_TILES, Kernel.LISTS, Kernel.WIDE_FUNCTION, Kernel.WINOGRAD}
    assert STAGES.keys() | REAL.keys() == set(Kernel) - of_hosts


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O3", "-Os"])
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_no_function_goes_deeper(core: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(every_curve(DType.F32), core, "memory")
    check(plan, built(plan, GCC, level, monkeypatch))


@pytest.mark.parametrize(
    ("make", "dtype", "rounding", "core", "objective"),
    [
        (every_kernel, DType.I8, Rounding.DOUBLE, "cortex-m0plus", "time"),
        (every_low_bit_kernel, DType.I8, Rounding.SHIFT, "cortex-m4", "memory"),
        (every_kernel, DType.F32, Rounding.DOUBLE, "cortex-m55", "time"),
    ],
)
def test_no_kernel_goes_deeper(make, dtype, rounding, core, objective, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(make(dtype, rounding), core, objective)
    check(plan, built(plan, GCC, "-O3", monkeypatch))


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: f"{'gcc' if build[0] else 'zig'}{build[1]}")
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m55"])
@pytest.mark.parametrize("make", [every_kernel, every_low_bit_kernel])
def test_no_kernel_goes_deeper_in_any_build(make, core: str, build: tuple[bool, str], monkeypatch) -> None:
    for dtype, rounding, kernel, objective in (
        (DType.I8, Rounding.DOUBLE, 3, "time"),
        (DType.I8, Rounding.SHIFT, 5, "memory"),
        (DType.U8, Rounding.SINGLE, 7, "memory"),
        (DType.F32, Rounding.DOUBLE, 3, "time"),
    ):
        plan = planned(make(dtype, rounding, kernel), core, objective)
        check(plan, built(plan, *build, monkeypatch))


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("objective", ["memory", "time"])
@pytest.mark.parametrize(
    "model",
    [
        *(NETWORKS[name] for name in ("vww", "resnet", "person")),
        "mobilenet_v1:width=0.25,resolution=32,classes=10,seed=0",
    ],
)
def test_networks_stay_within_the_bound_and_near_it(model: str, objective: str, core: str, monkeypatch) -> None:
    """int8, uint8 and float32: the bound is no more than twice what the deepest build takes, and 128 bytes, but where
    zig takes loops over float32 vectors apart, the more the fewer channels.
    """
    graph = rillet.load(model if ":" in model else shared_file(model))
    plan = planned(graph, core, objective)
    assert plan.board is not None and plan.board.cortex is not None
    deepest_build = max(check(plan, built(plan, *build, monkeypatch)) for build in BUILDS)
    if not (plan.board.cortex.mve and ":" in model):
        assert stack_bytes(plan, plan.board.cortex) <= 2 * deepest_build + 128


@pytest.mark.parametrize("core", ["cortex-m4", pytest.param("cortex-m0plus", marks=pytest.mark.slow)])
def test_what_is_painted_lies_within_what_instructions_say(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator measures what the frames of the deepest chain are, where that chain runs."""
    plan = planned(rillet.load(shared_file(NETWORKS["resnet"])), core, "time")
    made = built(plan, GCC, "-O3", monkeypatch)
    ran = emulator.run_firmware(made, list(random_inputs(plan.graph, 1)))
    most = deepest(functions(made.path), "net_run")
    assert most - 16 <= ran.stack_bytes <= most <= stack_bytes(plan, cores.load(core))


def test_frames_are_those_that_the_compiler_tells(tmp_path: Path) -> None:
    plan = planned(every_kernel(DType.I8), "cortex-m4", "memory")
    for name, text in emit(plan).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    core = cores.load("cortex-m4")
    command = [firmware.GCC, *core.gcc, "-O3", "-std=c99", "-I.", "-fstack-usage", "-c", "net.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = {name: int(count) for name, count in re.findall(r"([\w.]+)\t(\d+)\t", (tmp_path / "net.su").read_text())}
    found = functions(tmp_path / "net.o")
    assert {name: found[name].frame for name in said} == said and len(said) > 20
    assert said["net_run"] + max(said.get(name, 0) for name in ("net_push_row", "net_push_row.part.0")) <= ENTRY


@pytest.mark.parametrize(
    ("core", "prefix"), [("cortex-m0plus", "armv6m"), ("cortex-m4", "dsp"), ("cortex-m55", "helium")]
)
def test_frames_of_kernels_are_those_of_their_text(core: str, prefix: str, tmp_path: Path) -> None:
    """Every function of the assembler files, by the kind of kernel that it is of."""
    folder, found = Path(rillet.__file__).parent / "backends/c/kernels", cores.load(core)
    frames: dict[Kernel, int] = {}
    for source in (f"core_{prefix}.S", *(["core_lists.S"] if prefix != "helium" else [])):
        command = [firmware.GCC, *found.gcc, f"-I{folder}", "-c", str(folder / source), "-o", str(tmp_path / "k.o")]
        subprocess.run(command, check=True)
        for name, function in functions(tmp_path / "k.o").items():
            kind = _kind(name)
            frames[kind] = max(frames.get(kind, 0), function.frame)
    place = ("armv6m", "dsp", "helium").index(prefix)
    assert frames == {kind: each[place] for kind, each in KERNELS.items() if each[place]}


def _kind(name: str) -> Kernel:
    words = {"lists": Kernel.CORE_LISTS, "depthwise": Kernel.CORE_DEPTHWISE, "rows": Kernel.CORE_PLANES}
    words |= {"add": Kernel.CORE_SUM, "subtract": Kernel.CORE_SUM}
    return next((kind for word, kind in words.items() if word in name.split("_")), Kernel.CORE_DENSE)


def test_more_stack_than_planned_is_a_failure() -> None:
    plan = planned(chain(2), "cortex-m4", "memory")
    made = rillet.verify(plan, inputs=1)
    assert isinstance(made, CoreVerification) and made.planned_stack_bytes is not None
    assert made.planned_stack_bytes == stack_bytes(plan, cores.load("cortex-m4"))
    assert made.passed and made.stack_bytes <= made.planned_stack_bytes
    deeper = replace(made, stack_bytes=made.planned_stack_bytes + 1)
    assert not deeper.passed and not deeper.as_planned and "not as planned" in str(deeper.table())
