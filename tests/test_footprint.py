"""What a plan for a board says of its program, beside what an emulator measures of it."""

from dataclasses import replace

import pytest

import rillet
from conftest import NETWORKS, shared_file
from graphs import random_image
from rillet.backends.c.data import program_arrays
from rillet.backends.c.footprint import Footprint
from rillet.backends.c.sizes import array_sizes
from rillet.backends.c.storage import as_stored
from rillet.errors import TargetError
from rillet.ir.ops import Conv
from rillet.plan.board import dsp
from rillet.plan.board.kernels import finish
from rillet.plan.rows.plan import Kernel, RowPlan
from rillet.runtime.emulator.proof import NEAR, CoreVerification
from rillet.targets import boards
from rillet.transforms.fold import without_weights

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
from rillet.runtime import emulator

OBJECTIVES = ("memory", "time")
MODELS = (
    NETWORKS["vww"],
    NETWORKS["resnet"],
    NETWORKS["person"],
    "mobilenet_tflite/mobilenet_v1_0.25_128_quant.tflite",
    "mobilenet_tflite/mobilenet_v1_0.5_160_quant.tflite",
)


def planned(model: str, objective: str, target: str = "nano33ble") -> tuple[RowPlan, Footprint]:
    made = rillet.plan(rillet.load(shared_file(model)), target=boards.load(target), objective=objective)
    return made, rillet.footprint(made)


def check(plan: RowPlan, found: Footprint) -> None:
    """RAM and flash are no more than planned, instructions are those planned but for a twentieth."""
    assert plan.board is not None and plan.board.cortex is not None and found.instructions is not None
    made = emulator.run(plan, plan.board.cortex, [random_image(plan.graph, 0)])
    assert found.ram_bytes - 8 <= made.ram_bytes <= found.ram_bytes
    assert found.constant_bytes is not None and abs(found.constant_bytes - made.constant_bytes) <= 8
    assert found.flash_bytes is not None and made.flash_bytes <= found.flash_bytes
    assert made.code_bytes > found.code_bytes / 2
    assert made.instructions == pytest.approx(found.instructions, rel=NEAR)
    assert made.flash_read_bytes == pytest.approx(found.flash_read_bytes, rel=0.1)


@pytest.mark.parametrize(("model", "objective"), [(NETWORKS["vww"], "time"), (NETWORKS["resnet"], "memory")])
def test_plans_tell_what_two_networks_take(model: str, objective: str) -> None:
    check(*planned(model, objective))


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("model", MODELS)
def test_plans_tell_what_every_network_takes(model: str, objective: str) -> None:
    check(*planned(model, objective))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["nano33ble", "rp2040"])
def test_plans_tell_what_live_channels_take(target: str) -> None:
    """Channels by other counts than four at a time go by portable kernels on some cores; odd arrays leave gaps."""
    net = rillet.live(rillet.load(shared_file(NETWORKS["vww"]))).graph
    made = rillet.verify(rillet.plan(net, target=target), inputs=1)
    assert isinstance(made, CoreVerification) and made.equal and made.as_planned


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("rule", ["fixed_point", "shift"])
@pytest.mark.parametrize("target", ["nano33ble", "rp2040"])
def test_networks_of_both_rules(rule: str, objective: str, target: str) -> None:
    net = rillet.load("mobilenet_v2:width=0.35,resolution=96,seed=0")
    int8 = rillet.quantize(net, "random", limit=8, rule=rule).graph
    made = rillet.plan(int8, target=boards.load(target), objective=objective)
    check(made, rillet.footprint(made))


def test_kernels_take_the_instructions_of_their_text() -> None:
    """The emulator counts by function: calls of whole rows are known one by one, and so are their instructions."""
    plan, _ = planned(NETWORKS["vww"], "time")
    assert plan.board is not None and plan.board.cortex is not None
    counted = emulator.run(plan, plan.board.cortex, [random_image(plan.graph, 0)]).functions
    rows = {1: 0, 2: 0}
    for segment in plan.segments:
        for stage in segment.stages:
            node = plan.graph.by_name[stage.node]
            if stage.kernel is Kernel.CORE_PLANES:
                assert isinstance(node.op, Conv)
                stride = node.op.window.stride[0]
                row = dsp.rows(node.shape.channels, node.shape.width, stride, node.op.rounding)
                rows[stride] += node.shape.height * row
    assert {stride: counted[f"rillet_core_rows_double_{stride}"] for stride in rows} == rows


def test_a_plan_tells_its_footprint_in_every_form() -> None:
    made, found = planned(NETWORKS["vww"], "time", "stm32f746")
    assert made.to_dict()["footprint"] == found.to_dict()
    assert found.ram_bytes == made.arena_bytes + found.context_bytes
    assert found.flash_bytes == (found.constant_bytes or 0) + found.code_bytes
    assert found.instructions is not None and found.milliseconds is not None
    assert found.low_milliseconds is not None and found.high_milliseconds is not None
    assert found.low_milliseconds < found.milliseconds < found.high_milliseconds
    cycles = boards.load("stm32f746").quantities["cycles_per_instruction"]
    assert found.milliseconds == pytest.approx(found.instructions * cycles.value / 216e3)
    text = str(made.table())
    assert f"{found.instructions:,}" in text and "on ST STM32F746" in text


def test_what_is_not_known_is_none() -> None:
    real = rillet.footprint(rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32"), target="nano33ble"))
    assert real.instructions is real.milliseconds is None
    portable = rillet.plan(rillet.load(shared_file(NETWORKS["resnet"])), target=boards.load("esp32s3"))
    assert rillet.footprint(portable).instructions is None
    assert "footprint" not in rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0")).to_dict()
    with pytest.raises(TargetError, match="must be planned for a board here, got a plan for portable kernels"):
        rillet.footprint(rillet.plan(rillet.load("mobilenet_v1:width=0.25,resolution=32,seed=0")))


BOARDS = {name: boards.load(name) for name in ("nano33ble", "rp2040", "esp32s3")} | {
    "m55": replace(boards.load("nano33ble"), core="cortex-m55", kernels="helium")
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("target", BOARDS)
@pytest.mark.parametrize("model", [NETWORKS["resnet"], *(pytest.param(m, marks=pytest.mark.slow) for m in MODELS)])
def test_flash_is_known_without_weights(model: str, target: str, objective: str) -> None:
    """Array by array as long as with weights that fit the kernels, of each core and of portable ones."""
    made = rillet.plan(rillet.load(shared_file(model)), target=BOARDS[target], objective=objective)
    bare = replace(made, graph=without_weights(made.graph))
    exact = {name: array.nbytes for name, array in program_arrays(as_stored(made), made.graph).items()}
    found = array_sizes(as_stored(bare), bare.graph)[0]
    others = tuple(f"net_{name}_" for name in unusual(made))
    assert found and {n: size for n, size in found.items() if not n.startswith(others)} == {
        name: size for name, size in exact.items() if not name.startswith(others)
    }
    if not others:
        # Shifts that are equal by chance are one array, and so are tables of tiny layers.
        by_chance = sum(size for name, size in exact.items() if name.endswith("_shift") or size < 64)
        assert 0 <= rillet.footprint(bare).constant_bytes - rillet.footprint(made).constant_bytes <= by_chance


def unusual(plan: RowPlan) -> list[str]:
    """The layers whose weights or roundings do not fit the kernels."""
    if plan.core is None:
        return []
    convs = [node for node in plan.graph.nodes if isinstance(node.op, Conv)]
    known = {node.name: finish(plan.graph, node, plan.core) for node in convs}
    return [name for name, one in known.items() if one.wide or not one.by_words]


def test_verification_sets_both_beside_each_other() -> None:
    made, found = planned(NETWORKS["vww"], "time")
    told = rillet.verify(made, inputs=1).to_dict()
    assert told["equal"] is True and told["as_planned"] is True
    assert told["planned_instructions"] == found.instructions and told["planned_ram_bytes"] == found.ram_bytes
    assert told["planned_flash_bytes"] == found.flash_bytes and told["ram_bytes"] <= told["planned_ram_bytes"]
    result = rillet.verify(made, inputs=1)
    assert isinstance(result, CoreVerification)
    for changed in ({"ram_bytes": found.ram_bytes + 1}, {"instructions": 2 * result.instructions}):
        assert not replace(result, **changed).as_planned
        assert "not as planned" in str(replace(result, **changed).table())
