"""Plans and layers on a board's emulated core: counts that add up, rows of live channels, and boards without a core."""

from pathlib import Path

import numpy as np
import pytest

from dead import deadened
from rillet.api import measuring
from rillet.bench.boards import bench_board, profile_board
from rillet.errors import TargetError
from rillet.exporters.rlt import to_bytes
from rillet.plan.choose import row_plan_for
from rillet.plan.options import PlanOptions
from rillet.report import boards as report
from rillet.report.tables import as_markdown
from rillet.runtime import emulator
from rillet.runtime.emulator import on_qemu
from rillet.runtime.verify import random_inputs
from rillet.targets.boards import load
from test_cli import failed
from test_plan import residual

pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
pytest.importorskip("elftools", reason="pip install rillet[mcu]")

BOARD = load("nano33ble")
GRAPH = residual(6, 6, 3)
DEAD = deadened(residual(8, 8, 8), 1)


@pytest.mark.parametrize("objective", ["memory", "time"])
def test_layers_and_what_is_between_are_all_instructions(objective: str) -> None:
    plan = row_plan_for(GRAPH, PlanOptions(target=BOARD, objective=objective))
    found = profile_board(plan)
    assert [layer.name for layer in found.layers] == [s.node for segment in plan.segments for s in segment.stages]
    assert all(layer.instructions > 0 for layer in found.layers) and found.between > 0
    assert sum(layer.instructions for layer in found.layers) + found.between == found.instructions
    text = as_markdown(report.profile_table(found))
    assert f"{found.instructions:,}" in text and f"{found.between:,}" in text
    assert report.profile_record(found)["instructions"] == found.instructions


@pytest.mark.skipif(on_qemu.find_qemu() is None, reason="qemu-system-arm is not installed")
def test_both_emulators_count_for_the_same_owners() -> None:
    plan = row_plan_for(GRAPH, PlanOptions(target=BOARD))
    images = list(random_inputs(plan.graph, 2))
    made = [
        emulator.run(plan, "cortex-m4", images, emulator=name, owner_of=lambda name: name if "run" in name else None)
        for name in ("unicorn", "qemu")
    ]
    assert made[0].owners == made[1].owners and len(made[0].owners) > 1
    assert sum(made[0].owners.values()) == made[0].instructions_by_image[0]


def test_each_plan_is_run_with_and_without_live_channels() -> None:
    found = bench_board(DEAD, BOARD)
    assert [(row.objective, row.live) for row in found.plans] == [
        *(("memory", False), ("time", False)),
        *(("memory", True), ("time", True)),
    ]
    assert all(row.equal for row in found.plans)
    alone = emulator.run(row_plan_for(DEAD, PlanOptions(target=BOARD)), "cortex-m4", list(random_inputs(DEAD, 1)))
    assert found.plans[0].instructions == alone.instructions and found.plans[0].ram_bytes == alone.ram_bytes
    assert found.plans[2].instructions < found.plans[0].instructions
    assert len(report.bench_records(found)) == 4 and "live" in as_markdown(report.bench_table(found))


def test_a_network_whose_channels_are_all_live_has_two_rows_and_says_why() -> None:
    found = bench_board(GRAPH, BOARD)
    assert len(found.plans) == 2 and found.notes == ("all channels are live",)


def test_boards_without_a_cortex_m_core_are_refused() -> None:
    for measure in (measuring.bench, measuring.profile):
        with pytest.raises(TargetError, match="core must be one of cortex-m0, .* for .*, got Xtensa LX7"):
            measure(GRAPH, target="esp32s3")
        with pytest.raises(TargetError, match="zcu102: must be a host or a board"):
            measure(GRAPH, target="zcu102")


def test_options_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.rlt"
    file.write_bytes(to_bytes(GRAPH))
    words = (str(file), "--target", "nano33ble")
    assert "--rounds must come with a host or wasm, got a board" in failed("bench", *words, "--rounds", "3")
    assert "-o must come with a host, got a board" in failed("profile", *words, "-o", str(tmp_path / "a.svg"))
    assert "--objective must come with a board, got a host" in failed("profile", str(file), "--objective", "time")


def test_a_function_that_does_not_say_its_length_reaches_to_the_next() -> None:
    plan = row_plan_for(GRAPH, PlanOptions(target=BOARD))
    made = emulator.run(plan, "cortex-m4", [np.asarray(next(random_inputs(plan.graph, 1)))])
    assert "?" not in made.functions and any(name.startswith("rillet_core") for name in made.functions)
