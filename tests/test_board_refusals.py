"""What a board cannot do is told: by how much memory is too small and what helps, and the price of float32."""

from dataclasses import replace
from pathlib import Path

import pytest

import rillet
from rillet.bench.boards import profile_board
from rillet.costs.fit import SOFTWARE, doubts
from rillet.errors import TargetError
from rillet.exporters.rlt import to_bytes
from rillet.targets.boards import load
from rillet.targets.cores import CORES
from test_cli import failed
from test_plan import residual

M4, PICO = load("nano33ble"), load("rp2040")
GRAPH = residual(6, 6, 3)
FLOATS = rillet.load("mobilenet_v1:width=0.25,resolution=32,classes=10,seed=0")


def test_memory_that_is_too_small_is_told_with_what_helps() -> None:
    least = rillet.plan(GRAPH, target=M4).arena_bytes
    words = f"must have {least} bytes of RAM for its activations on .*, got {least - 1}: 1 too few"
    with pytest.raises(TargetError, match=f"{words}$"):
        rillet.plan(GRAPH, target=M4, ram=least - 1)
    with pytest.raises(TargetError, match=f"{words}; rillet fit --target nano33ble names what helps$"):
        rillet.plan(GRAPH, target=replace(M4, ram_bytes=least - 1))


def test_stack_and_flash_that_are_missing_are_doubts_of_a_plan() -> None:
    plan = rillet.plan(GRAPH, target=M4)
    found, name = rillet.footprint(plan), GRAPH.name
    ram, flash = found.ram_bytes + (found.stack_bytes or 0), found.flash_bytes
    assert doubts(plan) == doubts(rillet.plan(GRAPH)) == ()
    assert doubts(replace(plan, board=replace(M4, ram_bytes=ram - 1, flash_bytes=flash - 2))) == (
        f"{name}: {M4.name}: RAM must be at least {ram:,} bytes, got {ram - 1:,}: 1 too few; "
        "rillet fit --target nano33ble names what helps",
        f"{name}: {M4.name}: flash must be at least {flash:,} bytes, got {flash - 2:,}: 2 too few; "
        "rillet fit --target nano33ble names what helps",
    )


def test_a_core_without_kernels_is_told_which_there_are() -> None:
    (sentence,) = doubts(rillet.plan(GRAPH, target=replace(M4, core="cortex-m23", kernels="portable")))
    assert f"cortex-m23 has no kernels of its own (there are those of {', '.join(CORES)}): " in sentence


@pytest.mark.parametrize("core", ["cortex-m0plus", pytest.param("cortex-m3", marks=pytest.mark.slow)])
def test_float32_has_a_price_where_no_unit_computes_it(core: str) -> None:
    """The price is near what the emulator counts."""
    pytest.importorskip("unicorn", reason="pip install rillet[mcu]")
    board = replace(PICO, core=core)
    plan = rillet.plan(FLOATS, target=board)
    (sentence,) = doubts(plan)
    each = SOFTWARE[CORES[board.core].architecture]
    assert f"{board.name}: no floating-point unit: float32 takes about {each} instructions a MAC" in sentence
    made = profile_board(plan)
    assert made.notes == (sentence,)
    assert made.instructions / plan.macs == pytest.approx(each, rel=0.35)
    assert rillet.fit(FLOATS, board).rows[0].untimed.startswith("no floating-point unit: float32 takes about")


def test_float32_has_none_where_a_unit_does() -> None:
    assert doubts(rillet.plan(FLOATS, target=M4)) == doubts(rillet.plan(GRAPH, target=PICO)) == ()
    assert "not counted" in rillet.fit(FLOATS, M4).rows[0].untimed


def test_commands_say_so(tmp_path: Path) -> None:
    """The board's own plan is what a budget is for, not that of the program which runs here."""
    file = tmp_path / "net.rlt"
    file.write_bytes(to_bytes(GRAPH))
    least = rillet.plan(GRAPH, target=M4).arena_bytes
    for command in (("verify",), ("profile",)):
        said = failed(*command, file, "--target", "nano33ble", "--ram", str(least - 1))
        assert f"must have {least} bytes of RAM" in said and said.endswith(f"got {least - 1}: 1 too few")
