"""Boards: what Rillet has, and files that are wrong."""

from pathlib import Path

import pytest

from rillet.errors import TargetError
from rillet.targets import boards

GOOD = """
name = "B"
core = "C"
flash_bytes = { value = 1024, source = "s", confidence = "data sheet" }
ram_bytes = { value = 512, source = "s", confidence = "assumed" }
clock_hz = { value = 1000, source = "s", confidence = "data sheet" }
cycles_per_mac = { value = 2, low = 1.5, high = 3, source = "s", confidence = "measured" }
"""
# Flash, RAM and clock by the makers' data sheets.
PRINTED = {
    "nano33ble": (1 << 20, 256 << 10, 64e6),
    "nrf52840": (1 << 20, 256 << 10, 64e6),
    "stm32f746": (1 << 20, 320 << 10, 216e6),
    "stm32l4r5": (2 << 20, 640 << 10, 120e6),
    "stm32h743": (2 << 20, 512 << 10, 480e6),
    "rp2040": (2 << 20, 264 << 10, 133e6),
    "esp32s3": (8 << 20, 320 << 10, 240e6),
    "m0plus_16k": (128 << 10, 16 << 10, 48e6),
    "m0plus_36k": (128 << 10, 36 << 10, 64e6),
}


@pytest.mark.parametrize("name", boards.names())
def test_every_board_loads_with_sources(name: str) -> None:
    board = boards.load(name)
    assert (board.flash_bytes, board.ram_bytes, board.clock_hz) == PRINTED[name]
    own = {"cycles_per_instruction"} if board.cortex else set[str]()
    assert set(board.quantities) == {"flash_bytes", "ram_bytes", "clock_hz", "cycles_per_mac"} | own
    cycles = board.cycles_per_mac
    assert cycles.low <= cycles.value <= cycles.high


def test_all_printed_boards_are_there() -> None:
    assert set(PRINTED) == set(boards.names())


# Images a second of MLPerf Tiny v1.1 and milliseconds of person detection, as the files quote them.
@pytest.mark.parametrize(
    ("name", "field", "cycles_per_mac"),
    [
        ("stm32l4r5", "value", 120e6 / 4.522 / 7_489_664),
        ("stm32l4r5", "low", 120e6 / 4.505 / 12_501_632),
        ("stm32l4r5", "high", 120e6 / 3.324 / 7_489_664),
        ("stm32h743", "value", 280e6 / 19.867 / 7_489_664),
        ("stm32h743", "low", 280e6 / 18.215 / 12_501_632),
        ("rp2040", "value", 2.2 * 133e6 / 7_157_888),
        ("esp32s3", "value", 0.054 * 240e6 / 7_157_888),
        ("esp32s3", "high", 2.3 * 240e6 / 7_157_888),
    ],
)
def test_cycles_follow_from_the_measurements_that_are_quoted(name: str, field: str, cycles_per_mac: float) -> None:
    assert getattr(boards.load(name).cycles_per_mac, field) == pytest.approx(cycles_per_mac, rel=0.003)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("flash_bytes", "flash_byte", "b.toml: key must be a known one, got 'flash_byte'; did you mean flash_bytes?"),
        ('core = "C"\n', "", "b.toml: must say core"),
        ('core = "C"', 'core = "C"\ncore = "D"', "core must be given once"),
        ('core = "C"', 'core = "C"\n\n[a]\nb = 1\n\n# c\n\nd = 2\n\n[a]\nb = 3', "a must be given once"),
        ('core = "C"', 'core = "C"\n\n[a]\nb = 1\n\nb = 2\n', "a.b must be given once"),
        ("value = 512", "value = -512", "b.toml: ram_bytes: value must be a number from 1 to"),
        ("value = 512", "value = 0", "b.toml: ram_bytes: value must be a number from 1 to"),
        ("value = 512", "value = 512.5", "b.toml: ram_bytes: value must be a whole number"),
        ("low = 1.5", "low = 2.5", "b.toml: cycles_per_mac: value must lie within low and high, got 2.5, 2, 3"),
        ("low = 1.5, ", "", "b.toml: cycles_per_mac: must say low"),
        (
            '"assumed"',
            '"sure"',
            "ram_bytes: confidence: must be one of data sheet, measured, claimed",
        ),
        ("source = ", "sourced = ", "flash_bytes: key must be a known one, got 'sourced'; did you mean source?"),
        ('name = "B"', "name = 3", "b.toml: name: must be a text, got 3"),
        ('core = "C"', 'core = "m0+"\nkernels = "dsp"', "b.toml: kernels: must be one of portable, armv6m; got 'dsp'"),
    ],
)
def test_a_wrong_file_names_itself_and_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "b.toml"
    path.write_text(GOOD)
    assert boards.load(str(path)).ram_bytes == 512
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(TargetError) as caught:
        boards.load(str(path))
    assert message in str(caught.value).replace(str(tmp_path) + "/", "")
    assert str(caught.value).startswith(str(path))


def test_an_unknown_name() -> None:
    with pytest.raises(TargetError, match="nano33: must be a board; did you mean nano33ble"):
        boards.load("nano33")
    assert boards.load("STM32F746").name == "ST STM32F746"
